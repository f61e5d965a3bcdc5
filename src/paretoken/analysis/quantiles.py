"""Difference of a quantile between two variants: tails of latency and cost, without any assumption about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CENTRE = 0.3
"""Weight of the mixture's prior, in units of the planned sample size."""


@dataclass(frozen=True)
class QuantileShift:
    """Evidence on the treatment's quantile less the control's.

    The interval is what the intervals of both quantiles leave, each at half the error.

    Args:
        control, treatment: Shape `(n,)`; pairing is not used.
        q: Which quantile, 0.95 for p95.
        horizon: None for a size declared before: order statistics. Else the planned size of a confidence sequence.

    Source: fixed size: Conover (1999), "Practical Nonparametric Statistics", section 3.2. Sequence: Howard and Ramdas
    (2022), "Sequential estimation of quantiles", Bernoulli 28, section 3 for one quantile, with the beta-binomial
    mixture of Robbins (1970) for the count below it.
    """

    control: NDArray[np.float64]
    treatment: NDArray[np.float64]
    q: float
    horizon: int | None = None

    @property
    def estimate(self) -> float:
        """Difference of the empirical quantiles."""
        return float(np.quantile(self.treatment, self.q) - np.quantile(self.control, self.q))

    def interval(self, error: float) -> tuple[float, float]:
        """Bounds, each wrong with probability `error`; infinite where the sample is too small for such a tail."""
        below, above = self._ranks(error / 2)
        a, b = (np.concatenate([[-math.inf], np.sort(x), [math.inf]]) for x in (self.control, self.treatment))
        return float(b[below] - a[above]), float(b[above] - a[below])

    def _ranks(self, error: float) -> tuple[int, int]:
        """Ranks of the order statistics between which the quantile lies, counted from 1; 0 and n + 1 are infinite."""
        n = len(self.control)
        counts = np.arange(n + 1)
        if self.horizon is None:
            from scipy.special import bdtr, bdtrc

            below = int(np.sum(bdtr(counts[:-1], n, self.q) <= error))
            above = int(np.sum(bdtrc(counts[:-1], n, self.q) > error)) + 1
            return below, above
        from scipy.special import betaln

        a, b = self.q * CENTRE * self.horizon, (1 - self.q) * CENTRE * self.horizon
        wealth = betaln(a + counts, b + n - counts) - betaln(a, b)
        wealth -= counts * math.log(self.q) + (n - counts) * math.log(1 - self.q)
        possible = counts[wealth < -math.log(error)]
        return int(possible[0]), int(possible[-1]) + 1

    def p_above(self, bound: float) -> float:
        """p-value against `difference <= bound`, to three digits."""
        return self._p(lambda error: self.interval(error)[0] > bound)

    def p_below(self, bound: float) -> float:
        """p-value against `difference >= bound`, to three digits."""
        return self._p(lambda error: self.interval(error)[1] < bound)

    def _p(self, excluded: Callable[[float], bool]) -> float:
        if not excluded(0.5):
            return 1.0
        low, high = -30.0, math.log(0.5)
        while high - low > 1e-3:
            middle = (low + high) / 2
            low, high = (low, middle) if excluded(math.exp(middle)) else (middle, high)
        return math.exp(high)
