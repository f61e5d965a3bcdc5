"""A sampler for Optuna that learns what every choice does to every objective, and so needs few trials."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import TrialState
from threadpoolctl import ThreadpoolController

from paretoken.analysis.hypervolume import DECADE
from paretoken.experiment.surrogate_model import MOST_CANDIDATES, N_DRAWS, Factor, Known, Model, Points, Told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    Floats = NDArray[np.float64]

N_RAYS = 32
"""Directions along which hypervolume is measured, for two objectives; more objectives take more."""
START = 3
"""Trials that are drawn at random before the model is asked."""


class _Memory:
    """What a study was told about a space, kept between proposals: a finished trial does not change."""

    def __init__(self, study: str, space: Points, n_objectives: int) -> None:
        self.study, self.space = study, space
        self.numbers: list[int] = []
        nothing = space.points[:0], space.rows[:0], space.known[:0], np.zeros((0, n_objectives)), np.zeros(0)
        self.told = self._none = Told(*nothing)
        self.constraints: dict[int, dict[str, float]] = {}
        self.tries = np.zeros(len(space.points), np.int64)
        self.tried: set[tuple[float, ...]] = set()
        self._finished: set[int] = set()
        self._by_number: dict[int, Told] = {}
        self._models: dict[int | str, tuple[object, Model]] = {}

    def recall(self, study: Study, trial: FrozenTrial) -> dict[tuple[float, ...], Told]:
        """Take what is new, and return the points in flight."""
        flying = {}
        for other in study.get_trials(deepcopy=False):
            if other.number in self._finished or other.number == trial.number:
                continue
            if any(name not in other.params for name in self.space.of):
                continue
            key, codes = self.space.key(other.params), np.array([self.space.codes(other.params)])
            if self.space.finite:
                at = [self.space.index[key]]
                rows, known = self.space.rows[at], self.space.known[at]
            else:
                rows, known = self.space.features(codes), self.space.ask(codes)
            n = np.array([float(other.user_attrs.get("n", 1.0))])
            complete = other.state == TrialState.COMPLETE
            told = Told(codes, rows, known, np.array([other.values if complete else []], dtype=float), n)
            if not other.state.is_finished():
                flying[key] = told
                continue
            self._finished.add(other.number)
            self.tried.add(key)
            if self.space.finite:
                self.tries[at] += 1
            if complete:
                self._by_number[other.number] = told
                if other.constraints:
                    self.constraints[other.number] = other.constraints
        self._stack()
        return flying

    def _stack(self) -> None:
        """Put the rows in the order of the trials, whichever finished first."""
        numbers = sorted(self._by_number)
        if numbers[: len(self.numbers)] != self.numbers:
            self.numbers, self.told = [], self._none
        new = [self._by_number[number] for number in numbers[len(self.numbers) :]]
        if new:
            self.told = Told(*(np.concatenate(parts) for parts in zip(self.told, *new, strict=True)))
        self.numbers = numbers

    def model(self, name: int | str, numbers: list[int], rows: Floats, values: Floats, n: Floats) -> Model:
        """A model of one output, made anew when there is half as much again."""
        size = 1 << (len(numbers).bit_length() - 1)
        size += size // 2 if size + size // 2 <= len(numbers) else 0
        key = numbers[:size], values[:size].tolist()
        if self._models.get(name, (None, None))[0] != key:
            self._models[name] = key, Model(self.space, rows[:size], values[:size], n[:size])
        return self._models[name][1]


class SurrogateSampler(BaseSampler):
    """Proposes the point that is expected to add most hypervolume, by a linear model of every objective.

    Every objective (and constraint) is a sum of effects of the parameters and of pairs of them, in logarithm if it is
    positive and spreads over a decade; how much each parameter may do is learnt. A few draws of the effects (Thompson
    sampling) predict the untried points of a finite space, or many random ones of a continuum. A value that rests on
    fewer samples (the user attribute `n` of its trial) weighs less. Trials in flight are not proposed again, nor is a
    point of a finite space while untried ones are left; a failed trial counts as tried. The same study and seed give
    the same proposal, whether or not the study was resumed.

    Source: Russo et al. (2018), "A tutorial on Thompson sampling", section 4; Zhang and Golovin (2020), "Random
    hypervolume scalarizations for provable multi-objective black box optimization", lemma 5, for the gain.

    Args:
        seed: For the draws.
        space: All parameters, if known; else those that the trials have in common are modelled, others are random.
        known: Of objectives, by number, that need no trial: their value at a point.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(directions=["maximize", "minimize"], sampler=SurrogateSampler(seed=1))
        >>> study.optimize(lambda trial: (trial.suggest_int("words", 1, 9), trial.params["words"] ** 2), n_trials=9)
        >>> len({trial.params["words"] for trial in study.trials})
        9
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        space: Mapping[str, BaseDistribution] | None = None,
        known: Mapping[int, Known] | None = None,
    ) -> None:
        self._seed = _entropy() if seed is None else seed
        self._given, self._known = dict(space or {}), dict(known or {})
        self._threads = ThreadpoolController()
        self._memory: _Memory | None = None
        self._common: tuple[str, IntersectionSearchSpace] | None = None

    def reseed_rng(self) -> None:
        """Make a copy draw differently."""
        self._seed = _entropy()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The given space, else what the trials have in common."""
        space = self._given
        if not space:
            if self._common is None or self._common[0] != study.study_name:
                self._common = study.study_name, IntersectionSearchSpace(include_pruned=True)
            space = self._common[1].calculate(study)
        if not space:
            others = reversed(study.get_trials(deepcopy=False))
            space = next((t.distributions for t in others if t.number != trial.number and t.distributions), {})
        return {name: d for name, d in space.items() if not d.single()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value."""
        rng = np.random.default_rng([self._seed, trial.number, zlib.crc32(param_name.encode())])
        factor = Factor(param_distribution)
        return factor.value(float(rng.integers(factor.levels or 1)) if factor.nominal else rng.random())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next point."""
        if not search_space:
            return {}
        with self._threads.limit(limits=1, user_api="blas"):  # matrices of 200 rows: threads would only wait
            return self._sample(study, trial, search_space)

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        memory = self._memory
        if memory is None or memory.study != study.study_name or memory.space.of != search_space:
            memory = self._memory = _Memory(study.study_name, Points(search_space, self._known), len(study.directions))
        rng, space = np.random.default_rng([self._seed, trial.number]), memory.space
        flying = memory.recall(study, trial)
        numbers, told = memory.numbers, memory.told
        points, rows, known = self._candidates(memory, flying, rng)
        if len(numbers) < START:
            return space.params(points[rng.integers(len(points))])
        rows = np.concatenate([rows, *(point.rows for point in flying.values())])
        known = np.concatenate([known, *(point.known for point in flying.values())])
        new: list[Floats] = []
        old: list[Floats] = []
        for i, direction in enumerate(study.directions):
            if i in self._known:
                at, told_at = (part[:, list(self._known).index(i)] for part in (known, told.known))
                logs = _in_logs(np.concatenate([at, told_at]))
                drawn = (np.log(at), np.log(told_at)) if logs else (at, told_at)
            else:
                values = told.values[:, i]
                values = np.log(values) if _in_logs(values) else values
                drawn = memory.model(i, numbers, told.rows, values, told.n).draw(rng, rows, told.rows, values, told.n)
            sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
            for parts, at in zip((new, old), drawn, strict=True):
                parts.append(np.broadcast_to(sign * at, (N_DRAWS, at.shape[-1])))
        excess, feasible = np.zeros((N_DRAWS, len(rows))), np.ones(len(numbers), np.bool_)
        for name in sorted({name for limits in memory.constraints.values() for name in limits}):
            mine = [i for i, number in enumerate(numbers) if name in memory.constraints.get(number, ())]
            values = np.array([memory.constraints[numbers[i]][name] for i in mine])
            feasible[mine] &= values <= 0
            told_of = told.rows[mine], values, told.n[mine]
            drawn = memory.model(name, [numbers[i] for i in mine], *told_of).draw(rng, rows, *told_of)
            excess += np.maximum(drawn[0], 0.0) / (np.abs(values).max() or 1.0)
        best = _choose(np.stack(new, axis=-1), np.stack(old, axis=-1)[:, feasible], excess, len(points), rng)
        return space.params(points[best])

    def _candidates(
        self, memory: _Memory, flying: Mapping[tuple[float, ...], object], rng: np.random.Generator
    ) -> tuple[Floats, Floats, Floats]:
        """Points that may be proposed, their features, and their known objectives."""
        space = memory.space
        if space.finite:
            tries = memory.tries.copy()
            tries[[space.index[key] for key in flying]] += 1
            there = ~np.isnan(space.known).any(axis=1)
            free = np.flatnonzero(there & (tries == tries[there].min()))
            if len(free) > MOST_CANDIDATES:
                free = np.sort(rng.choice(free, MOST_CANDIDATES, replace=False))
            return space.points[free], space.rows[free], space.known[free]
        points = space.draw(rng, memory.told.codes)
        new = np.array([space.key(space.params(p)) not in memory.tried for p in points])
        points = points[new] if new.any() else points
        return points, space.features(points), space.ask(points)


def _in_logs(values: Floats) -> bool:
    return bool(values.min() > 0 and values.max() > DECADE * values.min())


def _choose(new: Floats, front: Floats, excess: Floats, n: int, rng: np.random.Generator) -> int:
    """Which of the first `n` new points adds most hypervolume, on average over draws; larger is better.

    Hypervolume is a mean over rays of how far a front reaches along each.

    Args:
        new: Shape `(n_draws, n_new, n_objectives)`; those after the first `n` are in flight and count as told.
        front: Likewise, of what was told and is feasible.
        excess: By how much the new points break constraints, shape `(n_draws, n_new)`.
        n: Candidates.
        rng: For the rays of three and more objectives.
    """
    m = new.shape[-1]
    rays = np.ones((1, 1))
    if m == 2:
        angles = (np.arange(N_RAYS) + 0.5) * math.pi / 2 / N_RAYS
        rays = np.column_stack([np.cos(angles), np.sin(angles)])
    elif m > 2:
        rays = np.abs(rng.standard_normal((N_RAYS * (m - 1), m)))
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    rays = rays.astype(np.float32)
    gains, gaps = np.zeros(n), np.zeros(n)
    for ahead, told, breach in zip(new, front, excess, strict=True):
        both = np.concatenate([ahead, told])
        low, high = both.min(axis=0), both.max(axis=0)
        unit = ((both - low) / np.where(high > low, high - low, 1.0) + 0.05).astype(np.float32)
        reach = unit[:, :1] / rays[:, 0]
        for i in range(1, m):
            np.minimum(reach, unit[:, i : i + 1] / rays[:, i], out=reach)
        reach **= m
        in_air = reach[n : len(ahead)][breach[n:] <= 0]
        best = np.maximum(reach[len(ahead) :].max(axis=0, initial=0.0), in_air.max(axis=0, initial=0.0))
        lead = reach[:n] - best
        gains += np.where(breach[:n] <= 0, np.maximum(lead, 0.0).sum(axis=1), 0.0)
        gaps += np.minimum(lead.max(axis=1), 0.0) - breach[:n]
    return int((gains if gains.max() > 0 else gaps).argmax())


def _entropy() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])
