"""How many samples a question takes, and what a number of samples can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.estimate import t_quantile
from paretoken.analysis.paired import PairedT

if TYPE_CHECKING:
    from paretoken.analysis.difference import Measure

_POWER_QUANTILE = 0.8416212335729143
"""Of the normal distribution, at a power of 80 %."""
SEQUENTIAL_COST = 1.25
"""Samples of a test that may be looked at all the time, in units of those of a fixed size (measured by
`bench/ab_validity.py`)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a test of a planned size can find out about one quantity.

    Attributes:
        name: The quantity.
        margin: The declared margin, if there is one.
        spread: Standard deviation of the paired differences, per sample.
        seen: Recorded pairs it was estimated from.
        detectable: Smallest true difference that is found with 80 % probability.
        power: Probability to show "not worse" when there is no difference at all; None without a margin.
        needs: Samples for a power of 80 %; without a margin None.
        planned: Samples planned.
    """

    name: str
    margin: float | None
    spread: float
    seen: int
    detectable: float
    power: float | None
    needs: int | None
    planned: int


def fixed_size(effect: float, spread: float, error: float) -> int:
    """Samples after which a one-sided paired t test finds an effect with 80 % power.

    Args:
        effect: True difference; its sign does not matter.
        spread: Standard deviation of the differences.
        error: One-sided error of the test.
    """
    n = max(((_normal_quantile(1 - error) + _POWER_QUANTILE) * spread / abs(effect)) ** 2, 3.0)
    for _ in range(4):  # the quantile of t depends on n
        n = max(((t_quantile(1 - error, int(max(n, 3)) - 1) + _POWER_QUANTILE) * spread / abs(effect)) ** 2, 3.0)
    return math.ceil(n)


def samples_needed(measure: Measure, margin: float | None, error: float) -> int | None:
    """Samples after which an open question would probably be decided if the difference is as it looks now."""
    from paretoken.analysis.quantiles import QuantileShift

    if measure.evidence is None or isinstance(measure.evidence, QuantileShift):
        return None
    every = _ends_all(measure)
    gap = measure.gain + (margin or 0.0)
    spread = spread_per_sample(measure)
    if abs(gap) < 1e-3 * spread or spread == 0:
        return every
    cost = SEQUENTIAL_COST if measure.residuals is None else 1.0
    needs = max(cost * fixed_size(gap, spread, error), rarity(measure.width, error) / abs(gap))
    needs = max(round(needs), len(measure.pairs) + 1)
    return needs if every is None else min(needs, every)


def _ends_all(measure: Measure) -> int | None:
    """Samples after which nothing is open, for all of the population is seen; None where that is not planned."""
    from paretoken.analysis.sequences import Betting

    bets = measure.evidence
    if not isinstance(bets, Betting) or bets.total is None or not len(bets.s) < bets.total <= bets.horizon:
        return None
    return round(bets.total * len(measure.pairs) / len(bets.s))


def rarity(width: float, error: float) -> float:
    """Samples times gap that no test can do with less of: a rare sample might undo what all others show.

    Divided by the distance to what is to be excluded it is the least number of samples; divided by samples, the least
    distance.

    Args:
        width: Largest possible difference of a sample; 0 where it does not matter.
        error: One-sided error.
    """
    return -math.log(error) * width


def chance_to_decide(measure: Measure, margin: float | None, error: float, horizon: int) -> float:
    """Probability that a question still open is decided once `horizon` samples are seen.

    The estimate is taken to go on from where it is; the interval at the horizon is that of Robbins' normal mixture,
    narrower by what is seen of a population that ends.

    Args:
        measure: What is seen so far.
        margin: The question's margin, if it has one.
        error: One-sided error.
        horizon: Samples planned.
    """
    from paretoken.analysis.quantiles import QuantileShift
    from paretoken.analysis.sequences import Betting

    if isinstance(measure.evidence, Betting) and measure.evidence.low == measure.evidence.high:
        return 0.0  # two free models
    n, spread = len(measure.pairs), 0.0 if measure.evidence is None else spread_per_sample(measure)
    if measure.evidence is None or isinstance(measure.evidence, QuantileShift) or n >= horizon or spread == 0:
        return 0.0 if n >= horizon else 1.0
    gap = measure.gain + (margin or 0.0)
    evidence = -2 * math.log(error)
    bets = measure.evidence if isinstance(measure.evidence, Betting) else None
    unseen = 1.0 if bets is None or bets.total is None else max(1 - bets.horizon / bets.total, 0.0)
    half = (evidence + math.log1p(evidence)) ** 0.5 * spread * (unseen / horizon) ** 0.5
    half += unseen * rarity(measure.width, error) / horizon
    wander = spread * (1 / n - 1 / horizon) ** 0.5
    return _normal_cdf((gap - half) / wander) + _normal_cdf((-gap - half) / wander)


def spread_per_sample(measure: Measure) -> float:
    """Standard deviation of the differences as if samples were independent: clusters count by what they add to it."""
    units = measure.pairs.units()
    residuals = PairedT(units.differences, units.sizes).residuals
    return float(np.std(residuals, ddof=1) * units.sizes.mean() ** 0.5)


def reach(
    measure: Measure, margin: float | None, error: float, planned: int, *, sequential: bool, width: float = 0.0,
    total: float = math.inf,
) -> Reach:  # fmt: skip
    """What a planned size can show, from recorded pairs.

    Args:
        measure: Recorded pairs, two at least.
        margin: Margin of "not worse", if one is declared.
        error: One-sided error.
        planned: Samples planned.
        sequential: The test may be looked at all the time.
        width: Largest possible difference of a sample, where the test rests on it; else 0.
        total: Samples of the population that the test speaks of.

    Source: finite populations, Cochran (1977), "Sampling Techniques", sections 2.6 and 4.6.
    """
    spread, unseen = spread_per_sample(measure), 1 - planned / total
    size = planned / (SEQUENTIAL_COST if sequential else 1.0)
    t = t_quantile(1 - error, max(int(size) - 1, 1))
    rare = unseen * rarity(width, error) / planned
    noise = spread * (unseen / size) ** 0.5
    detectable = max((t + _POWER_QUANTILE) * noise, rare)
    power: float | None = None
    needs: int | None = None
    if margin is not None and spread > 0:
        power = 0.0 if margin < rare else 1.0 if noise == 0 else _normal_cdf(margin / noise - t)
        planned_for = fixed_size(margin, spread, error) * (SEQUENTIAL_COST if sequential else 1.0)
        endless = max(planned_for, rarity(width, error) / margin)
        needs = round(endless / (1 + endless / total))
    return Reach(measure.name, margin, spread, len(measure.pairs), detectable, power, needs, planned)


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))


def _normal_cdf(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(z))
