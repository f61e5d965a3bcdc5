"""The linear model of the surrogate sampler: what parameters, alone and in pairs, do to one output."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.legendre import legvander
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from optuna.distributions import BaseDistribution

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
DEGREE, PAIR_DEGREE = 4, 2
"""Of the polynomials in a number: alone, and together with another factor."""
CONSTANT, PAIRS, UNEXPLAINED = 100.0, 0.1, 0.02
"""Variances before data, against a factor's 1: of the constant, of a pair, and of misfit and of noise."""
OBSERVATIONS = 2
"""How many observations the variances before data count for."""
ROUNDS = 6
"""Steps in which the variances are fitted."""


class Factor:
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


class Points:
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
        self._factors = [Factor(d) for d in distributions.values()]
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


class Told(NamedTuple):
    """What finished trials said, one row each."""

    codes: Floats
    rows: Floats
    known: Floats
    values: Floats
    n: Floats


class Model:
    """A linear model of one output: effects of factors and of pairs, what they miss at a point, and noise.

    Args:
        space: Has the groups of the features.
        rows: Features of what was told first, shape `(n_told, n_features)`.
        values: The output, shape `(n_told,)`.
        n: Samples that each value rests on, shape `(n_told,)`.

    Source: Bishop, "Pattern recognition and machine learning" (2006), sections 3.3 and 9.3.4.
    """

    def __init__(self, space: Points, rows: Floats, values: Floats, n: Floats) -> None:
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
