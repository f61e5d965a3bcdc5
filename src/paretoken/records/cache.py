"""Exact answers by content address, in the same file as the records."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zlib import crc32

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert

from paretoken.records.codec import decode_response, encode_response
from paretoken.records.database import Database, responses_table
from paretoken.records.statement import Statement

if TYPE_CHECKING:
    from datetime import timedelta

    from paretoken.core.calls import Response
    from paretoken.core.protocols import Clock


_table = responses_table.c
_SELECT = Statement(select(_table.at, _table.body, _table.crc).where(_table.key == bindparam("wanted")))
_DATE = Statement(select(_table.at).where(_table.key == bindparam("wanted")))
_upsert = insert(responses_table)
_PUT = Statement(
    _upsert.on_conflict_do_update(
        index_elements=["key"], set_={name: _upsert.excluded[name] for name in ("at", "body", "crc")}
    ),
    "key", "at", "body", "crc",
)  # fmt: skip


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
        """The stored answer, or None; one that no longer is what was written is none."""
        row = _SELECT.run(self._database, {"wanted": key}).fetchone()
        if row is None:
            return None
        at, body, crc = row
        return None if crc != crc32(body.encode()) or self._is_old(at) else decode_response(body)

    def has(self, key: str) -> bool:
        """Whether `get` would give an answer."""
        row = _DATE.run(self._database, {"wanted": key}).fetchone()
        return row is not None and not self._is_old(row[0])

    def _is_old(self, at: str) -> bool:
        return self._max_age is not None and self._clock.now() - datetime.fromisoformat(at) > self._max_age

    def put(self, key: str, response: Response) -> None:
        """Keep an answer, in place of an older one, as part of this turn's commit."""
        body = encode_response(response)
        row = {"key": key, "at": self._clock.now().isoformat(), "body": body, "crc": crc32(body.encode())}
        with self._database.turn():
            _PUT.run(self._database, row)
