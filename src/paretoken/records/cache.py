"""Exact answers by content address, in the same file as the records."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from paretoken.records.codec import decode_response, encode_response
from paretoken.records.database import Database, responses_table

if TYPE_CHECKING:
    from datetime import timedelta

    from paretoken.core.calls import Response
    from paretoken.core.protocols import Clock


_SELECT = select(responses_table.c.at, responses_table.c.body).where(responses_table.c.key == bindparam("wanted"))
_DELETE = delete(responses_table).where(responses_table.c.key == bindparam("wanted"))
_INSERT = insert(responses_table)


class SqlCache:
    """A `ResponseCache` in a project's database.

    Args:
        database: Where answers are kept.
        clock: Dates the answers.
        max_age: Older answers are not given back.
    """

    def __init__(self, database: Database, clock: Clock, max_age: timedelta | None = None) -> None:
        self._database = database
        self._clock = clock
        self._max_age = max_age

    def get(self, key: str) -> Response | None:
        """The stored answer, or None."""
        row = self._database.connection.execute(_SELECT, {"wanted": key}).first()
        if row is None:
            return None
        if self._max_age is not None and self._clock.now() - datetime.fromisoformat(row.at) > self._max_age:
            return None
        return decode_response(row.body)

    def put(self, key: str, response: Response) -> None:
        """Keep an answer, in place of an older one."""
        connection = self._database.connection
        with self._database.transaction():
            connection.execute(_DELETE, {"wanted": key})
            row = {"key": key, "at": self._clock.now().isoformat(), "body": encode_response(response)}
            connection.execute(_INSERT, row)
