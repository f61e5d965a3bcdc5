"""How often the 90 % interval of a forecast holds the cost, on recorded runs.

    python bench/forecast.py [--quick] [--data DIR]

Of every recorded experiment some samples are taken as a pilot; from them `plan` forecasts what the others cost, for
each variant (model x prompt) and for all variants of the experiment together. Answers are cut at a limit, as they are
in a run. Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from paretoken.experiment.forecast import predict_total, predict_variant
from paretoken.experiment.recorded import Recorded
from paretoken.experiment.tally import VariantForecast
from paretoken.models.estimate import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoken.analysis.prediction import Prediction

RECORDINGS = {
    "arena_bench": ("dataset", "model", "instruction"),
    "alpaca_eval_prompt_variants": ("model", "prompt_variant", "instruction"),
    "llmzoo_zh_en": ("lang", "model", "instruction"),
    "bbh_direct_vs_cot": ("task", "prompt_variant", "question"),
    "wildbench_scores": (None, "model", None),
    "routellm_gsm8k_mmlu": ("dataset", "model", "instruction"),
    "traffic_traces": ("trace", "model", None),
}
"""By file: the columns that tell experiments and variants apart, and the prompt's; those without text have counts."""
PILOTS = (10, 30, 100)
ANSWER_LIMIT = 1024
MAX_SAMPLES = 1000
PRICES = (1e-6, 4e-6)
"""Price of a prompt token and of an answer token [USD]."""
TARGET = "0.85 to 0.95"


def experiments(data: Path, name: str) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Recorded experiments with their prompt and answer tokens, both of shape `(n_samples, n_variants)`."""
    split, variant, prompt = RECORDINGS[name]
    frame = pd.read_parquet(data / f"{name}.parquet")
    if name == "traffic_traces":
        frame = frame.sample(frac=1, random_state=7).groupby("trace").head(MAX_SAMPLES)
        frame = frame.assign(prompt_id=frame.index, asked=frame["input_tokens"], said=frame["output_tokens"])
    else:
        asked = 0 if prompt is None else frame[prompt].map(estimate_tokens)
        frame = frame.assign(asked=asked, said=frame["output"].fillna("").map(estimate_tokens))
    if "prompt_chars" in frame:
        frame["asked"] = frame["prompt_chars"] // 4
    frame = frame[frame["said"] > 0].drop_duplicates(["prompt_id", variant] + ([split] if split else []))
    for key, part in frame.groupby(split) if split else [("all", frame)]:
        tables = [part.pivot_table(index="prompt_id", columns=variant, values=c).dropna() for c in ("asked", "said")]
        yield f"{name}/{key}", tables[0], tables[1].clip(upper=ANSWER_LIMIT)


def forecasts(
    asked: pd.DataFrame, said: pd.DataFrame, pilot: pd.Index, rest: pd.Index
) -> tuple[list[VariantForecast], Prediction | None]:
    """What `plan` would say after the pilot, of each variant and of all."""
    rows, recorded = [], {}
    for variant in said:
        prompt_usd = PRICES[0] * float(asked[variant].loc[rest].mean())
        answers = said[variant].loc[pilot]
        recorded[str(variant)] = Recorded(
            same=True,
            calls={(str(s), ""): (prompt_usd + PRICES[1] * float(n), int(n)) for s, n in answers.items()},
        )
        low, high = (Decimal(repr(len(rest) * (prompt_usd + PRICES[1] * tokens))) for tokens in (1, ANSWER_LIMIT))
        row = VariantForecast(
            str(variant), str(variant), len(said), len(pilot), len(rest), len(rest),
            output_tokens_max=len(rest) * ANSWER_LIMIT, low_usd=low, high_usd=high, certain_usd=high,
        )  # fmt: skip
        rows.append(predict_variant(row, recorded[row.id]))
    return rows, predict_total(rows, recorded)


def say(figure: str, by_run: dict[str, list[float]]) -> None:
    """Print a coverage, as the mean over runs with its 95 % interval, or a width, as median and quartiles."""
    if figure.startswith("relative_width"):
        low, value, high = np.quantile([width for widths in by_run.values() for width in widths], (0.25, 0.5, 0.75))
        unit, target = "of the cost", "none"
    else:
        rates = np.array([np.mean(hits) for hits in by_run.values()])
        value, half = rates.mean(), 1.96 * rates.std() / len(rates) ** 0.5
        low, high = value - half, min(value + half, 1.0)
        unit, target = "rate", "none" if figure.split(".")[-1] in RECORDINGS else TARGET
    print(f"{figure:<46}{value:>7.3f}{low:>7.3f}{high:>7.3f}{len(by_run):>6}  {target}", file=sys.stderr)
    line = {"bench": "forecast", "figure": figure, "value": round(float(value), 4), "low": round(float(low), 4),
            "high": round(float(high), 4), "unit": unit, "n": len(by_run), "target": target}  # fmt: skip
    print(json.dumps(line))


def main() -> None:
    """Forecast every recorded experiment from pilots of several sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 pilots of each size and experiment instead of 40")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rng = np.random.default_rng(7)
    for name in RECORDINGS:
        if not (options.data / f"{name}.parquet").is_file():
            print(f"left out: there is no {options.data / name}.parquet", file=sys.stderr)
            continue
        for key, asked, said in experiments(options.data, name):
            for n in (n for n in PILOTS if len(said) >= 2 * n for _ in range(5 if options.quick else 40)):
                shuffled = said.index[rng.permutation(len(said))]
                pilot, rest = shuffled[:n], shuffled[n:]
                rows, total = forecasts(asked, said, pilot, rest)
                cost = PRICES[0] * asked.loc[rest].sum() + PRICES[1] * said.loc[rest].sum()
                checked = [("", f"{key}/{row.id}", row.predicted, cost[row.id]) for row in rows]
                if len(rows) > 1:
                    checked.append(("_total", key, total, cost.sum()))
                for kind, run, predicted, actual in checked:
                    assert predicted is not None
                    hit = float(predicted.low * (1 - 1e-9) <= actual <= predicted.high * (1 + 1e-9))
                    found[f"coverage_90{kind}"][run].append(hit)
                    found[f"coverage_90{kind}.pilot_{n}"][run].append(hit)
                    found[f"coverage_90{kind}.{name}"][run].append(hit)
                    for figure in (f"relative_width{kind}", f"relative_width{kind}.pilot_{n}"):
                        found[figure][run].append((predicted.high - predicted.low) / actual)
    print(f"{'figure':<46}{'value':>7}{'low':>7}{'high':>7}{'runs':>6}  target", file=sys.stderr)
    for figure in sorted(found):
        say(figure, found[figure])


if __name__ == "__main__":
    main()
