"""One quantity of two variants on the same samples: the evidence on its difference, and how it reads at a level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from paretoken.analysis.objectives import LATENCY_QUANTILES, split_quantile
from paretoken.analysis.paired import FiellerRatio, PairedT, SameDifference, bca_interval, expected_coverage
from paretoken.analysis.quantiles import QuantileShift
from paretoken.analysis.sequences import BURN_IN, Asymptotic, Betting
from paretoken.core.calls import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from paretoken.analysis.evidence import Evidence
    from paretoken.analysis.panel import Pairs

MIN_PAIRS = 10
MOST_MISSING = 0.1
"""Share of pairs without a value above which nothing is said: those that lack one are seldom like the others."""
FEW_DIFFER = 5
"""Pairs that differ, below which a t interval of values that mostly tie is warned of."""
TOLERATED = 0.02
"""How much below its level an interval's expected coverage may lie without a warning."""

SMALLER_IS_BETTER = frozenset(NUMBERS)
MONEY = ("list_usd", "billed_usd")
PER_1K = " USD per 1,000 calls"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What makes an interval less sure than it looks.

    Attributes:
        kind: `missing` values; the interval is `asymptotic`; `few` pairs differ; the differences are `skewed`, or all
            `alike`.
        n, of: How many pairs of how many lack a value, or differ.
        low, high: What the bootstrap gives for the interval, where few differ or they are skewed.
    """

    kind: Literal["missing", "asymptotic", "few", "skewed", "alike"]
    n: int = 0
    of: int = 0
    low: float | None = None
    high: float | None = None

    def words(self, quantity: str) -> str:
        """The doubt about the difference of a quantity, in words; money is told per 1,000 calls."""
        if self.kind == "missing":
            return f"{self.n} of {self.of} samples lack a value and are left out"
        if self.kind == "asymptotic":
            return "the interval is asymptotic: it holds for many samples"
        if self.kind == "alike":
            return f"all {self.n} differences are equal, so the interval has no width: it holds if others are, too"
        why = f"only {self.n} of {self.of} pairs differ" if self.kind == "few" else "the differences are skewed"
        low, high = self.interval(quantity)
        bootstrap = f"the bootstrap (BCa) gives [{low:+.3g}, {high:+.3g}]{PER_1K if quantity in MONEY else ''}"
        return f"{why}, so the interval may hold less often than it says; {bootstrap}"

    def interval(self, quantity: str) -> tuple[float, float]:
        """What the bootstrap gives, in the unit in which people read the quantity."""
        factor = 1000.0 if quantity in MONEY else 1.0
        return factor * (self.low or 0.0), factor * (self.high or 0.0)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Treatment minus control on one quantity, with an interval.

    Attributes:
        name: The quantity.
        level: Confidence level of the intervals.
        n: Samples that have a value for both; repeats are averaged first.
        mean_a, mean_b: Means (or quantiles) of control and treatment over those samples; None without samples.
        difference, low, high: Difference and its interval, in the quantity's unit; None where nothing is known.
        relative, relative_low, relative_high: Ratio of means minus one, with its interval.
        p_value: Two-sided, of no difference; valid at every look where the interval is.
        reason: Why there is no interval, or None.
        doubts: What makes it less sure than it looks.
    """

    name: str
    level: float
    n: int
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    p_value: float | None
    reason: str | None = None
    doubts: tuple[Doubt, ...] = ()

    @property
    def warning(self) -> str:
        """What makes it less sure than it looks, or empty."""
        return "; ".join(doubt.words(self.name) for doubt in self.doubts)

    @property
    def smaller_is_better(self) -> bool:
        """Whether a smaller value is better; for metrics a larger one is."""
        return smaller_is_better(self.name)


def smaller_is_better(name: str) -> bool:
    """Whether a quantity is a cost."""
    return split_quantile(name)[0] in SMALLER_IS_BETTER


@dataclass(frozen=True, slots=True)
class Rules:
    """How a test was declared.

    Attributes:
        mode: `fixed` reads the run once, at the size declared; `continuous` may look at any time.
        sequence: Which confidence sequence, where the mode is continuous.
        population: What the verdict speaks of: inputs like these, or these samples.
        settled: Answers would not come out otherwise if asked again: then nothing is left to chance once all samples of
            the population are answered.
        n_units: Clusters of the population, or samples without clusters.
        horizon: Of these, how many are planned.
        max_unit: Samples of the largest cluster.
        ranges: Bounds of quantities, by variant id and name.
    """

    mode: Literal["fixed", "continuous"]
    sequence: Literal["betting", "asymptotic"]
    population: Literal["beyond", "dataset"]
    settled: bool
    n_units: int
    horizon: int
    max_unit: int
    ranges: Mapping[str, Mapping[str, tuple[float, float]]]

    def total(self, pairs: Pairs) -> int | None:
        """Units of the population, where it ends and nothing is left to chance in what was seen of it; else None."""
        return self.n_units if self.population == "dataset" and self.settled and pairs.complete else None


