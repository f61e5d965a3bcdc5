"""How often the 90 % interval of a forecast holds the cost, on recorded runs.

    python bench/forecast.py [--quick] [--data DIR]

Of every recorded model and prompt some calls are taken as a pilot, the cost of the rest is forecast from them and
compared. Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from paretoken.analysis.prediction import draw_future_means, predict
from paretoken.models.estimate import estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RECORDINGS = {
    "arena_bench": ["model", "dataset"],
    "alpaca_eval_prompt_variants": ["model", "prompt_variant"],
    "llmzoo_zh_en": ["model", "lang"],
    "bbh_direct_vs_cot": ["model", "prompt_variant"],
    "wildbench_scores": ["model"],
}
"""Recording by file name, with the columns that tell its runs apart."""
PILOTS = (10, 20, 50)
MIN_LEFT = 20
ANSWER_LIMIT = 1024
PROMPT_TOKENS = 200
OUTPUT_TO_INPUT_PRICE = 4


def runs(data: Path, name: str) -> Iterator[NDArray[np.float64]]:
    """Cost of each call, in input tokens, of every run of a recording: shape `(n_calls,)`."""
    frame = pd.read_parquet(data / f"{name}.parquet")
    tokens = frame["output"].fillna("").map(estimate_tokens).clip(upper=ANSWER_LIMIT)
    frame = frame.assign(cost=PROMPT_TOKENS + OUTPUT_TO_INPUT_PRICE * tokens)
    for _, run in frame.groupby(RECORDINGS[name]):
        yield run["cost"].to_numpy(float)


def say(figure: str, values: list[float], unit: str, target: str) -> None:
    """Print the mean of one figure, with its standard error as the range."""
    mean, error = float(np.mean(values)), float(np.std(values)) / max(len(values), 1) ** 0.5
    print(f"{figure:<38}{mean:>10.3f}{mean - error:>10.3f}{mean + error:>10.3f}{len(values):>8}  {target}",
          file=sys.stderr)  # fmt: skip
    line = {"bench": "forecast", "figure": figure, "value": round(mean, 4), "low": round(mean - error, 4),
            "high": round(mean + error, 4), "unit": unit, "n": len(values), "target": target}  # fmt: skip
    print(json.dumps(line))


def main() -> None:
    """Forecast every recorded run from pilots of several sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one pilot a run instead of eight")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    known = [name for name in RECORDINGS if (options.data / f"{name}.parquet").is_file()]
    for name in set(RECORDINGS) - set(known):
        print(f"left out: {options.data / name}.parquet does not exist", file=sys.stderr)
    rng = np.random.default_rng(7)
    hits: dict[tuple[str, int], list[float]] = {}
    widths: list[float] = []
    for name in known:
        for costs in runs(options.data, name):
            for n in PILOTS:
                for _ in range(1 if options.quick else 8):
                    shuffled = rng.permutation(costs)
                    pilot, rest = shuffled[:n], shuffled[n:]
                    if len(rest) < MIN_LEFT:
                        continue
                    found = predict(draw_future_means(pilot, len(rest), rng), n)
                    hits.setdefault((name, n), []).append(float(found.low <= rest.mean() <= found.high))
                    widths.append((found.high - found.low) / found.expected)
    if not known:
        return
    print(f"{'figure':<38}{'mean':>10}{'- s.e.':>10}{'+ s.e.':>10}{'n':>8}  target", file=sys.stderr)
    say("coverage_90", [hit for own in hits.values() for hit in own], "rate", "0.85 to 0.95")
    for n in PILOTS:
        say(f"coverage_90.pilot_{n}", [hit for (_, k), own in hits.items() if k == n for hit in own], "rate",
            "0.85 to 0.95")  # fmt: skip
    for name in known:
        say(f"coverage_90.{name}", [hit for (own_name, _), own in hits.items() if own_name == name for hit in own],
            "rate", "none")  # fmt: skip
    say("relative_width", widths, "of the cost", "none")


if __name__ == "__main__":
    main()
