"""How many cells a search takes to find the Pareto front of recorded configurations, alone and raced.

    python bench/search.py [--quick] [--data DIR] [--seeds N]

Two recorded spaces, of models, prompts and answer caps. Samplers of Optuna stand beside ours; alone, every trial
answers all samples; raced, four trials at a time answer blocks of 8, and a trial leaves when the race decides or rests
as in the product, to be settled when nothing is left to try. The front is what the search would report then: of the
trials that the race did not drop, those that no other beats by the estimates so far. It is judged by its hypervolume at
the true means (cost in logarithm). In the figures with `decided` nothing rests, and only trials that the race has kept
count, by the estimates that the study was told. Costs are given to the race and to our sampler, but for the figures
with `learned_cost`. A search ends when it has 99 %; one that never has it counts as all cells. `--first` sets the first
seed. Prints tables on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import Trial, TrialState

from paretoken.analysis.duels import Goal
from paretoken.analysis.race import Race, uncovered
from paretoken.experiment.raceplanner import rest_after
from paretoken.experiment.surrogate import SurrogateSampler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from numpy.typing import NDArray

EPSILON, ALPHA, TOLERANCE = 0.02, 0.05, 0.1
BLOCK, IN_FLIGHT = 8, 4
LEVELS = (0.95, 0.99)
TARGETS = {("search_a", 0.95): 0.09, ("search_b", 0.95): 0.13, ("search_a", 0.99): 0.12, ("search_b", 0.99): 0.20}
SAMPLERS = ("surrogate", "tpe", "random", "nsga2", "nsga3", "grid")
SLOW_SEEDS, SLOW_TRIALS = 3, 80
"""Of GPSampler, which needs seconds a trial."""


@dataclass(frozen=True)
class Table:
    """Quality and cost of every configuration on every sample, shape `(n_samples, n_configurations)`."""

    quality: NDArray[np.float64]
    cost: NDArray[np.float64]
    space: dict[str, BaseDistribution]
    index: dict[tuple[Any, ...], int]

    def find(self, params: Mapping[str, Any]) -> int | None:
        """The column of a configuration, None if it was not recorded."""
        return self.index.get(tuple(params[name] for name in self.space))

    @property
    def means(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """True quality and cost."""
        return self.quality.mean(axis=0), self.cost.mean(axis=0)


def load(data: Path, name: str) -> Table:
    """A recorded space; an answer cap of -1 is none."""
    frame = pd.read_parquet(data / f"{name}.parquet")
    factors = [c for c in ("model", "prompt", "answer_cap_words") if frame[c].nunique() > 1]
    wide = frame.pivot_table(index="sample", columns=factors, values=["quality", "cost_usd"])
    columns = [tuple(None if value == -1 else value for value in column) for column in wide["quality"].columns]
    space: dict[str, BaseDistribution] = {}
    for i, factor in enumerate(factors):
        values = {column[i] for column in columns}
        space[factor] = CategoricalDistribution(
            [*sorted(value for value in values if value is not None), *[None] * (None in values)]
        )
    index = {column: i for i, column in enumerate(columns)}
    return Table(wide["quality"].to_numpy(float), wide["cost_usd"].to_numpy(float), space, index)


def hypervolume(front: list[int], quality: NDArray[np.float64], cost: NDArray[np.float64]) -> float:
    """Of a front at the true means, with costs on a logarithmic scale."""
    points = np.column_stack([-quality, np.log(cost)])
    worst = points.max(axis=0) + 0.05 * np.ptp(points, axis=0)
    return float(moocore.hypervolume(points[front], ref=worst)) if front else 0.0


def make_sampler(name: str, table: Table, seed: int, *, learnt: bool) -> optuna.samplers.BaseSampler:
    """A sampler by name; ours is given the costs, if they are given. A grid is queued in random order instead."""
    if name == "surrogate":
        costs = table.means[1]

        def cost(params: dict[str, Any]) -> float | None:
            return None if (column := table.find(params)) is None else float(costs[column])

        return SurrogateSampler(seed, space=table.space, known={} if learnt else {1: cost})
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    population = min(50, max(8, len(table.index) // 5))
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
    if name == "nsga3":
        return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population)
    return optuna.samplers.GPSampler(seed=seed) if name == "gp" else optuna.samplers.RandomSampler(seed=seed)


class Search:
    """One search in a recorded space.

    Attributes:
        reached: Cells and dollars, as shares of all, when the hypervolume first reached a level.
        wrong: In the end, something that was tried is not covered by anything that is not dropped.
    """

    def __init__(
        self, table: Table, sampler: str, seed: int, *, raced: bool, learnt: bool = False, rests: bool = True
    ) -> None:
        self._table, self._raced, self._learnt, self._rests = table, raced, learnt, rests
        order = np.random.default_rng([seed, 7]).permutation(len(table.quality))
        self._quality, self._cost = table.quality[order], table.cost[order]
        self._means, k = table.means, table.quality.shape[1]
        ideal = np.flatnonzero(moocore.is_nondominated(np.column_stack([-self._means[0], self._means[1]])))
        self._whole = hypervolume(ideal.tolist(), *self._means)
        goals = Goal("quality", slack=EPSILON), Goal("cost", False, tolerance=TOLERANCE * learnt, given=not learnt)
        self._race = Race(goals, len(order), k, alpha=ALPHA)
        self._study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=make_sampler(sampler, table, seed, learnt=learnt)
        )
        if sampler == "grid":
            points = list(table.index)
            for i in np.random.default_rng([seed, 8]).permutation(len(points)):
                self._study.enqueue_trial(dict(zip(table.space, points[i], strict=True)))
        self._trials: dict[int, Trial] = {}
        self._arms: dict[int, int] = {}
        self._lengths: dict[int, int] = {}
        self._told: dict[int, list[float]] = {}
        self._cells = self._dollars = 0.0
        self.reached: dict[float, tuple[float, float]] = {}
        self._run(proposals=SLOW_TRIALS if sampler == "gp" else 4 * k)
        tolerance = TOLERANCE if learnt else 0.0
        tried = sorted(self._told)
        quality, cost = (means[tried] for means in self._means)
        left = [i for i, column in enumerate(tried) if not self._dropped(column)]
        self.wrong = bool(uncovered(left, quality, cost, epsilon=EPSILON, tolerance=tolerance))

    def _dropped(self, column: int) -> bool:
        decision = self._race.decisions.get(self._arms[column])
        return decision is not None and decision.fate != "kept"

    def _run(self, proposals: int) -> None:
        table, most = self._table, self._table.cost.max(axis=0)
        while LEVELS[-1] not in self.reached:
            while len(self._trials) < IN_FLIGHT and len(self._lengths) < len(table.index) and proposals > 0:
                trial, proposals = self._study.ask(table.space), proposals - 1
                column = table.find(trial.params)
                if column is None or column in self._trials:
                    self._study.tell(trial, state=TrialState.FAIL)
                elif column in self._told:
                    self._study.tell(trial, self._told[column])
                else:
                    given = None if self._learnt else float(self._means[1][column])
                    self._arms[column] = self._race.add([(0.0, 1.0), (0.0, most[column])], [None, given])
                    self._trials[column], self._lengths[column] = trial, 0
            if not self._trials and not (self._raced and self._race.asked):
                return
            for column in self._round() if self._raced else self._all():
                self._tell(column)
            self._look()

    def _answer(self, column: int, n: int) -> NDArray[np.float64]:
        start = self._lengths[column]
        self._lengths[column] = min(start + n, len(self._quality))
        rows = slice(start, self._lengths[column])
        self._cells += self._lengths[column] - start
        self._dollars += float(self._cost[rows, column].sum())
        return np.stack([self._quality[rows, column], self._cost[rows, column]])

    def _round(self) -> list[int]:
        """Ask whoever is wanted and does not rest; give the trials that are to be told."""
        columns = {arm: column for column, arm in self._arms.items()}
        total = len(self._quality)
        rest = rest_after(total) if self._rests and self._trials else total
        for arm in self._race.asked:
            if self._lengths[columns[arm]] < rest:
                self._race.put(arm, self._answer(columns[arm], BLOCK))
        self._race.decide()
        return [c for c in self._trials if self._arms[c] in self._race.decisions or self._lengths[c] >= rest]

    def _all(self) -> list[int]:
        for column in self._trials:
            self._answer(column, len(self._quality))
        return list(self._trials)

    def _tell(self, column: int) -> None:
        trial = self._trials.pop(column)
        self._told[column] = self._estimate(column)
        trial.set_user_attr("n", self._lengths[column])
        self._study.tell(trial, self._told[column])

    def _estimate(self, column: int) -> list[float]:
        n = self._lengths[column]
        cost = self._cost[:n, column].mean() if self._learnt else self._means[1][column]
        return [float(self._quality[:n, column].mean()), float(cost)]

    def _look(self) -> None:
        standing = [column for column in self._told if not self._dropped(column)]
        if not standing:
            return
        told = np.array([self._estimate(column) if self._rests else self._told[column] for column in standing])
        best = moocore.is_nondominated(np.column_stack([-told[:, 0], told[:, 1]]))
        front = [column for column, good in zip(standing, best, strict=True) if good]
        share = hypervolume(front, *self._means) / self._whole
        spent = self._cells / self._quality.size, self._dollars / self._cost.sum()
        for level in LEVELS:
            if share >= level:
                self.reached.setdefault(level, spent)


def search(seed: int, data: Path, space: str, sampler: str, *, raced: bool, learnt: bool, rests: bool) -> Outcome:
    """One search, in a process of its own."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    found = Search(load(data, space), sampler, seed, raced=raced, learnt=learnt, rests=rests)
    return [found.reached.get(level, (1.0, 1.0)) for level in LEVELS], found.wrong


