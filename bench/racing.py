"""How many cells a race takes to find the Pareto front of recorded models, and how often it is wrong.

    python bench/racing.py [--quick] [--data DIR]

On each recorded set the samples come in random orders. Our rule, with mean costs given and with costs learnt, stands
beside asking everything, a naive interval that is tested again every 5 samples, and successive halving. A front is
wrong if a variant is left out that no variant on it covers: as cheap (within the tolerance) and not worse by more than
epsilon. `cheapest` looks for the cheapest variant within epsilon of the best; it is wrong if the winner is not, or if a
cheaper one is within half of epsilon. The last part puts rivals exactly beyond the margin, with two to four objectives,
and with variants that come late. Prints tables on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
import pandas as pd

from paretoken.analysis.cheapest import INDIFFERENCE, CheapestRace
from paretoken.analysis.duels import Goal
from paretoken.analysis.race import Race, uncovered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Contest

EPSILON, ALPHA, TOLERANCE = 0.02, 0.05, 0.1
BLOCK = 8
TARGETS = {"wildbench_scores": 0.20, "llmrouter_9models_scores": 0.18, "arena_bench": 0.68}
LEARNT_TARGETS = {"wildbench_scores": 0.27}
CHEAPEST_TARGETS = {"wildbench_scores": 0.17, "llmrouter_9models_scores": 0.13, "arena_bench": 0.30}


@dataclass(frozen=True)
class Table:
    """Quality and cost of every variant on every sample, cheapest variant first; shape `(n_samples, n_variants)`."""

    quality: NDArray[np.float64]
    cost: NDArray[np.float64]

    @property
    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """True quality and cost."""
        return self.quality.mean(axis=0), self.cost.mean(axis=0)


def load(data: Path, name: str, model: dict[str, Any]) -> Table:
    """A recorded set with the prices of its cost model."""
    frame, prices = pd.read_parquet(data / f"{name}.parquet"), model["prices"]
    arms = list(prices)
    if "score_column" in model:
        frame = frame[frame["model"].isin(arms) & frame[model["score_column"]].notna()]
        key = "prompt_id" if model["key"] == "prompt_id" else "instruction"
        frame = frame.drop_duplicates([key, "model"])
        scores = frame.pivot(index=key, columns="model", values=model["score_column"])[arms].dropna()
        chars = frame.pivot(index=key, columns="model", values="output_chars").loc[scores.index, arms]
        quality, written = (scores.to_numpy() - 1) / 9, chars.to_numpy() / 4
        asked = np.full(len(scores), 400.0) if key == "prompt_id" else scores.index.str.len().to_numpy() / 4
    else:
        quality = frame[[f"score__{arm}" for arm in arms]].clip(0, 1).to_numpy()
        asked = frame["instruction"].str.len().to_numpy() / 4
        by_task = frame["task_name"].map(model["output_tokens_by_task"]).to_numpy()
        written = np.repeat(by_task[:, None], len(arms), axis=1)
    rates = np.array([prices[arm] for arm in arms])
    cost = (asked[:, None] * rates[:, 0] + written * rates[:, 1]) / 1e6
    order = np.argsort(cost.mean(axis=0), kind="stable")
    return Table(quality[:, order], cost[:, order])


Outcome = tuple["NDArray[np.int64]", list[int]]
"""Cells asked of every variant, and the front."""


def enter(contest: Contest, table: Table, *, learnt: bool) -> None:
    """Let all variants in."""
    most, mean = table.cost.max(axis=0), table.cost.mean(axis=0)
    for arm in range(table.quality.shape[1]):
        contest.add([(0.0, 1.0), (0.0, most[arm])], [None, None if learnt else mean[arm]])


def hold(contest: Contest, table: Table, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ask block by block whoever is wanted, and count the cells of every variant."""
    cells = np.zeros(table.quality.shape[1], np.int64)
    while contest.asked:
        for arm in contest.asked:
            start = contest.length(arm)
            rows = order[start : start + BLOCK]
            cells[arm] += len(rows)
            contest.put(arm, np.stack([table.quality[rows, arm], table.cost[rows, arm]]))
        contest.decide()
    return cells


def race(table: Table, order: NDArray[np.int64], *, learnt: bool) -> Outcome:
    """The product's rule."""
    n, k = table.quality.shape
    goals = Goal("quality", slack=EPSILON), Goal("cost", False, tolerance=TOLERANCE * learnt, given=not learnt)
    found = Race(goals, n, k, alpha=ALPHA)
    enter(found, table, learnt=learnt)
    return hold(found, table, order), found.chosen


