"""What edits do to the length of prompts, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from paretoken.core.trials import Cell
from paretoken.models.estimate import estimate_tokens

if TYPE_CHECKING:
    from paretoken.core.trials import Variant
    from paretoken.experiment.design import Design

MAX_SAMPLES = 50
"""Samples that prompts are rendered for: more would hardly change a mean."""


@dataclass(frozen=True, slots=True)
class EditChange:
    """How an edit changes one prompt.

    Attributes:
        prompt: The prompt's name.
        edits: The edits as the spec writes them.
        tokens_before, tokens_after: Mean prompt tokens without and with them, estimated.
    """

    prompt: str
    edits: str
    tokens_before: float
    tokens_after: float

    @property
    def change_rate(self) -> float:
        """Relative change; negative is shorter."""
        return self.tokens_after / self.tokens_before - 1


def edit_changes(design: Design) -> list[EditChange]:
    """Every edit of the space on every prompt; none where the space names no edits."""
    found: dict[tuple[str, str], EditChange] = {}
    for variant in design.variants:
        key = variant.prompt_name, str(dict(variant.params).get("edits", "none"))
        if key[1] != "none" and key not in found:
            plain = replace(variant, params=tuple(p for p in variant.params if p[0] != "edits"))
            found[key] = EditChange(*key, _tokens(design, plain), _tokens(design, variant))
    return list(found.values())


def _tokens(design: Design, variant: Variant) -> float:
    requests = [design.request(variant, Cell(sample), run="") for sample in islice(design.samples, MAX_SAMPLES)]
    return sum(estimate_tokens(m.content) for request in requests for m in request.messages) / len(requests)
