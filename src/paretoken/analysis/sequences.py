"""Confidence sequences: intervals that hold at every look, so that a run may stop when it likes what it sees.

Both speak of the number m with E[s - m w] = 0: a mean (w = 1), a mean over clusters (s sums, w sizes), or a ratio of
means (s treatment, w control).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DESIGN_EFFECT = 2.8
"""Standardised effect, times the root of the sample size, that a test of fixed size finds with 80 % power."""
SPREAD = 0.8
"""Standard deviation of the logarithm of the effects that are bet on."""
N_BETS = 13
MOST_AT_STAKE = 0.9
"""Largest share of the wealth that one observation can take."""
LEARN = 10
"""Observations before which nothing is taken out of them."""
BURN_IN = 100
"""Observations before which an asymptotic sequence says nothing."""


@dataclass(frozen=True)
class Betting:
    """Test martingales by betting on bounded observations; valid for every n and every distribution within bounds.

    The wealth against `m <= bound` is a mixture over bets `z / spread` on `s - m w > 0`. Effects z are log-normal
    around the one that the planned size is just able to find, `spread` is the standard deviation of what came before.
    Sampled without replacement, each observation is judged by the mean that the hypothesis leaves to those not yet
    drawn.

    Args:
        s, w: Observations in the order drawn, shape `(n,)`, `low * w <= s <= high * w`.
        low, high: Bounds of s per unit of w; where `high` is infinite, `s_max` bounds s.
        w_max: Largest possible w.
        s_max: Largest possible s, needed where `high` is infinite.
        horizon: Planned number of observations.
        total: Size of the population, sampled without replacement; None is without end.
        difficulty: Something known of the whole population, in the order drawn, shape `(total,)`. What s owes to an
            observation's surprise, the excess over the mean of those not drawn before it, is taken out as far as it was
            learnt from earlier observations.

    Raises:
        ValueError: An observation is out of its bounds.

    Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS-B 86,
    equation (24) for the capital process and section 5 for sampling without replacement; the mixture over predictable
    bets is theirs of section 4.3 with weights of our own. What is taken out: Deng, Xu, Kohavi and Walker (2013),
    "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data", WSDM.
    """

    s: NDArray[np.float64]
    w: NDArray[np.float64]
    low: float
    high: float
    w_max: float = 1.0
    s_max: float = math.inf
    horizon: int = 100
    total: int | None = None
    difficulty: NDArray[np.float64] | None = None
    estimate: float = field(init=False)
    _owed: NDArray[np.float64] = field(init=False, repr=False)
    _most_owed: dict[int, NDArray[np.float64]] = field(init=False, repr=False)
    _spread: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        slack = 1e-9 * (1 + abs(self.low) * self.w_max)
        top = np.minimum(self.high * self.w, self.s_max) if self.high < math.inf else self.s_max
        if np.any(self.s < self.low * self.w - slack) or np.any(self.s > top + slack):
            raise ValueError("an observation is out of its bounds")
        if np.any(self.w > self.w_max + slack):
            raise ValueError("a weight is above its bound")
        weight = float(self.w.sum())
        object.__setattr__(self, "estimate", float(self.s.sum()) / weight if weight else math.nan)
        owed, most_owed = self._debts()
        object.__setattr__(self, "_owed", owed)
        object.__setattr__(self, "_most_owed", most_owed)
        object.__setattr__(self, "_spread", self._spreads())

    def _debts(self) -> tuple[NDArray[np.float64], dict[int, NDArray[np.float64]]]:
        """What each observation owes to its surprise, and the most that it could have owed in either direction.

        Its expected value is zero whatever the distribution, for the mean of what is left is known, and the slope is
        that of the observations before, shrunk to zero unless it is clearly different from it.
        """
        n, z = len(self.s), self.difficulty
        if z is None or n <= LEARN:
            return np.zeros(n), {1: np.zeros(n), -1: np.zeros(n)}
        left = np.arange(len(z), 0, -1)
        mean = (z.sum() - np.concatenate([[0.0], np.cumsum(z)[:-1]])) / left
        low, high = ((end.accumulate(z[::-1])[::-1] - mean)[:n] for end in (np.minimum, np.maximum))
        u, count = (z - mean)[:n], np.arange(1, n + 1)
        mean_s, mean_u = np.cumsum(self.s) / count, np.cumsum(u) / count
        variance = np.maximum(np.cumsum(u * u) / count - mean_u**2, 1e-12)
        slope = (np.cumsum(self.s * u) / count - mean_s * mean_u) / variance
        rest = np.maximum(np.cumsum(self.s**2) / count - mean_s**2 - slope**2 * variance, 0.0)
        error = rest / variance / np.maximum(count - 2, 1)
        slope *= np.maximum(0.0, 1 - 4 * error / np.maximum(slope**2, 1e-12))
        known = np.concatenate([np.zeros(LEARN), slope[LEARN - 1 : -1].clip(-1, 1)])
        return known * u, {sign: np.maximum(sign * known * low, sign * known * high) for sign in (1, -1)}

    def _spreads(self) -> NDArray[np.float64]:
        """Standard deviation of `s - m w` at the m of the observations before, shape `(n,)`."""
        kept = self.s - self._owed
        sums = [np.cumsum(x) for x in (kept, self.w, kept * kept, kept * self.w, self.w * self.w)]
        s, w, ss, sw, ww = (np.concatenate([[0.0], x[:-1]]) for x in sums)
        before = np.arange(len(self.s))
        with np.errstate(invalid="ignore", divide="ignore"):
            m = np.where(w > 0, s / w, 0.0)
        squares = np.maximum(ss - 2 * m * sw + m * m * ww, 0.0)
        spread: NDArray[np.float64] = np.sqrt(((self._width / 4) ** 2 + squares) / (before + 1))
        return spread

    @property
    def _width(self) -> float:
        return self._ceiling(self.low) if self.high < math.inf else self.s_max + self.w_max

    def _floor(self, m: float) -> float:
        return self.w_max * (self.low - m)

    def _ceiling(self, m: float) -> float:
        return self.w_max * (self.high - m) if self.high < math.inf else self.s_max

    def log_wealth(self, m: float, sign: int) -> NDArray[np.float64]:
        """Logarithm of the wealth after each observation, shape `(n,)`, of bets on "above m" (+1) or "below" (-1)."""
        x = sign * (self.s - m * self.w)
        least = self._floor(m) if sign > 0 else -self._ceiling(m)
        expected = np.zeros(len(x))
        if self.total is not None:
            drawn = np.arange(len(x))
            expected = -np.concatenate([[0.0], np.cumsum(x)[:-1]]) / (self.total - drawn)
        room = expected - least + self._most_owed[sign]
        seen = x - sign * self._owed
        if not len(x):
            return x
        effects = DESIGN_EFFECT / self.horizon**0.5 * np.exp(SPREAD * np.linspace(-2.4, 2.4, N_BETS))
        weights = np.exp(-0.5 * np.linspace(-2.4, 2.4, N_BETS) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.where(room > 0, MOST_AT_STAKE / room, 0.0)
            bets = np.minimum(effects[:, None] / self._spread, most)
        wealth = np.log(weights / weights.sum())[:, None]
        wealth = wealth + np.cumsum(np.log1p(bets * (seen - expected)), axis=1)
        peak = wealth.max(axis=0)
        mixed: NDArray[np.float64] = peak + np.log(np.exp(wealth - peak).sum(axis=0))
        mixed[np.maximum.accumulate(room < -1e-12 * (1 + abs(least)))] = math.inf
        return mixed

    @property
    def _census(self) -> bool:
        return self.total is not None and len(self.s) >= self.total

    def _p(self, m: float, sign: int) -> float:
        if not len(self.s):
            return 1.0
        if self._census:
            return 0.0 if sign * (self.estimate - m) > 0 else 1.0
        return math.exp(-max(float(self.log_wealth(m, sign).max()), 0.0))

    def p_above(self, bound: float) -> float:
        """Anytime p-value against `m <= bound`: one over the largest wealth so far."""
        return self._p(bound, 1) if bound > self.low else self._p_of_end(bound < self.low, self.s - self.low * self.w)

    def p_below(self, bound: float) -> float:
        """Anytime p-value against `m >= bound`."""
        return (
            self._p(bound, -1) if bound < self.high else self._p_of_end(bound > self.high, self.high * self.w - self.s)
        )

    def _p_of_end(self, beyond: bool, inside: NDArray[np.float64]) -> float:
        """No number lies beyond the bounds, and none on one of which a single observation keeps a distance."""
        return 0.0 if beyond or np.any(inside > 1e-12 * self._width) else 1.0

    def interval(self, error: float) -> tuple[float, float]:
        """All m against which no wealth ever reached `1 / error`."""
        if self._census:
            return self.estimate, self.estimate
        wanted = -math.log(error)

        def excess(sign: int) -> Callable[[float], float]:
            return lambda m: min(float(self.log_wealth(m, sign).max()), 1e9) - wanted if len(self.s) else -wanted

        high = self.high
        if high == math.inf:
            high = 2 * max(1.0, self.estimate)
            while excess(-1)(high) < 0 and high < 1e6:
                high *= 4
        width = high - self.low
        low = _crossing(excess(1), self.low + 1e-9 * width, high, self.low)
        top = _crossing(excess(-1), high - 1e-9 * width, self.low, self.high if high > 1e6 else high)
        return (low, top) if low <= top else (self.estimate, self.estimate)


def _crossing(excess: Callable[[float], float], outer: float, inner: float, default: float) -> float:
    """Where the excess, which falls from the outer to the inner end, vanishes; the default where it never rises."""
    from scipy.optimize import brentq

    if excess(outer) <= 0:
        return default
    if excess(inner) >= 0:
        return inner
    return float(brentq(excess, outer, inner, xtol=1e-12 * abs(outer - inner)))


@dataclass(frozen=True)
class Asymptotic:
    """A confidence sequence that holds in the limit of many observations, for observations without bounds.

    Args:
        s, w: Observations in the order drawn, shape `(n,)`.
        horizon: Planned number of observations, where it is tightest.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic
    confidence sequences", Annals of Statistics 52; the one-sided half-normal mixture is their proposition B.3.
    """

    s: NDArray[np.float64]
    w: NDArray[np.float64]
    horizon: int = 100

    @property
    def estimate(self) -> float:
        """Ratio of sums."""
        return float(self.s.sum() / self.w.sum())

    def _log_wealth(self, total: float) -> float:
        """Logarithm of the mixture's wealth at a standardised sum."""
        from scipy.special import log_ndtr

        rho = DESIGN_EFFECT / self.horizon**0.5
        spread = len(self.s) * rho**2 + 1
        tilt = rho * total / spread**0.5
        return float(math.log(2) - math.log(spread) / 2 + tilt**2 / 2 + log_ndtr(tilt))

    def _scale(self) -> float:
        return float(np.std(self.s - self.estimate * self.w, ddof=1))

    def _p(self, m: float, sign: int) -> float:
        if len(self.s) < BURN_IN:
            return 1.0
        total = sign * float((self.s - m * self.w).sum()) / self._scale()
        return math.exp(-max(self._log_wealth(total), 0.0))

    def p_above(self, bound: float) -> float:
        """Anytime p-value against `m <= bound`."""
        return self._p(bound, 1)

    def p_below(self, bound: float) -> float:
        """Anytime p-value against `m >= bound`."""
        return self._p(bound, -1)

    def interval(self, error: float) -> tuple[float, float]:
        """All m whose wealth is below `1 / error` now."""
        from scipy.optimize import brentq

        if len(self.s) < BURN_IN:
            return -math.inf, math.inf
        spread = len(self.s) * DESIGN_EFFECT**2 / self.horizon + 1
        top = (spread * (math.log(spread) - 2 * math.log(error)) * self.horizon) ** 0.5 / DESIGN_EFFECT
        reach = float(brentq(lambda total: self._log_wealth(total) + math.log(error), 0.0, top))
        half = reach * self._scale() / float(self.w.sum())
        return self.estimate - half, self.estimate + half
