"""What comes next, from what was seen: the mean of values not yet drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.9
MIN_SEEN = 10
"""Fewer values say too little of their spread."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An interval that holds what comes next with probability `LEVEL`.

    Attributes:
        expected: The best guess.
        low, high: Bounds of the interval.
        n: How many independent values it rests on.
    """

    expected: float
    low: float
    high: float
    n: int


def predict_mean(values: NDArray[np.float64], m: int, level: float = LEVEL) -> Prediction:
    """Predict the mean of `m` further values, exchangeable with those seen.

    The error of prediction in units of its estimated standard error, `T = (future - seen) / (s tau)` with
    `tau^2 = 1/n + 1/m`, would follow Student's t for normal values. Costs are skewed, and for them T leans: to the
    order of `1 / sqrt(n)` its mean is `g / (2 n tau)` and its third cumulant `g ((1/m^2 - 1/n^2) / tau^3 +
    3 / (n tau))`, where g is the skewness of the values. Hall's monotone cubic takes both out; its inverse turns the
    quantiles of t into bounds. No draws, no seed, O(n).

    What was never seen cannot be foreseen: of a kind rarer than one in n there may be no value yet.

    Args:
        values: What was seen, shape `(n,)`, n >= 2.
        m: How many are to come.
        level: Probability that the interval holds the mean.

    Source: Hall (1992), "On the Removal of Skewness by Transformation", JRSS-B 54, equation for the monotone cubic,
    here with the cumulants of the studentised error of prediction in place of the studentised mean's.
    """
    from paretoken.analysis.estimate import t_quantile  # with numpy: a run forecasts before its first call

    n = len(values)
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-9 * abs(mean):
        return Prediction(mean, mean, mean, n)
    tau = (1 / n + 1 / m) ** 0.5
    skewness = float(((values - mean) ** 3).mean() / values.std() ** 3)
    shift = skewness / (2 * n * tau)
    third = skewness * ((m**-2 - n**-2) / tau**3 + 3 / (n * tau))
    t = t_quantile((1 + level) / 2, n - 1)
    low, high = (_lean(quantile, shift, third) * spread * tau for quantile in (-t, t))
    return Prediction(mean, mean + low, mean + high, n)


def _lean(t: float, shift: float, third: float) -> float:
    """The T that Hall's cubic `T + a T^2 + a^2 T^3 / 3 - shift - a`, with `a = -third / 6`, maps to `t`."""
    a = -third / 6
    straight = t + shift + a
    return straight if abs(a) < 1e-6 else (math.cbrt(1 + 3 * a * straight) - 1) / a


def unseen_rate(n: int, level: float = LEVEL) -> float:
    """Largest share of another kind that `n` values of one kind leave possible, at one end of an interval.

    Source: Clopper and Pearson (1934), "The use of confidence or fiducial limits", Biometrika 26, for no success in n.
    """
    return float(1 - ((1 - level) / 2) ** (1 / n))