def cheapest(table: Table, order: NDArray[np.int64], *, learnt: bool) -> Outcome:
    """The product's rule for the cheapest variant within epsilon of the best."""
    n, k = table.quality.shape
    cost = Goal("cost", False, tolerance=TOLERANCE * learnt, given=not learnt)
    found = CheapestRace(Goal("quality"), cost, n, k, within=EPSILON, alpha=ALPHA)
    enter(found, table, learnt=learnt)
    return hold(found, table, order), [] if found.winner is None else [found.winner]


def misses(winner: list[int], quality: NDArray[np.float64], cost: NDArray[np.float64], tolerance: float) -> bool:
    """Whether a winner is not within epsilon of the best, or one within half of it is cheaper beyond the tolerance."""
    if not winner:
        return True
    good = quality >= quality.max() - EPSILON * INDIFFERENCE
    far = quality[winner[0]] < quality.max() - EPSILON - 1e-12
    return bool(far or (cost[winner[0]] > cost[good].min() * (1 + tolerance) + 1e-15))


def exhaustive(table: Table, order: NDArray[np.int64]) -> Outcome:
    """Everything is asked."""
    n, k = table.quality.shape
    return np.full(k, n), non_dominated(*table.means)


def naive(table: Table, order: NDArray[np.int64]) -> Outcome:
    """A one-sided normal interval of 95 %, tested again every 5 samples."""
    n, k = table.quality.shape
    alive, cells = np.ones(k, np.bool_), np.zeros(k, np.int64)
    for t in range(1, n + 1):
        cells += alive
        if t % 5 or t < 10:
            continue
        seen = table.quality[order[:t]]
        for b in range(1, k):
            for a in range(b):
                d = seen[:, a] - seen[:, b]
                if alive[a] and alive[b] and d.mean() - 1.645 * d.std() / t**0.5 > -EPSILON:
                    alive[b] = False
        pairs = [(a, b) for b in range(k) for a in range(b) if alive[a] and alive[b]]
        gaps = [seen[:, a] - seen[:, b] for a, b in pairs]
        if all(d.mean() + 1.645 * d.std() / t**0.5 < EPSILON for d in gaps):
            break
    return cells, [int(i) for i in np.flatnonzero(alive)]