Outcome = tuple[list[tuple[float, float]], bool]
"""Cells and dollars to every level; and whether the front is wrong."""


def say(figure: str, values: NDArray[np.float64], value: float, unit: str, target: str = "none") -> None:
    """Print a figure with its 5 and 95 % quantiles."""
    low, high = (float(np.quantile(values, q)) for q in (0.05, 0.95))
    print(f"{figure:<56}{value:>9.4f}{low:>9.4f}{high:>9.4f}{len(values):>6}  {target}", file=sys.stderr, flush=True)
    print(json.dumps({"bench": "search", "figure": figure, "value": round(value, 4), "low": round(low, 4),
                      "high": round(high, 4), "unit": unit, "n": len(values), "target": target}),
          flush=True)  # fmt: skip


def compete(
    pool: Executor,
    data: Path,
    space: str,
    sampler: str,
    seeds: range,
    *,
    raced: bool,
    learnt: bool = False,
    rests: bool = True,
) -> None:
    """One sampler on all seeds; ours, raced, with costs given, gives the figures that have targets."""
    held = sampler == "surrogate" and raced and rests and not learnt
    name = ("" if sampler == "surrogate" else f"_{sampler}") + "_learned_cost" * learnt
    name += "_alone" * (not raced) + "_decided" * (not rests)
    one = partial(search, data=data, space=space, sampler=sampler, raced=raced, learnt=learnt, rests=rests)
    found = list(pool.map(one, seeds))
    for (i, level), (j, what) in itertools.product(enumerate(LEVELS), enumerate(("cells", "dollars"))):
        values = np.array([reached[i][j] for reached, _ in found])
        target = f"<= {TARGETS[space, level]}" if held and what == "cells" else "none"
        unit = "of all cells" if what == "cells" else "of the cost of all cells"
        say(f"{what}_to_{level * 100:.0f}{name}.{space}", values, float(np.median(values)), unit, target)
    if raced and sampler == "surrogate":
        wrong = np.array([w for _, w in found], dtype=float)
        say(f"wrong_front_rate{name}.{space}", wrong, float(wrong.mean()), "of the seeds", f"<= {ALPHA}")


