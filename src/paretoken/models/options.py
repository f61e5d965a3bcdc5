"""A provider's own keys in the spec, read into a typed value."""

from __future__ import annotations

from dataclasses import fields
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from paretoken.core.protocols import ProviderConfig

T = TypeVar("T")


def read_options(config: ProviderConfig, kind: type[T]) -> T:
    """Make `kind`, a dataclass, from the options of a model's entry.

    Raises:
        SpecError: An option is unknown, missing or of the wrong type.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name, value in config.options.items():
        if name not in known:
            fix = suggest(name, known) if known else f"{config.id.partition('/')[0]} takes no options."
            raise SpecError(f"unknown option {name!r} of {config.id}.", fix=fix, field=name)
        if not _fits(value, hints[name]):
            wanted = getattr(hints[name], "__name__", None) or str(hints[name])
            raise SpecError(f"{value!r} is not {wanted}.", fix=f"Correct it at {config.id}.", field=name)
    try:
        return kind(**config.options)
    except TypeError as error:
        raise SpecError(f"{config.id} lacks an option: {error}.", fix="Add it to the model's entry.") from error


def _fits(value: object, wanted: Any) -> bool:
    kinds = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*(get_origin(kind) or kind for kind in kinds), *((int,) if float in kinds else ())))
