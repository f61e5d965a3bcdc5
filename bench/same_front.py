"""Whether a raced search found the front of the same search without racing, and what it saved.

    python bench/same_front.py [RACED] [WHOLE]

Two runs, each a spec, a folder or a run id; by default those of `experiments/prompt-search`, which are run by
`paretoken run experiments/prompt-search` and `paretoken run experiments/prompt-search/unraced.yaml`. A variant on one
front is covered by the other if a variant on it is no worse by more than epsilon and costs no more than the tolerance
allows, each by its own run's means. Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import paretoken
from paretoken.analysis.race import uncovered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoken.analysis.results import Results

HERE = Path(__file__).parents[1] / "experiments" / "prompt-search"


def front(results: Results, quality: str) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Labels, qualities and costs of a run's front."""
    chosen = [standing.summary for standing in results.standings if standing.on_front]
    values = [[summary.value(name) or 0.0 for name in (quality, "list_usd")] for summary in chosen]
    means = np.array(values, dtype=float).reshape(len(chosen), 2)
    return [summary.label for summary in chosen], means[:, 0], means[:, 1]


def say(figure: str, value: float, unit: str, target: str = "none") -> None:
    """Print a figure."""
    print(f"{figure:<36}{value:>12.6g}  {unit:<28}{target}", file=sys.stderr)
    print(json.dumps({"bench": "same_front", "figure": figure, "value": value, "unit": unit, "target": target}))


def main() -> None:
    """Compare two runs."""
    references: list[str | Path] = [*sys.argv[1:3]] or [HERE / "spec.yaml", HERE / "unraced.yaml"]
    raced, whole = (paretoken.open_run(reference) for reference in references)
    race = raced.race
    if race is None or whole.race is None:
        raise SystemExit("both runs must be searches or races")
    goal, cost = race.plan.goals[0], next(goal for goal in race.plan.goals if goal.name == "list_usd")
    fronts = [front(run, goal.name) for run in (raced, whole)]
    for (name, mine), (_, theirs) in (
        (("uncovered_of_whole", fronts[1]), ("", fronts[0])),
        (("uncovered_of_raced", fronts[0]), ("", fronts[1])),
    ):
        quality, usd = (np.concatenate([theirs[i], mine[i]]) for i in (1, 2))
        left = uncovered(range(len(theirs[0])), quality, usd, epsilon=goal.slack, tolerance=cost.tolerance)
        missing = [mine[0][i - len(theirs[0])] for i in left]
        say(name, len(missing), "variants of the other's front", "0")
        for label in missing:
            print(f"  not covered: {label}", file=sys.stderr)
    saved = race.saving
    say("cells_raced", saved.cells, "cells")
    say("cells_whole", whole.race.saving.cells, "cells")
    say("usd_raced", saved.usd, "USD at list price")
    say("usd_whole", whole.race.saving.usd, "USD at list price")
    say("saved_rate", 1 - saved.usd / whole.race.saving.usd, "of the cost without racing")


if __name__ == "__main__":
    main()