def overhead(trials: int, timed: int) -> None:
    """What a trial costs beside its calls, when as many were told: ask and tell in memory; and its race.

    The space is planted: 20 models, 5 prompts, 6 caps and 5 temperatures, with effects that add up.
    """
    rng, total = np.random.default_rng(3), 480
    rest = rest_after(total)
    sizes = {"model": 20, "prompt": 5, "cap": 6, "temperature": 5}
    space: dict[str, BaseDistribution] = {
        name: CategoricalDistribution([f"{name}{i}" for i in range(n)]) for name, n in sizes.items()
    }
    effects = {name: rng.normal(0, 0.06, n) for name, n in sizes.items()}
    prices = {name: rng.normal(0, 0.7, n) for name, n in sizes.items()}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(1, space=space))
    goals = Goal("quality", slack=EPSILON), Goal("cost", False, given=True)
    race = Race(goals, total, 3000, alpha=ALPHA)
    difficulty = rng.normal(0, 0.08, total)
    times = {"ask_tell": np.zeros(trials + timed), "race": np.zeros(trials + timed)}
    values: dict[int, NDArray[np.float64]] = {}
    for i in range(trials + timed):
        began = time.perf_counter()
        trial = study.ask(space)
        asked = time.perf_counter()
        level = {name: int(trial.params[name].removeprefix(name)) for name in sizes}
        mean = 0.5 + sum(effects[name][level[name]] for name in sizes)
        cost = float(np.exp(sum(prices[name][level[name]] for name in sizes)))
        answers = np.clip(mean + difficulty + rng.normal(0, 0.1, total), 0, 1)
        started = time.perf_counter()
        arm = race.add([(0.0, 1.0), (0.0, 10 * cost)], [None, cost])
        values[arm] = np.stack([answers, np.full(total, cost)])
        while arm not in race.decisions and race.length(arm) < rest:
            for other in race.asked:
                if (start := race.length(other)) < rest:
                    race.put(other, values[other][:, start : start + BLOCK])
            race.decide()
        n = race.decisions[arm].n if arm in race.decisions else rest
        times["race"][i] = time.perf_counter() - started
        trial.set_user_attr("n", n)
        telling = time.perf_counter()
        study.tell(trial, [float(answers[:n].mean()), cost])
        times["ask_tell"][i] = asked - began + time.perf_counter() - telling
    late = {name: 1000 * seconds[trials:] for name, seconds in times.items()}
    say("overhead_ms_per_trial", late["ask_tell"], float(late["ask_tell"].mean()), "ms", "<= 10")
    say("overhead_race_ms_per_trial", late["race"], float(late["race"].mean()), "ms")


