"""What comes next, from what was seen: the mean of values not yet drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_DRAWS = 4000
MIN_SEEN = 10
"""Fewer values say too little of their spread."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An interval that holds what comes next with probability `level`.

    Attributes:
        expected: The best guess.
        low, high: Bounds of the interval.
        n: How many values it rests on.
    """

    expected: float
    low: float
    high: float
    n: int
    level: float = 0.9


def draw_future_means(values: NDArray[np.float64], m: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw from the predictive distribution of the mean of `m` further values, exchangeable with those seen.

    The difference of the means, in units of its standard error, is bootstrapped: its distribution carries the skewness
    of the values and the error of an estimated spread, so intervals hold their level from about ten values on.

    Args:
        values: What was seen, shape `(n,)`, n >= 2.
        m: How many are to come.
        rng: Chance.

    Returns:
        Shape `(N_DRAWS,)`.

    Source: Stine (1985), "Bootstrap Prediction Intervals for Regression", JASA 80; Davison and Hinkley (1997),
    "Bootstrap Methods and their Application", section 5.2.1 (studentised bootstrap).
    """
    n = len(values)
    spread = float(values.std(ddof=1))
    if spread == 0:
        return np.full(N_DRAWS, values.mean())
    seen = values[rng.integers(0, n, (N_DRAWS, n))]
    future = rng.multinomial(m, np.full(n, 1 / n), N_DRAWS) @ values / m
    scale = (1 / n + 1 / m) ** 0.5
    spreads = np.maximum(seen.std(axis=1, ddof=1), 1e-3 * spread)
    pivots = (future - seen.mean(axis=1)) / (spreads * scale)
    return np.asarray(values.mean() + pivots * spread * scale)


def predict(draws: NDArray[np.float64], n: int, level: float = 0.9) -> Prediction:
    """The central interval of draws from a predictive distribution; `n` is what they rest on."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Prediction(float(np.median(draws)), float(low), float(high), n, level)