def halving(table: Table, order: NDArray[np.int64]) -> Outcome:
    """Successive halving by non-dominated rank, from a sixteenth of the samples."""
    n, k = table.quality.shape
    alive, cells, t = np.arange(k), np.zeros(k, np.int64), max(n // 16, 5)
    while len(alive) > 1 and t < n:
        cells[alive] = t
        seen = table.quality[order[:t]][:, alive].mean(axis=0), table.cost.mean(axis=0)[alive]
        ranks = moocore.pareto_rank(np.column_stack([-seen[0], seen[1]]))
        alive = alive[np.argsort(ranks, kind="stable")[: max(len(alive) // 2, 1)]]
        t *= 2
    seen = table.quality[order[: t // 2]].mean(axis=0), table.cost.mean(axis=0)
    return cells, [int(alive[i]) for i in non_dominated(seen[0][alive], seen[1][alive])]


def non_dominated(quality: NDArray[np.float64], cost: NDArray[np.float64]) -> list[int]:
    """Numbers of the variants on the front."""
    return [int(i) for i in np.flatnonzero(moocore.is_nondominated(np.column_stack([-quality, cost])))]


def hypervolume(front: list[int], quality: NDArray[np.float64], cost: NDArray[np.float64]) -> float:
    """Of a front at the true means, with costs on a logarithmic scale."""
    points = np.column_stack([-quality, np.log(cost)])
    worst = points.max(axis=0) + 0.05 * np.ptp(points, axis=0)
    return float(moocore.hypervolume(points[front], ref=worst))


def say(figure: str, values: NDArray[np.float64], value: float, unit: str, target: str = "none") -> None:
    """Print a figure with its 5 and 95 % quantiles."""
    low, high = (float(np.quantile(values, q)) for q in (0.05, 0.95))
    print(f"{figure:<52}{value:>9.4f}{low:>9.4f}{high:>9.4f}{len(values):>6}  {target}", file=sys.stderr)
    print(json.dumps({"bench": "racing", "figure": figure, "value": round(value, 4), "low": round(low, 4),
                      "high": round(high, 4), "unit": unit, "n": len(values), "target": target}))  # fmt: skip


def compete(name: str, table: Table, orders: int) -> None:
    """Every rule on the same orders."""
    rng = np.random.default_rng(11)
    drawn = [rng.permutation(len(table.quality)) for _ in range(orders)]
    quality, cost = table.means
    whole = hypervolume(non_dominated(quality, cost), quality, cost)
    rules: dict[str, tuple[Callable[[NDArray[np.int64]], Outcome], float, float | None]] = {
        "": (lambda order: race(table, order, learnt=False), 0.0, TARGETS.get(name)),
        "_learned_cost": (lambda order: race(table, order, learnt=True), TOLERANCE, LEARNT_TARGETS.get(name)),
        "_exhaustive": (lambda order: exhaustive(table, order), 0.0, None),
        "_naive": (lambda order: naive(table, order), 0.0, None),
        "_halving": (lambda order: halving(table, order), 0.0, None),
    }
    for rule, (compete_by, tolerance, most) in rules.items():
        found = [compete_by(order) for order in (drawn[:1] if rule == "_exhaustive" else drawn)]
        cells = np.array([asked.sum() / table.quality.size for asked, _ in found])
        paid = np.array([(asked * cost).sum() / (len(table.quality) * cost.sum()) for asked, _ in found])
        wrong = np.array([bool(uncovered(front, quality, cost, epsilon=EPSILON, tolerance=tolerance))
                          for _, front in found])  # fmt: skip
        volumes = np.array([hypervolume(front, quality, cost) / whole for _, front in found])
        promised = rule in ("", "_learned_cost")
        say(
            f"cells{rule}.{name}",
            cells,
            float(np.median(cells)),
            "of all cells",
            "none" if most is None else f"<= {most}",
        )
        say(f"cost{rule}.{name}", paid, float(np.median(paid)), "of the cost of all cells")
        say(f"wrong_front_rate{rule}.{name}", wrong.astype(float), float(wrong.mean()), "of the orders",
            "0" if promised else "none")  # fmt: skip
        say(f"hypervolume_ratio{rule}.{name}", volumes, float(np.median(volumes)), "of the true front's",
            ">= 0.99" if rule == "" else "none")  # fmt: skip


def look_for_cheapest(name: str, table: Table, orders: int) -> None:
    """The cheapest variant that is good enough, on random orders."""
    rng = np.random.default_rng(11)
    quality, cost = table.means
    drawn = [rng.permutation(len(table.quality)) for _ in range(orders)]
    for kind, learnt, target in (("", False, f"<= {CHEAPEST_TARGETS[name]}"), ("_learned_cost", True, "none")):
        found = [cheapest(table, order, learnt=learnt) for order in drawn]
        cells = np.array([asked.sum() / table.quality.size for asked, _ in found])
        wrong = np.array([misses(winner, quality, cost, TOLERANCE * learnt) for _, winner in found], float)
        say(f"cheapest_cells{kind}.{name}", cells, float(np.median(cells)), "of all cells", target)
        say(f"cheapest_wrong_rate{kind}.{name}", wrong, float(wrong.mean()), "of the orders", f"<= {ALPHA}")


def ladder(rng: np.random.Generator, n: int, k: int, step: float, low: float) -> NDArray[np.float64]:
    """Values of variants whose means lie exactly a step apart, the first at `low`; shape `(n, k)`."""
    steps = low + np.arange(k) * step
    noise = rng.choice([-0.3, 0.3], (n, k)) if rng.random() < 0.5 else rng.beta(0.4, 0.8, (n, k)) - 1 / 3
    values = np.clip(steps + 0.5 * (noise - noise.mean(axis=0)), 0, 1)
    return np.asarray((values + steps - values.mean(axis=0)).clip(0, 1))


def stress(runs: int) -> None:
    """Rivals that are cheaper and just too bad to cover anything: dropping a variant is always an error."""
    rng = np.random.default_rng(12)
    wrong = []
    for _ in range(runs):
        k, n, learnt = int(rng.integers(3, 9)), 200, bool(rng.random() < 0.5)
        cost = np.repeat((np.arange(k) + 1.0)[None, :] / 1e5, n, axis=0) * rng.uniform(0.5, 1.5, (n, k))
        table = Table(ladder(rng, n, k, EPSILON + 1e-9, 0.45), cost)
        _, front = race(table, rng.permutation(n), learnt=learnt)
        wrong.append(bool(uncovered(front, *table.means, epsilon=EPSILON, tolerance=TOLERANCE * learnt)))
    say("null_error_rate", np.array(wrong, float), float(np.mean(wrong)), "of the runs", f"<= {ALPHA}")


def stress_many(runs: int) -> None:
    """Three and four objectives; a rival that is better on all others is just too bad on one, drawn for each run."""
    rng = np.random.default_rng(13)
    wrong = []
    for _ in range(runs):
        k, n, n_goals = int(rng.integers(3, 7)), 200, int(rng.integers(3, 5))
        hard = int(rng.integers(n_goals - 1))
        rising, falling = ladder(rng, n, k, EPSILON + 1e-9, 0.3), ladder(rng, n, k, 0.1, 0.2)[:, ::-1]
        metrics = [rising if i == hard else falling for i in range(n_goals - 1)]
        cost = np.repeat((np.arange(k) + 1.0)[None, :] / 1e5, n, axis=0) * rng.uniform(0.5, 1.5, (n, k))
        goals = [Goal(f"metric {i}", slack=EPSILON) for i in range(n_goals - 1)]
        found = Race([*goals, Goal("cost", larger_is_better=False, tolerance=TOLERANCE)], n, k, alpha=ALPHA)
        for arm in range(k):
            found.add([(0.0, 1.0)] * (n_goals - 1) + [(0.0, cost[:, arm].max())])
        values = np.stack([*metrics, cost])[:, rng.permutation(n)]
        while found.asked:
            for arm in found.asked:
                start = found.length(arm)
                found.put(arm, values[:, start : start + BLOCK, arm])
            found.decide()
        wrong.append(len(found.chosen) < k)
    say("null_error_rate.many_objectives", np.array(wrong, float), float(np.mean(wrong)), "of the runs", f"<= {ALPHA}")


def stress_late(runs: int) -> None:
    """Variants that come two by two, rest after a while, and are settled in the end; some of them can be dropped."""
    rng = np.random.default_rng(14)
    wrong = []
    for _ in range(runs):
        k, n = int(rng.integers(4, 9)), 200
        quality = ladder(rng, n, k, EPSILON + 1e-9, 0.45)
        cost = np.repeat((np.arange(k) + 1.0)[None, :] / 1e5, n, axis=0) * rng.uniform(0.5, 1.5, (n, k))
        quality = np.column_stack([quality, np.clip(quality - 0.3, 0, 1)])  # twins at the same cost, far worse
        table = Table(quality, np.column_stack([cost, cost]))
        order, queue = rng.permutation(n), list(rng.permutation(2 * k))
        found = Race((Goal("quality", slack=EPSILON), Goal("cost", False, tolerance=TOLERANCE)), n, 2 * k, alpha=ALPHA)
        columns: list[int] = []
        while queue or found.asked:
            for _ in range(min(2, len(queue))):
                columns.append(int(queue.pop()))
                found.add([(0.0, 1.0), (0.0, table.cost[:, columns[-1]].max())])
            rest = 48 if queue else n
            while asked := [arm for arm in found.asked if found.length(arm) < rest]:
                for arm in asked:
                    rows = order[found.length(arm) : found.length(arm) + BLOCK]
                    found.put(arm, np.stack([table.quality[rows, columns[arm]], table.cost[rows, columns[arm]]]))
                found.decide()
        front = [columns[arm] for arm in found.chosen]
        wrong.append(bool(uncovered(front, *table.means, epsilon=EPSILON, tolerance=TOLERANCE)))
    say("null_error_rate.late_entrants", np.array(wrong, float), float(np.mean(wrong)), "of the runs", f"<= {ALPHA}")


def main() -> None:
    """Race on every recorded set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 orders and 100 stress runs instead of 100 and 1,000")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    print(f"{'figure':<52}{'value':>9}{'low':>9}{'high':>9}{'n':>6}  target", file=sys.stderr)
    models = options.data / "cost_model.json"
    sets = json.loads(models.read_text())["sets"] if models.is_file() else {}
    for name in TARGETS:
        if name not in sets or not (options.data / f"{name}.parquet").is_file():
            print(f"left out: {name} or its cost model is not in {options.data}", file=sys.stderr)
            continue
        table, orders = load(options.data, name, sets[name]), 5 if options.quick else 100
        compete(name, table, orders)
        look_for_cheapest(name, table, orders)
    stress(100 if options.quick else 1000)
    stress_many(20 if options.quick else 1000)
    stress_late(20 if options.quick else 1000)


if __name__ == "__main__":
    main()
