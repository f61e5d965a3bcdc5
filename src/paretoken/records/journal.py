"""The journal of attempts, calls and scores in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from paretoken.core.calls import Origin
from paretoken.records.codec import Content, decode, encode
from paretoken.records.database import Database, entries_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from paretoken.core.calls import Entry

_INSERT = insert(entries_table)


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
        """Write entries durably, all or none."""
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
                }
            )
        if rows:
            with self._database.transaction():
                self._database.connection.execute(_INSERT, rows)

    def read(self, run: str, after: int = 0) -> Iterator[tuple[int, Entry]]:
        """Entries of a run in order of writing, streamed."""
        query = (
            select(entries_table)
            .where(entries_table.c.run == run, entries_table.c.seq > after)
            .order_by(entries_table.c.seq)
        )
        for row in self._database.connection.execute(query):
            origin = Origin(row.run, row.sample, row.variant, row.repeat, row.role)
            yield row.seq, decode(row.kind, row.body, origin)

    def transaction(self) -> AbstractContextManager[None]:
        """One commit for everything written inside."""
        return self._database.transaction()
