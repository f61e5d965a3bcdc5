"""Records: what the journal says about each cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt, Call
from paretoken.core.trials import Record
from paretoken.core.usage import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from paretoken.core.calls import Entry, Score


def build_records(entries: Iterable[tuple[int, Entry]]) -> list[Record]:
    """Fold entries into one record per cell; a later call or score of the same cell replaces an earlier one.

    A cell's bill is the sum of its attempts, also of those that a killed process sent and whose answer it then found
    in the cache.

    Returns:
        Records in the order in which their cells were first called.
    """
    calls: dict[tuple[str, str, int], Call] = {}
    scores: dict[tuple[str, str, int], dict[str, Score]] = {}
    bills: dict[tuple[str, str, int], Decimal] = {}
    for _, entry in entries:
        origin = entry.origin
        if origin.role != "subject":
            continue
        cell = (origin.sample, origin.variant, origin.repeat)
        if isinstance(entry, Attempt):
            bills[cell] = bills.get(cell, ZERO) + entry.billed_usd + entry.assumed_usd
        elif isinstance(entry, Call):
            calls[cell] = entry
            scores[cell] = {}
        elif cell in calls:
            scores[cell][entry.metric] = entry
    return [
        Record(*cell, call=replace(call, billed_usd=bills.get(cell, ZERO)), scores=scores[cell])
        for cell, call in calls.items()
    ]
