"""The space of variants: prompts x models x parameter choices."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import product
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.trials import Variant
from paretoken.experiment.design import OWN_FIELDS
from paretoken.models.chat_format import FIXED_FIELDS
from paretoken.prompts.edits import parse_edits

KNOWN = (
    *OWN_FIELDS, "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "stop", "reasoning_effort",
)  # fmt: skip
"""Parameters whose misspellings are caught; any other goes to the provider as it is written."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.core.calls import Scalar
    from paretoken.experiment.source import Source


def parse_choices(space: Mapping[str, Any], source: Source) -> dict[str, list[Scalar]]:
    """Values of every parameter: a plain value is one choice.

    Raises:
        SpecError: A parameter is an interval, which only a search can explore, or no scalar.
    """
    choices: dict[str, list[Scalar]] = {}
    for name, value in space.items():
        if isinstance(value, list):
            raise source.error("an interval cannot be enumerated.", "space", name,
                               fix=f"Write {{choices: {value}}} for a set of values.")  # fmt: skip
        values = value.get("choices") if isinstance(value, dict) and set(value) == {"choices"} else [value]
        if not isinstance(values, list) or not values or any(isinstance(v, (list, dict)) for v in values):
            raise source.error("this is neither a value nor a set of values.", "space", name,
                               fix="Write a value, or {choices: [a, b]}.")  # fmt: skip
        choices[name] = values
    _check(choices, source)
    return choices


def _check(choices: Mapping[str, Sequence[Scalar]], source: Source) -> None:
    for name, values in choices.items():
        if name not in KNOWN and get_close_matches(name, KNOWN, cutoff=0.85):
            raise source.error(f"unknown parameter {name!r}.", "space", name, fix=suggest(name, KNOWN))
        if name not in OWN_FIELDS and name in FIXED_FIELDS:
            raise source.error(f"{name!r} cannot be chosen: it is set by the experiment, or would break the bound of "
                               "a call's cost.", "space", name)  # fmt: skip
        for i, value in enumerate(values):
            if any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values[:i]):
                raise source.error(f"the choice {value!r} stands twice.", "space", name)
    for value in choices.get("seed", ()):
        if not isinstance(value, int) or isinstance(value, bool):
            raise source.error(f"seed must be a whole number, not {value!r}.", "space", "seed")
    for value in choices.get("edits", ()):
        try:
            parse_edits(str(value))
        except SpecError as error:
            raise source.error(error.problem, "space", "edits", fix=error.fix) from error
    for value in choices.get("max_tokens", ()):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise source.error(f"max_tokens must be a whole number above 0, not {value!r}.", "space", "max_tokens")
    for value in choices.get("temperature", ()):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 2:
            raise source.error(f"temperature must be a number from 0 to 2, not {value!r}.", "space", "temperature")


def enumerate_variants(
    prompts: Sequence[str], models: Sequence[str], choices: Mapping[str, Sequence[Scalar]]
) -> list[Variant]:
    """Every combination, in the order of the spec."""
    names = sorted(choices)
    settings = [tuple(zip(names, values, strict=True)) for values in product(*(choices[name] for name in names))]
    return [Variant(prompt, model, params) for prompt, model in product(prompts, models) for params in settings]
