"""Conditions under which a run fails a pipeline: `bertscore_f1 worse or undecided`, `below baseline`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from paretoken.analysis.difference import smaller_is_better
from paretoken.analysis.verdict import Finding
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.verdict import Comparison

ANY = "verdict"
"""Stands for every declared quantity."""
_SYNONYMS = {"cheaper": "better", "more expensive": "worse", "dearer": "worse", "non-inferior": "not worse"}
_BELOW = "below baseline"


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition of `--fail-if`.

    Attributes:
        text: As it was written.
        quantity: A declared quantity, or `verdict` for all of them.
        findings: Findings that fail the run; `undecided` brings `cannot tell` with it.
        on_baseline: It is about the metrics' difference to the question's baseline, not to the control.
    """

    text: str
    quantity: str
    findings: frozenset[Finding]
    on_baseline: bool = False

    @classmethod
    def parse(cls, text: str, quantities: Sequence[str]) -> Gate:
        """Read a condition.

        Args:
            text: `QUANTITY FINDING [or FINDING ...]`, or `[METRIC] below baseline [or undecided]`.
            quantities: What the run judges.

        Raises:
            SpecError: It cannot be read, or asks for what the run does not judge.
        """
        on_baseline = _BELOW in text
        if on_baseline:
            before, _, after = " ".join(text.split()).partition(_BELOW)
            quantity, rest = before.strip() or ANY, f"worse{after}"
            quantities = [name for name in quantities if not smaller_is_better(name)]
        else:
            quantity, _, rest = text.strip().partition(" ")
        known = [*get_args(Finding), *_SYNONYMS]
        words = [" ".join(word.split()) for word in rest.split(" or ")]
        if quantity not in (ANY, *quantities):
            raise SpecError(f"--fail-if {text!r}: this run does not judge {quantity!r}.",
                            fix=suggest(quantity, (ANY, *quantities)))  # fmt: skip
        for word in words:
            if word not in known:
                raise SpecError(f"--fail-if {text!r}: {word!r} is no finding.", fix=f"Findings: {', '.join(known)}; "
                                'e.g. "bertscore_f1 worse or undecided".')  # fmt: skip
        findings = {cast("Finding", _SYNONYMS.get(word, word)) for word in words}
        if "undecided" in findings:
            findings.add("cannot tell")
        return cls(text, quantity, frozenset(findings), on_baseline)

    def failures(self, comparison: Comparison) -> list[str]:
        """Quantities of a comparison that meet the condition."""
        return [
            j.difference.name
            for j in (comparison.quality if self.on_baseline else comparison.judged)
            if self.quantity in (ANY, j.difference.name) and j.finding in self.findings
        ]
