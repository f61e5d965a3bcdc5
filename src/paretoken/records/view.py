"""Records: what the journal says about each cell."""

from __future__ import annotations

import json
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from paretoken.core.calls import CALL_FAILED, Attempt, Call
from paretoken.core.trials import Record
from paretoken.core.usage import ZERO, from_pico
from paretoken.records.codec import paid_pico

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from decimal import Decimal

    from paretoken.core.calls import Entry, Score
    from paretoken.records.journal import SqlJournal

ENTRIES_AT_ONCE = 5_000


class History:
    """What an earlier part of a run recorded, by cell, read from the journal when it is asked for.

    Args:
        journal: The journal.
        run: Run id.
        without_errors: Leave failed calls out, so that they are made again.

    Attributes:
        judges_usd: What judges were paid, assumed money included [USD].
    """

    def __init__(self, journal: SqlJournal, run: str, *, without_errors: bool) -> None:
        self._journal = journal
        self._entries: dict[tuple[str, str, int], list[int]] = {}
        self.judges_usd = ZERO
        for row in journal.rows(run):
            cell = (row.sample, row.variant, row.repeat)
            if row.role == "judge" and row.kind == "attempt":
                self.judges_usd += from_pico(paid_pico(json.loads(row.body)))
            if row.role != "subject":
                continue
            if row.kind == "call":
                if without_errors and json.loads(row.body)["error"] is not None:
                    self._entries.pop(cell, None)
                else:
                    self._entries[cell] = [row.seq]
            elif row.kind == "score" and cell in self._entries and not (without_errors and _lacks_its_call(row.body)):
                self._entries[cell].append(row.seq)

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, sample: str, variant: str, repeat: int) -> Record | None:
        """The record of a cell, once; its bill is its last call's."""
        numbers = self._entries.pop((sample, variant, repeat), None)
        if numbers is None:
            return None
        call, *scores = self._journal.read_some(numbers)
        return Record(
            sample, variant, repeat, cast("Call", call), {score.metric: score for score in cast("list[Score]", scores)}
        )


def _lacks_its_call(score: str) -> bool:
    return CALL_FAILED in json.loads(score).get("beside", ())


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


def unanswered(entries: Iterable[tuple[int, Entry]]) -> list[Attempt]:
    """What was sent for cells without a record: one attempt for each, its last, with the money of all.

    Such cells were in flight when a process was killed or a run stopped; the same command sends them again.
    """
    called: set[tuple[str, str, int]] = set()
    last: dict[tuple[str, str, int], Attempt] = {}
    for _, entry in entries:
        origin = entry.origin
        cell = (origin.sample, origin.variant, origin.repeat)
        if origin.role == "subject" and isinstance(entry, Attempt):
            before = last.get(cell)
            last[cell] = entry if before is None else replace(
                entry,
                billed_usd=before.billed_usd + entry.billed_usd,
                assumed_usd=before.assumed_usd + entry.assumed_usd,
            )  # fmt: skip
        elif origin.role == "subject" and isinstance(entry, Call):
            called.add(cell)
    return [attempt for cell, attempt in last.items() if cell not in called]


def read_records(journal: SqlJournal, run: str, **among: Collection[str]) -> Iterator[Record]:
    """`build_records` of a run, or of those of its samples or variants that are wanted, some hundreds at once.

    Args:
        journal: The journal.
        run: Run id.
        among: `sample` or `variant` with the ids that are wanted.
    """
    known: dict[tuple[str, str, int], int] = {}
    called: dict[int, None] = {}
    cells, numbers = array("q"), array("q")
    for seq, kind, sample, variant, repeat in journal.places(run, **among):
        index = known.setdefault((sample, variant, repeat), len(known))
        if kind == "call":
            called[index] = None
        cells.append(index)
        numbers.append(seq)
    rank = np.full(len(known), -1)
    rank[list(called)] = np.arange(len(called))
    del known, called
    place = rank[np.asarray(cells, np.int64)]
    order = np.argsort(place, kind="stable")[np.count_nonzero(place < 0) :]
    ends = np.append(np.flatnonzero(np.diff(place[order])) + 1, len(order))
    seqs = np.asarray(numbers, np.int64)[order]
    start = 0
    while start < len(seqs):
        most, least = np.searchsorted(ends, (start + ENTRIES_AT_ONCE, start), side="right")
        end = int(ends[max(most - 1, least)])  # a cell is read whole
        yield from build_records(enumerate(journal.read_some(seqs[start:end].tolist())))
        start = end


def judges_usd(journal: SqlJournal, run: str) -> Decimal:
    """What a run's judges were paid, assumed money included [USD]."""
    rows = journal.rows(run, kind=["attempt"], role=["judge"])
    return from_pico(sum(paid_pico(json.loads(row.body)) for row in rows))
