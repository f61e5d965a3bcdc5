"""Paired comparison at a size declared before the run: Student's t, clustered where samples come in clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.estimate import t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAUTION = 1.5
"""Small samples look less skewed than what they come from."""
N_RESAMPLES = 5000
MOST_DRAWN = 1_000_000
"""Most numbers that a part of the resamples takes at once."""


@dataclass(frozen=True)
class PairedT:
    """t test and interval of a mean over samples, or of a ratio of means.

    Args:
        s, w: Sums over clusters of what is averaged and of what it is divided by, shape `(n_clusters,)`; with w = 1 for
            every sample this is the paired t test.
        unseen: Share of the population that was not observed; 1 for a population without end.
        discordant: For binary values, how often only the treatment and only the control was right: "no difference" is
            then tested exactly.

    Source: cluster-robust variance with the small-sample factor G / (G - 1), Liang and Zeger (1986), Biometrika 73;
    McNemar (1947), Psychometrika 12, in its exact binomial form.
    """

    s: NDArray[np.float64]
    w: NDArray[np.float64]
    unseen: float = 1.0
    discordant: tuple[int, int] | None = None

    @property
    def estimate(self) -> float:
        """Ratio of sums."""
        return float(self.s.sum() / self.w.sum())

    @property
    def residuals(self) -> NDArray[np.float64]:
        """What each cluster adds to the error of the estimate, in units of the estimate times n."""
        return np.asarray((self.s - self.estimate * self.w) / self.w.mean())

    @property
    def error(self) -> float:
        """Standard error."""
        n = len(self.s)
        return float(np.std(self.residuals, ddof=1) * (self.unseen / n) ** 0.5)

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stdtr(len(self.s) - 1, -distance / self.error))

    def p_above(self, bound: float) -> float:
        """One-sided p-value against `number <= bound`."""
        return self._p(bound, 1)

    def p_below(self, bound: float) -> float:
        """One-sided p-value against `number >= bound`."""
        return self._p(bound, -1)

    def _p(self, bound: float, sign: int) -> float:
        p = self._tail(sign * (self.estimate - bound))
        if bound == 0 and self.discordant is not None and self.unseen > 0:
            won, lost = self.discordant[::sign]
            return max(p, mcnemar(won, lost))
        return p

    def interval(self, error: float) -> tuple[float, float]:
        """T interval, each end wrong with probability `error`; it has zero in it unless the exact test excludes it."""
        half = t_quantile(1 - error, len(self.s) - 1) * self.error
        low, high = self.estimate - half, self.estimate + half
        if self.discordant is None or self.unseen == 0:
            return low, high
        return (
            min(low, 0.0) if self.p_above(0.0) > error else low,
            max(high, 0.0) if self.p_below(0.0) > error else high,
        )


def mcnemar(won: int, lost: int) -> float:
    """Exact one-sided p-value of winning at least so many of the discordant pairs by chance."""
    from scipy.special import bdtrc

    return float(bdtrc(won - 1, won + lost, 0.5)) if won else 1.0


@dataclass(frozen=True)
class SameDifference:
    """Evidence where all differences are one and the same number, so that no spread tells how sure it is.

    Whether it lies above a bound is the sign test: all of n differences do, which has probability `2**-n` where they
    were as likely to lie on either side. The number itself is taken for the mean, which holds if what was never seen
    to vary does not.

    Args:
        difference: The number.
        n: How often it was seen, by samples or clusters.

    Source: Arbuthnot (1710), Philosophical Transactions 27: the sign test.
    """

    difference: float
    n: int

    @property
    def estimate(self) -> float:
        """The number."""
        return self.difference

    def p_above(self, bound: float) -> float:
        """One-sided p-value against `number <= bound`."""
        return 0.5**self.n if self.difference > bound else 1.0

    def p_below(self, bound: float) -> float:
        """One-sided p-value against `number >= bound`."""
        return 0.5**self.n if self.difference < bound else 1.0

    def interval(self, error: float) -> tuple[float, float]:
        """The number at both ends; infinite where it was seen too rarely for this error."""
        return (self.difference, self.difference) if 0.5**self.n <= error else (-math.inf, math.inf)


@dataclass(frozen=True)
class FiellerRatio:
    """Evidence on the ratio of two correlated means.

    Args:
        s, w: Numerator and denominator, sums over clusters, shape `(n_clusters,)`.
        unseen: Share of the population that was not observed.

    Source: Fieller (1954), "Some problems in interval estimation", JRSS-B 16, equation for the ratio of two correlated
    means.
    """

    s: NDArray[np.float64]
    w: NDArray[np.float64]
    unseen: float = 1.0

    @property
    def estimate(self) -> float:
        """Ratio of means."""
        return float(self.s.sum() / self.w.sum())

    def interval(self, error: float) -> tuple[float, float]:
        """Bounds, each wrong with probability `error`; infinite where the denominator may be zero."""
        t = t_quantile(1 - error, len(self.s) - 1)
        (var_w, cov), (_, var_s) = np.cov(self.w, self.s) * self.unseen / len(self.s)
        mean_w, mean_s = float(self.w.mean()), float(self.s.mean())
        curvature = mean_w**2 - t**2 * var_w
        if mean_w <= 0 or curvature <= 0:
            return -math.inf, math.inf
        centre = mean_w * mean_s - t**2 * cov
        half = max(centre**2 - curvature * (mean_s**2 - t**2 * var_s), 0.0) ** 0.5
        return float((centre - half) / curvature), float((centre + half) / curvature)


def expected_coverage(residuals: NDArray[np.float64], error: float) -> float:
    """How often a two-sided t interval is expected to hold, given how skewed the values are.

    Args:
        residuals: Shape `(n,)`.
        error: Error that each end was meant to have.

    Returns:
        The level aimed at, less what skewness takes away; a rough figure, to warn by.

    Source: Hall (1992), "The Bootstrap and Edgeworth Expansion", section 2.6: the polynomial q2 of the studentised
    mean, without the term that Student's quantile takes care of.
    """
    n, spread = len(residuals), float(residuals.std())
    if n < 3 or spread == 0:
        return 1 - 2 * error
    z = (residuals - residuals.mean()) / spread
    skewness = float((z**3).mean()) * (n * (n - 1)) ** 0.5 / (n - 2)
    kurtosis = float((z**4).mean()) - 3
    t = t_quantile(1 - error, n - 1)
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    by_skewness = CAUTION * skewness**2 * (t**4 + 2 * t**2 - 3) / 18
    lost = 2 * t * density / n * (by_skewness - kurtosis * (t**2 - 3) / 12)
    return float(1 - 2 * error - max(lost, 0.0))


def bca_interval(
    s: NDArray[np.float64], w: NDArray[np.float64], error: float, *, seed: int, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a ratio of sums; clusters are resampled whole.

    Args:
        s: Numerators, as of `PairedT`.
        w: Denominators, likewise.
        error: Error of each end.
        seed: Seed of the resampling.
        n_resamples: Bootstrap samples.

    Source: Efron (1987), "Better bootstrap confidence intervals", JASA 82; `scipy.stats.bootstrap`.
    """
    from scipy.special import ndtr, ndtri

    rng, n = np.random.default_rng(seed), len(s)
    at_once = max(MOST_DRAWN // n, 1)
    parts = (rng.integers(0, n, (min(at_once, n_resamples - k), n)) for k in range(0, n_resamples, at_once))
    drawn = np.concatenate([s[rows].mean(axis=1) / w[rows].mean(axis=1) for rows in parts])
    estimate = s.mean() / w.mean()
    bias = ndtri(((drawn < estimate).mean() + (drawn <= estimate).mean()) / 2)
    without = (s.sum() - s) / (w.sum() - w)
    pull = without.mean() - without
    squares = float((pull**2).sum())
    if not squares or not np.isfinite(bias):  # nothing varies
        return math.nan, math.nan
    skew = float((pull**3).sum()) / (6 * squares**1.5)
    ends = bias + np.array([ndtri(error), ndtri(1 - error)])
    low, high = np.quantile(drawn, ndtr(bias + ends / (1 - skew * ends)))
    return float(low), float(high)
