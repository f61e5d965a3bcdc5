"""A sampler for Optuna that learns what every choice does to every objective, and so needs few trials."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import TrialState
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    Floats = NDArray[np.float64]

Known = Callable[[dict[str, Any]], float | None]
"""Gives an objective at a point without a trial; None where there is no such point."""

MOST_POINTS = 4096
"""Points up to which a space is listed, so that none is proposed twice while others are left."""
MOST_CANDIDATES = 512
"""Points that are compared for one proposal."""
MOST_FEATURES = 208
"""Features up to which pairs of factors are modelled, the smallest pairs first."""
N_DRAWS = 4
"""Draws of the effects over which a gain is averaged: fewer explore more, more cost time."""
N_RAYS = 32
"""Directions along which hypervolume is measured, for two objectives; more objectives take more."""
START = 3
"""Trials that are drawn at random before the model is asked."""
DECADE = 10.0
"""Ratio of the largest to the smallest value from which on a positive objective is modelled in logarithm."""
DEGREE, PAIR_DEGREE = 4, 2
"""Of the polynomials in a number: alone, and together with another factor."""
CONSTANT, PAIRS, UNEXPLAINED = 100.0, 0.1, 0.02
"""Variances before data, against a factor's 1: of the constant, of a pair, and of misfit and of noise."""
OBSERVATIONS = 2
"""How many observations the variances before data count for."""
ROUNDS = 6
"""Steps in which the variances are fitted."""


class _Factor:
    """One parameter: its codes (the number of a choice, or the place between the bounds) and its features.

    Choices that are numbers are taken to be in order; None among them may be the last, for "no limit".
    """

    def __init__(self, distribution: BaseDistribution) -> None:
        if not isinstance(distribution, (CategoricalDistribution, FloatDistribution, IntDistribution)):
            raise TypeError(f"no model of {distribution!r}")
        self._of = d = distribution
        self.levels: int | None = None
        if isinstance(d, CategoricalDistribution):
            self.levels = len(d.choices)
        elif isinstance(d, IntDistribution) or (isinstance(d, FloatDistribution) and d.step is not None):
            self.levels = round((d.high - d.low) / (d.step or 1)) + 1
        self.nominal = isinstance(d, CategoricalDistribution)
        self.top = self.levels or math.inf
        self.ordered = self.top > 2 and (not isinstance(d, CategoricalDistribution) or _numbers(d))
        self.degree = int(min(PAIR_DEGREE if self.nominal else DEGREE, self.top - 1))
        self.pair_degree = int(min(PAIR_DEGREE, self.top - 1))

    def code(self, value: Any) -> float:
        """The code of a value."""
        d = self._of
        if isinstance(d, CategoricalDistribution):
            return float(d.to_internal_repr(value))
        low, high = _scaled(d, d.low), _scaled(d, d.high)
        return (_scaled(d, value) - low) / (high - low)

    def value(self, code: float) -> Any:
        """The value at a code, on the distribution's grid."""
        d = self._of
        if isinstance(d, CategoricalDistribution):
            return d.choices[int(code)]
        low, high = _scaled(d, d.low), _scaled(d, d.high)
        value = low + code * (high - low)
        value = math.exp(value) if d.log else value
        if d.step is not None:
            value = d.low + round((value - d.low) / d.step) * d.step
        value = min(max(value, d.low), d.high)
        return int(value) if isinstance(d, IntDistribution) else float(value)

    def grid(self) -> Floats:
        """The codes of all values."""
        d, n = self._of, self.levels or 0
        if isinstance(d, CategoricalDistribution):
            return np.arange(n, dtype=float)
        return np.array([self.code(min(d.low + k * (d.step or 1), d.high)) for k in range(n)])

    def features(self, codes: Floats, *, pair: bool = False) -> Floats:
        """Alone, or for a product with another factor's; shape `(n, n_features)`."""
        parts = []
        if self.ordered:
            x = 2 * codes / (self.top - 1) - 1 if self.nominal else 2 * codes - 1
            degree = self.pair_degree if pair else self.degree
            parts.append(legvander(x, degree)[:, 1:] / np.arange(1, degree + 1))
        if self.nominal and not (pair and self.ordered):
            parts.append(np.eye(int(self.top))[codes.astype(int)])
        if not parts:
            parts.append(2 * codes[:, None] - 1)
        return np.concatenate(parts, axis=1)


def _scaled(d: FloatDistribution | IntDistribution, value: float) -> float:
    return math.log(value) if d.log else float(value)


def _numbers(d: CategoricalDistribution) -> bool:
    return all(c is None or (isinstance(c, (int, float)) and not isinstance(c, bool)) for c in d.choices)


