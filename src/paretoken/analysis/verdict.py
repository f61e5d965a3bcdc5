"""A comparison in words that a prompt engineer can act on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

from paretoken.analysis.power import samples_needed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.difference import Measure, PairedDifference

Finding = Literal["better", "not worse", "worse", "undecided", "cannot tell"]

_OPEN_ENDS = {"better": 0, "worse": 0, "not worse": 1, "undecided": 2, "cannot tell": 2}
"""How many ends of a quantity's interval may still err: a claim that was made correctly cannot."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is shown of one quantity.

    Attributes:
        difference: Treatment minus control.
        finding: `better` when the interval excludes zero on the good side. With a margin, `not worse` when it stays
            within it, `worse` when it lies beyond it; without one, `worse` when it excludes zero on the bad side.
            `undecided` when it crosses what matters, `cannot tell` when there is none.
        margin: Largest loss that still counts as not worse, in the quantity's unit.
        equivalent: Not worse, and shown not to be better by the margin either.
        needs: Samples after which an undecided question would probably be decided, those seen included; None where it
            is decided or cannot be said.
    """

    difference: PairedDifference
    finding: Finding
    margin: float | None
    equivalent: bool = False
    needs: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment against control.

    Attributes:
        control, treatment: Labels.
        cost: The judgement on `list_usd`, if there is one.
        quality: Judgements on the metrics.
        others: Judgements on further quantities that have a margin; then, outside of the family, on tokens and latency.
        n, planned: Samples compared, samples planned.
        population: `beyond` speaks of inputs like these, `dataset` of these samples.
        anytime: The intervals hold at every look.
        part: What it rests on, where not on all samples as they are: `selection`, `held out` or `labels swapped at
            random`.
        whole: Planned samples of all parts.
        clusters: Clusters compared; None where samples come alone.
    """

    control: str
    treatment: str
    cost: Judgement | None
    quality: tuple[Judgement, ...]
    others: tuple[Judgement, ...]
    n: int
    planned: int
    population: Literal["beyond", "dataset"]
    anytime: bool
    part: str
    whole: int
    clusters: int | None

    @property
    def judged(self) -> tuple[Judgement, ...]:
        """The declared questions."""
        extra = tuple(j for j in self.others if j.margin is not None)
        return (*([self.cost] if self.cost else []), *self.quality, *extra)

    @property
    def answered(self) -> bool:
        """No declared question is open."""
        return bool(self.judged) and all(j.finding not in ("undecided", "cannot tell") for j in self.judged)

    @property
    def verdict(self) -> str:
        """In a word or two: `cheaper, not worse`, `more expensive, better`, `worse`, `undecided`, ..."""
        rest = [j for j in self.judged if j is not self.cost]
        if not self.judged:
            return "cannot tell"
        if any(j.finding == "worse" for j in rest):
            return "worse"
        quality = _joint(rest)
        if self.cost is None:
            return quality
        cost = {"better": "cheaper", "worse": "more expensive"}.get(self.cost.finding)
        if cost is None:
            cost = "cost within its margin" if self.cost.finding == "not worse" else self.cost.finding
        if not rest:
            return cost
        return cost if quality == cost else f"{cost}, {quality}"

    @property
    def needs(self) -> int | None:
        """Samples after which all open questions would probably be decided."""
        known = [j.needs for j in self.judged if j.needs is not None]
        return max(known) if known else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the declared intervals less sure than they look."""
        return tuple(f"{j.difference.name}: {w}" for j in self.judged if (w := j.difference.warning))

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        parts = [] if self.cost is None else [_cost_words(self.cost)]
        parts += [_quality_words(judgement) for judgement in self.judged if judgement is not self.cost]
        if not parts:
            return f'treatment "{self.treatment}" against "{self.control}": no sample is answered by both'
        counts = f"n = {self.n} of {self.planned} planned" if self.n < self.planned else f"n = {self.n}"
        if self.clusters is not None:
            counts += f", in {self.clusters} clusters"
        if self.part:
            counts += f", {self.part}"
        of = "inputs like these" if self.population == "beyond" else f"these {self.whole} samples"
        words = ", and ".join(parts) if len(parts) == 2 else "; ".join(parts)
        told = f'treatment "{self.treatment}" against "{self.control}": {words}; on {of} ({counts})'
        undecided = [j for j in self.judged if j.finding == "undecided"]
        if undecided:
            told += f"; undecided: {needs_words(self)}"
        return "; caution: ".join((told, *self.warnings))


def judge_family(
    questions: Sequence[tuple[Measure, float | None]], alpha: float, *, unseen: int = 0
) -> list[Judgement]:
    """Judge a family of questions so that any wrong claim among them has probability `alpha` at most.

    Every question has an interval with two ends. Bonferroni would give each end `alpha / (2 m)`; Holm's idea is that a
    claim made correctly can no longer be made wrongly, so its share goes to the others. `better` and `worse` close both
    ends; `not worse` closes the upper one, for `worse` is then never claimed. Steps are repeated until nothing more is
    decided, and all intervals are read at the last step's level, at which every claim still holds. No end is given more
    than `alpha / 2`.

    Args:
        questions: Evidence with its margin, if it has one.
        alpha: Error rate of the whole family.
        unseen: Questions of the family that are not among these, and stay open.

    Source: Holm (1979), Scandinavian Journal of Statistics 6; Goeman and Solari (2010), "The sequential rejection
    principle of familywise error control", Annals of Statistics 38, for claims that follow from one another.
    """
    findings, error = decide_family(questions, alpha, unseen=unseen)
    return [_judgement(*question, finding, error) for question, finding in zip(questions, findings, strict=True)]


def decide_family(
    questions: Sequence[tuple[Measure, float | None]], alpha: float, *, unseen: int = 0
) -> tuple[list[Finding], float]:
    """The findings of `judge_family` without their intervals, and the error that each end of an interval has."""
    open_ends = 2 * (len(questions) + unseen)
    while True:
        error = min(alpha / 2, alpha / max(open_ends, 1))
        findings = [_decide(measure, margin, error) for measure, margin in questions]
        left = 2 * unseen + sum(_OPEN_ENDS[finding] for finding in findings)
        if left >= open_ends:
            return findings, error
        open_ends = left


def judge_alone(measure: Measure, alpha: float) -> Judgement:
    """Judge a quantity that is no part of a family, for information."""
    return _judgement(measure, None, _decide(measure, None, alpha / 2), alpha / 2)


def _decide(measure: Measure, margin: float | None, error: float) -> Finding:
    if measure.evidence is None:
        return "cannot tell"
    gain, loss = measure.p_better(-(margin or 0.0)), measure.p_worse(-(margin or 0.0))
    if loss <= error and loss < gain:  # so a claim that was made at a smaller error is never turned round
        return "worse"
    if gain > error:
        return "undecided"
    return "better" if margin is None or measure.p_better(0.0) <= error else "not worse"


def _judgement(measure: Measure, margin: float | None, finding: Finding, error: float) -> Judgement:
    difference = measure.at(error)
    if difference.reason is not None:
        return Judgement(difference, "cannot tell", margin)
    equivalent = finding == "not worse" and margin is not None and measure.p_worse(margin) <= error
    needs = samples_needed(measure, margin, error) if finding == "undecided" else None
    return Judgement(difference, finding, margin, equivalent, needs)


def without_warning(judgement: Judgement) -> Judgement:
    """The judgement of a quantity that is shown for information only."""
    return replace(judgement, difference=replace(judgement.difference, doubts=()))


def _joint(judgements: Sequence[Judgement]) -> str:
    findings = {j.finding for j in judgements}
    for finding in ("cannot tell", "undecided"):
        if finding in findings:
            return finding
    return "better" if findings == {"better"} else "not worse"


def needs_words(comparison: Comparison) -> str:
    """How many more samples would settle an undecided comparison."""
    needs, n = comparison.needs, comparison.n
    if needs is None:
        if all(j.difference.low == j.difference.high for j in comparison.judged if j.finding == "undecided"):
            return "the two are exactly equal"
        return "the two are too much alike to say how many samples it would take"
    more = needs - n
    if more > 1_000_000:
        return "needs more than a million samples"
    if comparison.population == "dataset" and needs > comparison.planned:
        return f"these {comparison.planned} samples hardly tell the two apart"
    open_ = [j for j in comparison.judged if j.finding == "undecided"]
    least = "at least" if any(j.needs is None for j in open_) else "about"
    return f"needs {least} {_round(more)} more samples" if more > 1 else "one more sample may do"


def _round(n: int) -> int:
    """Two leading digits."""
    return int(float(f"{max(n, 1):.2g}"))


def _cost_words(judgement: Judgement) -> str:
    cost = judgement.difference
    if cost.difference is None or cost.low is None or cost.high is None:
        return f"cost: cannot tell ({cost.reason or 'no bound on one side'})"
    known = cost.relative_low is not None and cost.relative_high is not None
    if judgement.finding in ("undecided", "not worse"):
        word = "no cost difference shown"
        if judgement.margin is not None:
            within = "within its margin" if judgement.finding == "not worse" else "undecided at its margin"
            word = f"cost {within} of ${judgement.margin:.3g} a call"
        if not known:
            return f"{word} (${1000 * cost.low:.3g} to ${1000 * cost.high:.3g} per 1,000 calls)"
        return f"{word} ({cost.relative_low:+.0%} to {cost.relative_high:+.0%})"
    word = "cheaper" if judgement.finding == "better" else "more expensive"
    level = f"{100 * cost.level:.3g} % CI"
    if (
        cost.relative is None or cost.relative_low is None or cost.relative_high is None
        or cost.relative_low < 0 < cost.relative_high  # the ratio's own interval may be a little wider
    ):  # fmt: skip
        least, most = sorted((abs(cost.low), abs(cost.high)))
        by, low, high = (f"${1000 * usd:.3g}" for usd in (abs(cost.difference), least, most))
        return f"{word} by {by} per 1,000 calls ({level} {low} to {high})"
    least, most = sorted((abs(cost.relative_low), abs(cost.relative_high)))
    return f"{percent(abs(cost.relative))} % {word} ({level} {percent(least)} to {percent(most)} %)"


def _quality_words(judgement: Judgement) -> str:
    d = judgement.difference
    if d.difference is None or d.reason is not None:
        return f"{d.name}: cannot tell ({d.reason})"
    margin = "" if judgement.margin is None else f"margin {judgement.margin:g}; "
    low, high = ("-inf" if d.low is None else f"{d.low:+.3g}"), ("inf" if d.high is None else f"{d.high:+.3g}")
    numbers = f"({margin}difference {d.difference:+.3g} [{low}, {high}])"
    word = "equivalent" if judgement.equivalent else judgement.finding
    return f"{word} on {d.name} {numbers}"


def percent(rate: float) -> str:
    """A rate in percent, as every sentence writes it, without the sign.

    Whole percents; one decimal below 10 and near 100, where whole ones would hide the size; and as many as it takes
    for nothing else to read as 0 or 100.
    """
    value = 100 * rate
    if abs(value) < 0.1:
        return f"{value + 0.0:.1g}"
    if abs(value) == 100 or 9.95 <= abs(value) < 98.5 or abs(value) >= 101.5:
        return f"{value:.0f}"
    return next(told for digits in count(1) if abs(float(told := f"{value:.{digits}f}")) != 100)
