"""Names in a spec to the objects they mean, through entry points: ours and any installed package's alike."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

Group = Literal["paretoken.models", "paretoken.scorers", "paretoken.trackers"]


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def registered(group: Group) -> list[str]:
    """Names known in a group, sorted."""
    return sorted(_points(group))


def load(group: Group, name: str) -> Any:
    """The object registered under a name; imports its module now and not before.

    Raises:
        SpecError: The name is unknown; says which names are near.
    """
    point = _points(group).get(name)
    if point is None:
        kind = group.removeprefix("paretoken.").removesuffix("s")
        raise SpecError(f"unknown {kind} {name!r}.", fix=suggest(name, registered(group)))
    return point.load()


def suggest(word: str, known: Iterable[str]) -> str:
    """One sentence that names the nearest known words, or all of them."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(words)}."