class _Space:
    """The points of a search space and their features.

    Attributes:
        points: Codes of all points if they are few enough, shape `(n_points, n_factors)`; else none.
        rows: Their features, shape `(n_points, n_features)`.
        known: Objectives at them that are known without a trial, shape `(n_points, n_known)`.
        group: Of each feature, the factor or pair that it belongs to; 0 is the constant.
        prior: Of each group, the variance of its coefficients before data; then of misfit, and of noise.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], known: Mapping[int, Known]) -> None:
        self.of, self._known = dict(distributions), known
        self._factors = [_Factor(d) for d in distributions.values()]
        probe = np.zeros(1)
        alone = [factor.features(probe).shape[1] for factor in self._factors]
        part = [factor.features(probe, pair=True).shape[1] for factor in self._factors]
        self._pairs, left = [], MOST_FEATURES - 1 - sum(alone)
        for i, j in sorted(combinations(range(len(part)), 2), key=lambda pair: part[pair[0]] * part[pair[1]]):
            if (left := left - part[i] * part[j]) < 0:
                break
            self._pairs.append((i, j))
        counts = [1, *alone, *(part[i] * part[j] for i, j in self._pairs)]
        self.group = np.repeat(np.arange(len(counts)), counts)
        self.prior = np.array(
            [CONSTANT, *[1.0] * len(alone), *[PAIRS] * len(self._pairs), UNEXPLAINED, UNEXPLAINED], dtype=float
        )
        self.finite = math.prod(factor.levels or math.inf for factor in self._factors) <= MOST_POINTS
        self.points = np.zeros((0, len(self._factors)))
        if self.finite:
            axes = np.meshgrid(*(factor.grid() for factor in self._factors), indexing="ij")
            self.points = np.stack(axes, axis=-1).reshape(-1, len(self._factors))
        self.index = {self.key(self.params(point)): i for i, point in enumerate(self.points)}
        self.rows, self.known = self.features(self.points), self.ask(self.points)

    def key(self, params: Mapping[str, Any]) -> tuple[float, ...]:
        """What tells a point from others."""
        return tuple(float(d.to_internal_repr(params[name])) for name, d in self.of.items())

    def codes(self, params: Mapping[str, Any]) -> list[float]:
        """The codes of a point."""
        return [factor.code(params[name]) for name, factor in zip(self.of, self._factors, strict=True)]

    def params(self, point: Floats) -> dict[str, Any]:
        """The parameters of a point."""
        return {name: factor.value(code) for name, factor, code in zip(self.of, self._factors, point, strict=True)}

    def ask(self, points: Floats) -> Floats:
        """Known objectives at points, NaN where there is no such point."""
        found = [[ask(self.params(point)) for ask in self._known.values()] for point in points if self._known]
        return np.array(found, dtype=float).reshape(len(points), len(self._known))

    def features(self, points: Floats) -> Floats:
        """The features of points, shape `(n_points, n_features)`."""
        alone = [factor.features(column) for factor, column in zip(self._factors, points.T, strict=True)]
        part = [factor.features(column, pair=True) for factor, column in zip(self._factors, points.T, strict=True)]
        pairs = [part[i][:, k, None] * part[j] for i, j in self._pairs for k in range(part[i].shape[1])]
        return np.concatenate([np.ones((len(points), 1)), *alone, *pairs], axis=1)

    def draw(self, rng: np.random.Generator, near: Floats) -> Floats:
        """Random points, half of them a few steps from given ones."""
        points = rng.random((MOST_CANDIDATES, len(self._factors)))
        nominal = np.array([factor.nominal for factor in self._factors])
        points[:, nominal] = np.floor(points * [factor.top if factor.nominal else 1 for factor in self._factors])[
            :, nominal
        ]
        if len(near):
            half = points[: len(points) // 2]
            parents = near[rng.integers(len(near), size=len(half))]
            stepped = np.clip(parents + rng.normal(0, 0.15, half.shape), 0, 1)
            moved = rng.random(half.shape) < 1.5 / len(self._factors)
            half[:] = np.where(moved, np.where(nominal, half, stepped), parents)
        return points


class _Told(NamedTuple):
    """What finished trials said, one row each."""

    codes: Floats
    rows: Floats
    known: Floats
    values: Floats
    n: Floats


class _Model:
    """A linear model of one output: effects of factors and of pairs, what they miss at a point, and noise.

    Args:
        space: Has the groups of the features.
        rows: Features of what was told first, shape `(n_told, n_features)`.
        values: The output, shape `(n_told,)`.
        n: Samples that each value rests on, shape `(n_told,)`.

    Source: Bishop, "Pattern recognition and machine learning" (2006), sections 3.3 and 9.3.4.
    """

    def __init__(self, space: _Space, rows: Floats, values: Floats, n: Floats) -> None:
        self._mean = float(np.average(values, weights=n))
        self._spread = float(np.sqrt(np.average((values - self._mean) ** 2, weights=n))) or 1.0
        self._most, self._group, self._size = float(n.max()), space.group, len(n)
        self._variances = space.prior
        for _ in range(ROUNDS):
            self._refine(space.prior, rows, values, n)
        self._precision, self._pull = self._sums(rows, values, n)
        self._precision[np.diag_indices_from(self._precision)] += 1 / self._variances[self._group]

    def _noise(self, n: Floats) -> tuple[float, Floats]:
        return float(self._variances[-2]), self._variances[-1] * self._most / n

    def _sums(self, rows: Floats, values: Floats, n: Floats) -> tuple[Floats, Floats]:
        missed, noise = self._noise(n)
        weighted = rows.T / (missed + noise)
        return weighted @ rows, weighted @ ((values - self._mean) / self._spread)

    def _refine(self, prior: Floats, rows: Floats, values: Floats, n: Floats) -> None:
        """One step of expectation and maximisation, with the variances before data as observations."""
        precision, pull = self._sums(rows, values, n)
        precision[np.diag_indices_from(precision)] += 1 / self._variances[self._group]
        covariance = np.linalg.inv(precision)
        best = covariance @ pull
        counts = np.bincount(self._group)
        squares = np.bincount(self._group, best**2 + np.diag(covariance))
        residuals = ((values - self._mean) / self._spread - rows @ best) ** 2
        residuals += ((rows @ covariance) * rows).sum(axis=1)
        missed, noise = self._noise(n)
        share = missed / (missed + noise)
        misfit = (share**2 * residuals + share * noise).sum()
        noises = (n / self._most * ((1 - share) ** 2 * residuals + share * noise)).sum()
        sizes = np.array([*counts, len(n), len(n)])
        self._variances = (np.array([*squares, misfit, noises]) + OBSERVATIONS * prior) / (sizes + OBSERVATIONS)
        self._variances[0] = prior[0]

    def draw(
        self, rng: np.random.Generator, new: Floats, rows: Floats, values: Floats, n: Floats
    ) -> tuple[Floats, Floats]:
        """Draws of the output at new points and at those told, shape `(N_DRAWS, n_points)`.

        Args:
            rng: For the draws.
            new: Features of new points.
            rows: Features of all that was told; those that the model was made of come first.
            values: The output there.
            n: Samples that each value rests on.
        """
        more, pull = self._sums(rows[self._size :], values[self._size :], n[self._size :])
        precision, told = self._precision + more, len(n)
        nudge = np.linalg.cholesky(precision) @ rng.standard_normal((len(precision), N_DRAWS))
        effects = np.linalg.solve(precision, (self._pull + pull)[:, None] + nudge)
        missed, noise = self._noise(n)
        share = missed / (missed + noise)
        at_told = (rows @ effects).T
        at_told += share * ((values - self._mean) / self._spread - at_told)
        at_told += np.sqrt(share * noise) * rng.standard_normal((N_DRAWS, told))
        return self._mean + self._spread * (new @ effects).T, self._mean + self._spread * at_told


class _Memory:
    """What a study was told about a space, kept between proposals: a finished trial does not change."""

    def __init__(self, study: str, space: _Space, n_objectives: int) -> None:
        self.study, self.space = study, space
        self.numbers: list[int] = []
        nothing = space.points[:0], space.rows[:0], space.known[:0], np.zeros((0, n_objectives)), np.zeros(0)
        self.told = self._none = _Told(*nothing)
        self.constraints: dict[int, dict[str, float]] = {}
        self.tries = np.zeros(len(space.points), np.int64)
        self.tried: set[tuple[float, ...]] = set()
        self._finished: set[int] = set()
        self._by_number: dict[int, _Told] = {}
        self._models: dict[int | str, tuple[object, _Model]] = {}

    def recall(self, study: Study, trial: FrozenTrial) -> dict[tuple[float, ...], _Told]:
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
            told = _Told(codes, rows, known, np.array([other.values if complete else []], dtype=float), n)
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
            self.told = _Told(*(np.concatenate(parts) for parts in zip(self.told, *new, strict=True)))
        self.numbers = numbers

    def model(self, name: int | str, numbers: list[int], rows: Floats, values: Floats, n: Floats) -> _Model:
        """A model of one output, made anew when there is half as much again."""
        size = 1 << (len(numbers).bit_length() - 1)
        size += size // 2 if size + size // 2 <= len(numbers) else 0
        key = numbers[:size], values[:size].tolist()
        if self._models.get(name, (None, None))[0] != key:
            self._models[name] = key, _Model(self.space, rows[:size], values[:size], n[:size])
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
        factor = _Factor(param_distribution)
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
            memory = self._memory = _Memory(study.study_name, _Space(search_space, self._known), len(study.directions))
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