def main() -> None:
    """Search both spaces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end in under a minute")
    parser.add_argument("--data", type=Path, help="folder of the recorded spaces")
    parser.add_argument("--seeds", type=int, help="of every search; 20 if not said")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--only", help="one sampler")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{'figure':<56}{'value':>9}{'5 %':>9}{'95 %':>9}{'n':>6}  target", file=sys.stderr)
    overhead(300 if args.quick else 1000, 10 if args.quick else 30)
    if args.data is None:
        print("without --data: no search of recorded spaces", file=sys.stderr)
        return
    seeds = args.seeds or (2 if args.quick else 20)
    names = ("surrogate", "tpe", "random") if args.quick else (*SAMPLERS, "gp")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of the processes that search
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for name, space in itertools.product(names, ("search_b", "search_a")):
            if args.only not in (None, name):
                continue
            n = range(args.first, args.first + (min(seeds, SLOW_SEEDS) if name == "gp" else seeds))
            compete(pool, args.data, space, name, n, raced=True)
            if args.quick:
                continue
            compete(pool, args.data, space, name, n, raced=False)
            if name in ("surrogate", "tpe"):
                compete(pool, args.data, space, name, n, raced=True, learnt=True)
            if name == "surrogate":
                compete(pool, args.data, space, name, n, raced=True, rests=False)


if __name__ == "__main__":
    main()
