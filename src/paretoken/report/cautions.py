"""Cautions about the scores of a run: answers alike, values that are missing, values with a note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoken.analysis.results import Results
    from paretoken.analysis.summary import VariantSummary

FEWEST_ALIKE = 8
"""Samples from which on it is told that most of them got the same answer."""
LABEL_TOKENS = 8
"""Answers that are no longer are labels, of which many are alike."""


class Caution(NamedTuple):
    """One caution.

    Attributes:
        kind: Answers that were `cut` at their limit of tokens or `withheld` by the provider's filter, that hold their
            thinking (`thought`), or whose usage is `estimated`; `missing` values, answers that are `alike`, or values
            that were `noted`.
        variant: Label.
        metric: Of missing and noted values.
        n, of: How many answers of how many; samples, of those alike.
        said: What the scorer says, in its own words.
    """

    kind: Literal["cut", "withheld", "thought", "estimated", "missing", "alike", "noted"]
    variant: str
    metric: str
    n: int
    of: int
    said: str

    @property
    def words(self) -> str:
        """The caution in words."""
        answers = f"{self.n} of {self.of} answers"
        if self.kind == "cut":
            return f"{self.variant}: {answers} end at max_tokens; raise it, or ask for less"
        if self.kind == "withheld":
            return f"{self.variant}: {answers} were withheld by the provider's filter"
        if self.kind == "thought":
            return f"{self.variant}: {answers} hold their thinking (<think>), {self.said}"
        if self.kind == "estimated":
            return (
                f"{self.variant}: the provider reported no usage, or an impossible one, for {answers}: their list cost "
                "is an estimate, and they are booked at their upper bound"
            )
        if self.kind == "alike":
            return f'"{self.variant}" gave the same answer to {self.n} of {self.of} samples'
        if self.kind == "missing":
            return f"{self.variant}: `{self.metric}` missing for {self.n} of {self.of} answers: {self.said}"
        return f"{self.variant}: `{self.metric}` of {self.of} answers: {self.said}"


def score_cautions(results: Results) -> list[Caution]:
    """All cautions: of how answers ended and were counted first, then of their scores."""
    ended = [caution for summary in results.summaries for caution in _ended(results, summary)]
    missing = [caution for summary in results.summaries for caution in _missing(summary)]
    alike = [
        Caution("alike", s.label, "", s.n_alike, s.n_samples, "")
        for s in results.summaries
        if s.n_samples >= FEWEST_ALIKE
        and 2 * s.n_alike > s.n_samples
        and (s.value("output_tokens") or 0) > LABEL_TOKENS
    ]
    return [*ended, *missing, *alike, *(caution for summary in results.summaries for caution in _noted(summary))]


def shown(metric: str) -> bool:
    """Whether a table for reading has a column for a metric that is no objective; what makes up another has none."""
    return metric not in ("bertscore_precision", "bertscore_recall", "facts_kept", "facts_true")


def _ended(results: Results, summary: VariantSummary) -> Iterator[Caution]:
    answered = summary.n - summary.n_failed
    if summary.n_cut:
        yield Caution("cut", summary.label, "", summary.n_cut, answered, "")
    if summary.n_withheld:
        yield Caution("withheld", summary.label, "", summary.n_withheld, answered, "")
    models = cast("dict[str, dict[str, Any]]", results.run.lock["models"])
    model = models[results.variants[summary.variant].model]
    if summary.n_thought:
        scored = "left out of scores" if model.get("think") == "cut" else "scored with them: `think: cut` leaves it out"
        share = f"{100 * summary.thinking_rate:.0f} % of their text and about as much of their output's cost"
        said = f"{share}; it is {scored}"
        yield Caution("thought", summary.label, "", summary.n_thought, answered, said)
    if summary.n_estimated and not model["recorded"]:
        yield Caution("estimated", summary.label, "", summary.n_estimated, answered, "")


def _missing(summary: VariantSummary) -> Iterator[Caution]:
    """Which values are missing and why; reasons that differ in what they quote are told together."""
    for metric, reasons in summary.missing.items():
        alike: dict[str, list[tuple[str, int]]] = {}
        for reason, count in reasons.items():
            kind, _, quoted = reason.partition(": ")
            alike.setdefault(kind, []).append((quoted, count))
        for kind, group in alike.items():
            quoted = ("" if not group[0][0] else ": " if len(group) == 1 else ", e.g. ") + group[0][0]
            count = sum(count for _, count in group)
            yield Caution("missing", summary.label, metric, count, summary.n, f"{kind}{quoted}")


def _noted(summary: VariantSummary) -> Iterator[Caution]:
    for metric, notes in summary.notes.items():
        counts: dict[str, int] = {}
        for note, count in notes.items() if shown(metric) else ():
            for part in note.split(", "):
                counts[part] = counts.get(part, 0) + count
        parts = ", ".join(f"{part} ({count})" for part, count in counts.items())
        if parts:
            yield Caution("noted", summary.label, metric, sum(counts.values()), summary.n, parts)
