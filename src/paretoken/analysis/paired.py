"""Paired comparison of two variants on the same samples, at a size declared before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from paretoken.analysis.estimate import LEVEL, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoken.records.table import RecordTable

Direction = Literal["smaller is better", "larger is better"]
MIN_PAIRS = 10

SMALLER_IS_BETTER = frozenset({"list_usd", "billed_usd", "input_tokens", "output_tokens", "latency_s"})


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """B minus A on one quantity, with an interval.

    Attributes:
        name: The quantity.
        level: Confidence level of the intervals.
        n: Samples that have a value for both; repeats are averaged first.
        mean_a, mean_b: Means over those samples.
        difference, low, high: Mean difference and its interval, in the quantity's unit.
        relative, relative_low, relative_high: Ratio of means minus one, with the interval of Fieller's theorem;
            None where A's mean is not clearly positive.
        p_value: Two-sided, of no difference; None when the differences do not vary.
        reason: Why there is no interval, or None.
    """

    name: str
    level: float
    n: int
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    p_value: float | None
    reason: str | None = None

    @property
    def direction(self) -> Direction:
        """Whether a smaller or a larger value is better."""
        return "smaller is better" if self.name in SMALLER_IS_BETTER else "larger is better"


def paired_difference(a: RecordTable, b: RecordTable, name: str, level: float = LEVEL) -> PairedDifference | None:
    """Compare two variants on the samples that both have a value for.

    Args:
        a: Records of the one variant.
        b: Records of the other, of the same table.
        name: A column of the records: `list_usd`, `latency_s`, a metric, ...
        level: Confidence level of the interval.

    Returns:
        B minus A; None when no sample has both values.
    """
    samples_a, means_a = a.sample_means(name)
    samples_b, means_b = b.sample_means(name)
    common, in_a, in_b = np.intersect1d(samples_a, samples_b, assume_unique=True, return_indices=True)
    return _difference(name, means_a[in_a], means_b[in_b], level) if len(common) else None


def _difference(name: str, x: NDArray[np.float64], y: NDArray[np.float64], level: float) -> PairedDifference:
    n = len(x)
    mean_a, mean_b = float(x.mean()), float(y.mean())
    difference = float((y - x).mean())
    point = mean_b / mean_a - 1 if mean_a > 0 else None
    if n < MIN_PAIRS:
        return PairedDifference(name, level, n, mean_a, mean_b, difference, None, None, point, None, None, None,
                                f"only {n} common samples, at least {MIN_PAIRS} are needed")  # fmt: skip
    t = t_quantile((1 + level) / 2, n - 1)
    error = float((y - x).std(ddof=1)) / n**0.5
    relative = _ratio_interval(x, y, t)
    low, high = (None, None) if relative is None else relative
    return PairedDifference(
        name, level, n, mean_a, mean_b, difference, difference - t * error, difference + t * error, point, low, high,
        _p_value(difference / error, n - 1) if error > 0 else None,
    )  # fmt: skip


def _ratio_interval(x: NDArray[np.float64], y: NDArray[np.float64], t: float) -> tuple[float, float] | None:
    """Interval of mean(y) / mean(x) - 1.

    Source: Fieller (1954), "Some problems in interval estimation", JRSS-B 16, equation for the ratio of two
    correlated means.
    """
    n = len(x)
    (var_x, cov), (_, var_y) = np.cov(x, y) / n
    mean_x, mean_y = float(x.mean()), float(y.mean())
    g = t**2 * var_x
    curvature = mean_x**2 - g
    if mean_x <= 0 or curvature <= 0:
        return None
    centre = mean_x * mean_y - t**2 * cov
    root = centre**2 - curvature * (mean_y**2 - t**2 * var_y)
    half = max(root, 0.0) ** 0.5
    return float((centre - half) / curvature - 1), float((centre + half) / curvature - 1)


def _p_value(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))
