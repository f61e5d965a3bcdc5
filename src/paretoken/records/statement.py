"""Statements compiled once and given to the driver: through SQLAlchemy's `execute` each takes ten times as long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.sql import ClauseElement

    from paretoken.records.database import Database


class Statement:
    """A statement with named parameters, for what runs with every call.

    Args:
        statement: What to compile, for the dialect of the database that runs it.
        columns: For an insert, the columns it gives.
    """

    def __init__(self, statement: ClauseElement, *columns: str) -> None:
        self._statement, self._columns = statement, columns or None
        self._compiled: dict[str, tuple[str, Sequence[str]]] = {}

    def run(self, database: Database, values: Mapping[str, object]) -> Any:
        """Execute with one set of values; gives the driver's cursor, whose rows are tuples.

        Raises:
            StoreError: It cannot be executed.
        """
        sql, order = self._compile(database)
        return database.execute(sql, [values[name] for name in order])

    def run_many(self, database: Database, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute once per row.

        Raises:
            StoreError: It cannot be executed.
        """
        sql, order = self._compile(database)
        database.execute_many(sql, [[row[name] for name in order] for row in rows])

    def _compile(self, database: Database) -> tuple[str, Sequence[str]]:
        dialect = database.connection.dialect
        known = self._compiled.get(dialect.name)
        if known is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            known = self._compiled[dialect.name] = str(compiled), compiled.positiontup  # type: ignore[attr-defined]
        return known