@dataclass(frozen=True, slots=True)
class Measure:
    """What two variants' values say of one quantity.

    Attributes:
        name: The quantity; `latency_s.p95` is a quantile.
        pairs: The values.
        evidence: On the difference; None where there is a `reason`.
        ratio: On the ratio of means, where it has a meaning.
        reason: Why nothing can be told.
        residuals: What the t interval rests on, where it is one.
        asymptotic: The sequence holds only in the limit.
        width: Largest possible difference of a sample, where the evidence rests on it; else 0.
    """

    name: str
    pairs: Pairs
    evidence: Evidence | None
    ratio: Betting | Asymptotic | FiellerRatio | None = None
    reason: str | None = None
    residuals: NDArray[np.float64] | None = None
    asymptotic: bool = False
    width: float = 0.0

    @property
    def gain(self) -> float:
        """By how much the treatment looks better; NaN without evidence."""
        if self.evidence is None:
            return math.nan
        return -self.evidence.estimate if smaller_is_better(self.name) else self.evidence.estimate

    def p_better(self, by: float) -> float:
        """p-value against "the treatment is better by no more than this"; a negative number is a loss."""
        if self.evidence is None:
            return 1.0
        return self.evidence.p_below(-by) if smaller_is_better(self.name) else self.evidence.p_above(by)

    def p_worse(self, than: float) -> float:
        """p-value against "the treatment is better by this or more"."""
        if self.evidence is None:
            return 1.0
        return self.evidence.p_above(-than) if smaller_is_better(self.name) else self.evidence.p_below(than)

    def at(self, error: float) -> PairedDifference:
        """Read at a level: each end of an interval is wrong with probability `error` at most."""
        level, a, b = 1 - 2 * error, self.pairs.control, self.pairs.treatment
        if not len(a):
            return PairedDifference(self.name, level, 0, None, None, None, None, None, None, None, None, None,
                                    self.reason)  # fmt: skip
        quantile = _quantile(self.name)
        mean_a, mean_b = (float(x.mean() if quantile is None else np.quantile(x, quantile)) for x in (a, b))
        relative = mean_b / mean_a - 1 if mean_a > 0 else None
        if self.evidence is None:
            return PairedDifference(self.name, level, len(a), mean_a, mean_b, mean_b - mean_a, None, None, relative,
                                    None, None, None, self.reason)  # fmt: skip
        low, high = (_finite(end) for end in self.evidence.interval(error))
        ratio = (None, None) if self.ratio is None else tuple(_finite(end) for end in self.ratio.interval(error))
        p = min(1.0, 2 * min(self.evidence.p_above(0.0), self.evidence.p_below(0.0)))
        return PairedDifference(
            self.name, level, len(a), mean_a, mean_b, mean_b - mean_a, low, high, relative,
            None if ratio[0] is None else ratio[0] - 1, None if ratio[1] is None else ratio[1] - 1, p,
            self._nothing(low, high), self._doubts(error),
        )  # fmt: skip

    def _nothing(self, low: float | None, high: float | None) -> str | None:
        if low is None and high is None:
            return (
                f"{len(self.pairs)} samples are too few for {self.name.partition('.')[2] or 'an asymptotic interval'}"
            )
        return None

    def _doubts(self, error: float) -> tuple[Doubt, ...]:
        missing = self.pairs.asked - len(self.pairs)
        lacking = (Doubt("missing", missing, self.pairs.asked),) if missing else ()
        return (*lacking, *self._doubt(error))

    def _doubt(self, error: float) -> tuple[Doubt, ...]:
        """Why the interval may hold less often than it says."""
        if self.asymptotic:
            return (Doubt("asymptotic"),)
        if isinstance(self.evidence, SameDifference):
            return (Doubt("alike", len(self.pairs), len(self.pairs)),)
        if self.residuals is None:
            return ()
        differ = int(np.sum(self.pairs.control != self.pairs.treatment))
        few = differ < FEW_DIFFER
        if not few and expected_coverage(self.residuals, error) >= 1 - 2 * error - TOLERATED:
            return ()
        units = self.pairs.units()
        low, high = bca_interval(units.differences, units.sizes, error, seed=0)
        return (Doubt("few" if few else "skewed", differ, len(self.pairs), low, high),)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _quantile(name: str) -> float | None:
    return LATENCY_QUANTILES.get(split_quantile(name)[1])


