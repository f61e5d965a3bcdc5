"""Records: what the journal says about each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt, Call
from paretoken.core.trials import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoken.core.calls import Entry, Score


def build_records(entries: Iterable[tuple[int, Entry]]) -> list[Record]:
    """Fold entries into one record per cell; a later call or score of the same cell replaces an earlier one.

    Returns:
        Records in the order in which their cells were first called.
    """
    calls: dict[tuple[str, str, int], Call] = {}
    scores: dict[tuple[str, str, int], dict[str, Score]] = {}
    for _, entry in entries:
        origin = entry.origin
        if origin.role != "subject" or isinstance(entry, Attempt):
            continue
        cell = (origin.sample, origin.variant, origin.repeat)
        if isinstance(entry, Call):
            calls[cell] = entry
            scores[cell] = {}
        elif cell in calls:
            scores[cell][entry.metric] = entry
    return [Record(*cell, call=call, scores=scores[cell]) for cell, call in calls.items()]
