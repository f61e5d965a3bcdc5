"""Means with intervals, and quantiles. Needs numpy and one function of scipy.special."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.objectives import LATENCY_QUANTILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with a confidence interval.

    Attributes:
        mean: The sample mean.
        low, high: Interval bounds; None when there are fewer than two values.
        n: How many samples it rests on.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


def t_interval(values: NDArray[np.float64], level: float = LEVEL) -> Estimate:
    """Mean of independent values with Student's t interval.

    Args:
        values: Shape `(n,)`, n >= 1.
        level: Confidence level.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, None, n)
    half = t_quantile((1 + level) / 2, n - 1) * float(np.std(values, ddof=1)) / n**0.5
    return Estimate(mean, mean - half, mean + half, n)


def t_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t distribution."""
    from scipy.special import stdtrit  # a tenth of the import time of scipy.stats

    return float(stdtrit(degrees, p))


def statistic(values: NDArray[np.float64], q: str = "") -> float | None:
    """Mean, or the quantile of a name such as `p95`, of the values that are there; None without any."""
    known = values[~np.isnan(values)]
    if q:
        return quantile(known, LATENCY_QUANTILES[q])
    return float(known.mean()) if len(known) else None


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    """Empirical quantile, or None without values."""
    return float(np.quantile(values, q)) if len(values) else None
