"""How long a finished run takes to reach MLflow.

    python bench/mlflow_logging.py [--quick]

A run of 60 variants on 200 samples is played from recorded answers, then projected into a new SQLite store, with
figures, drivers, tables, prompts and the traces of five samples per variant, and once more in place of the first.
Importing and migrating, which a run does while its calls are in flight, are timed on their own. Prints a table on
stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from paretoken import run
from paretoken.records.database import database_path
from paretoken.report.mlflow_tracker import MlflowTracker

WORDS = ["light", "warm", "quiet", "table", "garden", "river", "paper", "copper", "winter", "morning", "honest"]
SPEC = """\
experiment: sixty
question: How long does MLflow take?
seed: 7
dataset: {{path: data.jsonl, fields: {{id: id, input: input, reference: reference}}, language: en}}
prompts: [ask.md]
models:
  - {{replay: answers.jsonl, by: model, key: id, output: text, usage: estimate, latency: seconds,
     prices: {{{prices}}}}}
space: {{max_tokens: 512}}
scorers: [chrf]
minimize: [list_usd, latency_s.p95]
maximize: [chrf]
plan: grid
budget: {{usd: "10"}}
"""


def make(folder: Path, n_variants: int, n_samples: int) -> None:
    """A project with recorded answers of some 60 words."""
    rng = random.Random(7)
    texts = {f"s{i:03}": " ".join(rng.choices(WORDS, k=60)) for i in range(n_samples)}
    samples = [{"id": id_, "input": f"Describe item {id_}.", "reference": text} for id_, text in texts.items()]
    answers = [
        {
            "model": f"m{k:02}",
            "id": id_,
            "text": f"{text} {' '.join(rng.choices(WORDS, k=k))}",
            "seconds": rng.uniform(1, 3),
        }
        for k in range(n_variants)
        for id_, text in texts.items()
    ]
    for name, rows in (("data", samples), ("answers", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prices = ", ".join(
        f'm{k:02}: {{input_per_mtok: "{1 + k}", output_per_mtok: "{4 + 4 * k}"}}' for k in range(n_variants)
    )
    (folder / "spec.yaml").write_text(SPEC.format(prices=prices), encoding="utf-8")
    (folder / "ask.md").write_text("# user\n{{ input }}\n", encoding="utf-8")
    (folder / ".paretoken").mkdir()


def tell(figure: str, value: float, target: str = "-") -> None:
    """One line of JSON."""
    print(f"{figure}: {value:.1f} s", file=sys.stderr)
    print(json.dumps({"bench": "mlflow_logging", "figure": figure, "value": round(value, 2), "unit": "s", "n": 1,
                      "target": target}), flush=True)  # fmt: skip


def main() -> None:
    """Play, project, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 variants on 50 samples")
    n_variants, n_samples = (12, 50) if parser.parse_args().quick else (60, 200)
    with TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, n_variants, n_samples)
        os.chdir(folder)
        outcome = run(folder / "spec.yaml")
        tracker = MlflowTracker("sqlite:///mlruns/mlflow.db", folder, database_path(folder))
        started = perf_counter()
        _ = tracker.client
        tell("seconds_open_new_store", perf_counter() - started)
        for figure in (f"seconds_{n_variants}x{n_samples}", f"seconds_{n_variants}x{n_samples}_again"):
            started = perf_counter()
            tracker.on_run(outcome.results.run)
            tell(figure, perf_counter() - started, "< 20" if n_variants == 60 else "-")


if __name__ == "__main__":
    main()