def measure(
    name: str,
    pairs: Pairs,
    rules: Rules,
    control: str,
    treatment: str,
    difficulty: NDArray[np.float64] | None = None,
) -> Measure | None:
    """Collect the evidence on one quantity.

    Args:
        name: The quantity.
        pairs: Its values.
        rules: How the test was declared.
        control: Variant id, to find the bounds of its values.
        treatment: Likewise.
        difficulty: What is known beforehand of every sample of the population, in drawn order.

    Returns:
        None where no sample was put to both.
    """
    if not pairs.asked:
        return None
    units = pairs.units()
    if (reason := _too_little(pairs, len(units.sizes))) is not None:
        return Measure(name, pairs, None, reason=reason)
    if (quantile := _quantile(name)) is not None:
        if len(units.sizes) < len(pairs):
            return Measure(name, pairs, None, reason="quantiles are not compared where samples come in clusters")
        horizon = rules.horizon if rules.mode == "continuous" else None
        return Measure(name, pairs, QuantileShift(pairs.control, pairs.treatment, quantile, horizon))
    if rules.mode == "continuous":
        return _bounded(name, pairs, rules, control, treatment, difficulty)
    total = rules.total(pairs)
    unseen = 1.0 if total is None else max(1 - len(units.sizes) / total, 0.0)
    if unseen and units.alike:
        return _bounded(name, pairs, replace(rules, sequence="betting"), control, treatment)
    evidence = PairedT(units.differences, units.sizes, unseen, _discordant(pairs, units.sizes))
    ratio = FiellerRatio(units.treatment, units.control, unseen) if pairs.positive else None
    return Measure(name, pairs, evidence, ratio, residuals=evidence.residuals if unseen else None)


def _bounded(
    name: str,
    pairs: Pairs,
    rules: Rules,
    control: str,
    treatment: str,
    difficulty: NDArray[np.float64] | None = None,
) -> Measure:
    """Evidence by betting, which needs bounds and no spread; asymptotic where there are none."""
    a, b = (rules.ranges.get(id_, {}).get(name) for id_ in (control, treatment))
    if a is None or b is None or rules.sequence == "asymptotic":
        return _asymptotic(name, pairs, rules)
    units, total = pairs.units(), rules.total(pairs)
    known = difficulty if total is not None and len(units.sizes) == len(pairs) else None
    try:
        betting = Betting(
            units.differences, units.sizes, b[0] - a[1], b[1] - a[0], w_max=float(rules.max_unit),
            horizon=rules.horizon, total=total, difficulty=known,
        )  # fmt: skip
        by_ratio = None
        if pairs.positive and a[0] >= 0 and b[0] >= 0:
            by_ratio = Betting(
                units.treatment, units.control, 0.0, math.inf, w_max=a[1] * rules.max_unit,
                s_max=b[1] * rules.max_unit, horizon=rules.horizon, total=total,
            )  # fmt: skip
    except ValueError:
        return Measure(name, pairs, None, reason=f"a value lies outside the range that {name} was declared to have")
    return Measure(name, pairs, betting, by_ratio, width=max(b[1] - a[0], a[1] - b[0]))


def _asymptotic(name: str, pairs: Pairs, rules: Rules) -> Measure:
    units = pairs.units()
    n = len(units.sizes)
    if units.alike:
        if not units.differences.any() and smaller_is_better(name):
            return Measure(name, pairs, None, reason=f"all {len(pairs)} differences are zero")
        same = SameDifference(float(units.differences.sum() / units.sizes.sum()), n)
        constant = pairs.positive and np.ptp(units.treatment) == np.ptp(units.control) == 0
        return Measure(name, pairs, same, FiellerRatio(units.treatment, units.control) if constant else None)
    if n < BURN_IN:
        why = "" if rules.sequence == "asymptotic" else f"{name} has no bounds here, and "
        what = "samples" if n == len(pairs) else "clusters"
        return Measure(name, pairs, None, reason=f"{why}an asymptotic interval needs {BURN_IN} {what}; there are {n}")
    varies = pairs.positive and np.ptp(units.treatment) > 0
    ratio = Asymptotic(units.treatment, units.control, rules.horizon) if varies else None
    return Measure(name, pairs, Asymptotic(units.differences, units.sizes, rules.horizon), ratio, asymptotic=True)


def _too_little(pairs: Pairs, n_units: int) -> str | None:
    missing = pairs.asked - len(pairs)
    if missing > MOST_MISSING * pairs.asked:
        return f"{missing} of {pairs.asked} samples lack a value"
    if n_units < MIN_PAIRS:
        what = "common samples" if n_units == len(pairs) else "clusters"
        return f"only {n_units} {what}, at least {MIN_PAIRS} are needed"
    return None


def _discordant(pairs: Pairs, sizes: NDArray[np.float64]) -> tuple[int, int] | None:
    """For binary values of unclustered samples: how often only the treatment, and only the control, has 1."""
    values = np.concatenate([pairs.control, pairs.treatment])
    if len(sizes) < len(pairs) or not np.all((values == 0) | (values == 1)):
        return None
    return int(np.sum(pairs.treatment > pairs.control)), int(np.sum(pairs.treatment < pairs.control))
