"""A comparison in words that a prompt engineer can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from paretoken.analysis.paired import PairedDifference, paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.records.table import RecordTable

Finding = Literal["better", "worse", "not worse", "no difference shown", "undecided", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is shown of one quantity.

    Attributes:
        difference: Treatment minus control.
        finding: `better` when the interval excludes zero. Without a margin, `worse` likewise, else `no difference
            shown`. With one, `not worse` when the interval stays within it, `worse` when it lies beyond it, `undecided`
            when it crosses it.
        margin: Largest loss that still counts as not worse, in the quantity's unit.
    """

    difference: PairedDifference
    finding: Finding
    margin: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment against control.

    Attributes:
        control, treatment: Labels.
        cost: The judgement on `list_usd`, if there is one.
        quality: Judgements on the metrics.
        others: Judgements on tokens and latency.
        n, planned: Samples compared, samples planned.
    """

    control: str
    treatment: str
    cost: Judgement | None
    quality: tuple[Judgement, ...]
    others: tuple[Judgement, ...]
    n: int
    planned: int

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        parts = [] if self.cost is None else [_cost_words(self.cost.difference)]
        parts += [_quality_words(judgement) for judgement in self.quality]
        parts = parts or ["no sample is answered by both"]
        counts = f"n = {self.n} of {self.planned}" if self.n < self.planned else f"n = {self.n}"
        return f'treatment "{self.treatment}" against "{self.control}": {"; ".join(parts)} ({counts})'


def compare(
    control: RecordTable,
    treatment: RecordTable,
    *,
    labels: tuple[str, str],
    metrics: Sequence[str],
    margins: Mapping[str, float],
    planned: int,
    comparisons: int = 1,
    alpha: float = 0.05,
) -> Comparison:
    """Judge a treatment against the control on the samples both have answered.

    Args:
        control: Records of the control.
        treatment: Records of the treatment.
        labels: Their labels, control first.
        metrics: Quality metrics, larger is better.
        margins: Margin of non-inferiority by metric.
        planned: Samples planned.
        comparisons: Treatments in the run; each interval's level is `1 - alpha / comparisons` (Bonferroni), so that
            all of them hold together.
        alpha: Error rate of the whole family.
    """
    level = 1 - alpha / comparisons

    def judge(name: str) -> Judgement | None:
        difference = paired_difference(control, treatment, name, level)
        return None if difference is None else _judge(difference, margins.get(name))

    quality = [judgement for name in metrics if (judgement := judge(name))]
    cost = judge("list_usd")
    others = [j for name in ("input_tokens", "output_tokens", "latency_s") if (j := judge(name))]
    n = max((judgement.difference.n for judgement in (*quality, *others)), default=0)
    return Comparison(*labels, cost, tuple(quality), tuple(others), n, planned)


def _judge(difference: PairedDifference, margin: float | None) -> Judgement:
    if difference.low is None or difference.high is None:
        return Judgement(difference, "cannot tell", margin)
    low, high = difference.low, difference.high
    if difference.direction == "smaller is better":
        low, high = -high, -low
    finding: Finding
    if low > 0:
        finding = "better"
    elif margin is not None and low > -margin:
        finding = "not worse"
    elif high < (0 if margin is None else -margin):
        finding = "worse"
    else:
        finding = "no difference shown" if margin is None else "undecided"
    return Judgement(difference, finding, margin)


def _cost_words(cost: PairedDifference) -> str:
    if cost.low is None or cost.high is None:
        return f"cost cannot be told apart ({cost.reason})"
    if cost.low <= 0 <= cost.high:
        if cost.relative_low is None or cost.relative_high is None:
            return f"no cost difference shown (${cost.low:.3g} to ${cost.high:.3g} a call)"
        return f"no cost difference shown ({cost.relative_low:+.0%} to {cost.relative_high:+.0%})"
    word = "cheaper" if cost.difference < 0 else "dearer"
    if cost.relative is None or cost.relative_low is None or cost.relative_high is None:
        least, most = sorted((abs(cost.low), abs(cost.high)))
        return f"{word} by ${abs(cost.difference):.3g} a call [${least:.3g}, ${most:.3g}]"
    least, most = sorted((abs(cost.relative_low), abs(cost.relative_high)))
    return (
        f"{_percent(abs(cost.relative))} % {word} ({100 * cost.level:.3g} % CI {_percent(least)} to {_percent(most)} %)"
    )


def _quality_words(judgement: Judgement) -> str:
    d = judgement.difference
    if d.low is None or d.high is None:
        return f"{d.name}: cannot tell ({d.reason})"
    margin = "" if judgement.margin is None else f"margin {judgement.margin:g}; "
    numbers = f"({margin}difference {d.difference:+.3g} [{d.low:+.3g}, {d.high:+.3g}])"
    words = {"no difference shown": f"no difference shown on {d.name}", "undecided": f"undecided on {d.name}"}
    return f"{words.get(judgement.finding, f'{judgement.finding} on {d.name}')} {numbers}"


def _percent(rate: float) -> str:
    """Whole percents, or one decimal near 0 and 1, where whole ones would hide the size."""
    return f"{100 * rate:.0f}" if 0.1 <= rate < 0.985 else f"{100 * rate:.1f}"
