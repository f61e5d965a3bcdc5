"""The journal of attempts, calls and scores in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from sqlalchemy import func, insert, select

from paretoken.core.calls import Origin
from paretoken.core.errors import StoreError
from paretoken.records.codec import Content, decode, encode
from paretoken.records.database import Database, among, entries_table
from paretoken.records.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sqlalchemy import Row

    from paretoken.core.calls import Entry

_table = entries_table.c
_VERSION = ("$.request.model", "$.response.model_version")
_INSERT = Statement(insert(entries_table), *(column.name for column in _table if column.name != "seq"))


class SqlJournal:
    """A `RecordStore` in a project's database.

    Args:
        database: Where to write.
        content: How much of prompts and answers is kept.
    """

    def __init__(self, database: Database, content: Content = "full") -> None:
        self._database = database
        self._content = content

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, all or none, as part of this turn's commit."""
        rows = []
        for entry in entries:
            kind, body = encode(entry, self._content)
            origin = entry.origin
            rows.append(
                {
                    "run": origin.run,
                    "kind": kind,
                    "sample": origin.sample,
                    "variant": origin.variant,
                    "repeat": origin.repeat,
                    "role": origin.role,
                    "body": body,
                    "crc": crc32(body.encode()),
                }
            )
        if rows:
            with self._database.turn():
                _INSERT.run_many(self._database, rows)

    async def committed(self) -> None:
        """Return once everything written so far is on disk."""
        await self._database.committed()

    def read(self, run: str, after: int = 0, **wanted: Collection[str]) -> Iterator[tuple[int, Entry]]:
        """Entries of a run in order of writing, streamed; `wanted` gives the values of a column that are wanted.

        Raises:
            StoreError: An entry is damaged.
        """
        for row in self.rows(run, after, **wanted):
            yield row.seq, _entry(row)

    def rows(self, run: str, after: int = 0, **wanted: Collection[str]) -> Iterator[Row[tuple[object, ...]]]:
        """`read` without making entries: rows of the table, checked against their sums."""
        query = select(entries_table).where(_table.run == run, _table.seq > after).order_by(_table.seq)
        for name, values in wanted.items():
            query = query.where(among(_table[name], values))
        for row in self._database.connection.execute(query):
            yield self._check(row)

    def extent(self, run: str) -> tuple[int, int, int]:
        """How many entries a run has, the number of the last one, and its sum; zeros without any."""
        n, last = self._database.connection.execute(
            select(func.count(), func.max(_table.seq)).where(_table.run == run)
        ).one()
        if not n:
            return 0, 0, 0
        return n, last, self._database.connection.scalar(select(_table.crc).where(_table.seq == last)) or 0

    def places(self, run: str, **wanted: Collection[str]) -> Iterator[tuple[int, str, str, str, int]]:
        """Number, kind, sample, variant and repeat of a run's entries about its subject, in order of writing."""
        columns = (_table.seq, _table.kind, _table.sample, _table.variant, _table.repeat)
        query = select(*columns).where(_table.run == run, _table.role == "subject").order_by(_table.seq)
        for name, values in wanted.items():
            query = query.where(among(_table[name], values))
        for row in self._database.connection.execute(query):
            yield row.seq, row.kind, row.sample, row.variant, row.repeat

    def versions(self, run: str) -> dict[str, list[str]]:
        """Versions of each subject's model that answered, sorted."""
        model, version = (func.json_extract(_table.body, path) for path in _VERSION)
        query = select(model, version).where(_table.run == run, _table.kind == "call", _table.role == "subject")
        found: dict[str, list[str]] = {}
        for name, told in self._database.connection.execute(query.distinct().order_by(model, version)):
            if told:
                found.setdefault(name, []).append(told)
        return found

    def read_some(self, numbers: Iterable[int]) -> Iterator[Entry]:
        """Entries by their numbers, in order of writing."""
        query = select(entries_table).where(among(_table.seq, numbers)).order_by(_table.seq)
        for row in self._database.connection.execute(query):
            yield _entry(self._check(row))

    def _check(self, row: Row[tuple[object, ...]]) -> Row[tuple[object, ...]]:
        if row.crc != crc32(row.body.encode()):
            raise StoreError(
                f"{self._database.path}: entry {row.seq} of run {row.run} is damaged. `paretoken runs recover` keeps "
                "all that is sound."
            )
        return row


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    origin = Origin(row.run, row.sample, row.variant, row.repeat, row.role)
    return decode(row.kind, row.body, origin)
