"""The database: schema, opening, and one commit for everything that must be true together."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError

from paretoken.core.errors import NewerSchema, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import ColumnElement, Engine
    from sqlalchemy.engine import ExceptionContext

SCHEMA_VERSION = 2
FOLDER = ".paretoken"

metadata = MetaData()

schema_table = Table("schema", metadata, Column("version", Integer, primary_key=True))

runs_table = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("experiment", String, nullable=False),
    Column("identity", String, nullable=False, index=True),
    Column("started_at", String, nullable=False),
    Column("finished_at", String),
    Column("status", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("lock", Text, nullable=False),
)

samples_table = Table(
    "samples",
    metadata,
    Column("dataset", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

entries_table = Table(
    "entries",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("run", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("sample", String, nullable=False),
    Column("variant", String, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("role", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("crc", Integer, nullable=False),  # of the body: disks err, and a digit that changed looks like any other
    Index("entries_by_run", "run", "seq"),
)

scopes_table = Table(
    "scopes",
    metadata,
    Column("name", String, primary_key=True),
    Column("limit_pico", BigInteger),
    Column("billed_pico", BigInteger, nullable=False),
    Column("assumed_pico", BigInteger, nullable=False),
    Column("held_pico", BigInteger, nullable=False),
)

holds_table = Table(
    "holds",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("owner", String, nullable=False, index=True),
    Column("scopes", String, nullable=False),
    Column("bound_pico", BigInteger, nullable=False),
    Column("key", String, nullable=False),
    Column("origin", String, nullable=False),
    sqlite_autoincrement=True,  # a settled hold's id is never given to another
)

responses_table = Table(
    "responses",
    metadata,
    Column("key", String, primary_key=True),
    Column("at", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("crc", Integer, nullable=False),
)


def among(column: ColumnElement[Any], values: Iterable[object]) -> ColumnElement[bool]:
    """Whether a column has one of any number of values, which `in_` does not take."""
    each = func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(select(each.c.value))


def project_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a `.paretoken` folder or a `pyproject.toml`, else `start`."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FOLDER).is_dir() or (folder / "pyproject.toml").is_file():
            return folder
    return start


def database_path(root: Path) -> Path:
    """Where a project keeps its records."""
    return root / FOLDER / "paretoken.db"


PATIENCE_S = 10
"""How long a process waits for another one that is writing [s]."""


class Database:
    """One connection to the records of a project.

    Inside an event loop, all that one turn of the loop writes is one commit, so that a hundred calls in flight share
    the wait for the disk. Writes happen on the caller's thread.

    Args:
        path: The SQLite file; its folder is made if missing.

    Raises:
        NewerSchema: The file was written by a newer version.
        StoreError: The file is no database, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._in_transaction = False
        self._waiting: list[asyncio.Future[None]] | None = None  # for the commit of this turn, if it wrote anything
        self._failure: StoreError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot make the folder of the records: {error}") from error
        self._engine = _make_engine(path)
        self.connection = self._engine.connect()
        self._driver: Any = self.connection.connection.driver_connection
        self.driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        try:
            self._check_schema()
        except BaseException:
            self.close()
            raise

    def _check_schema(self) -> None:
        version = select(schema_table.c.version)
        if not inspect(self.connection).has_table(schema_table.name):
            with self.transaction():
                metadata.create_all(self.connection)
                if self.connection.scalar(version) is None:  # another process may have been first
                    self.connection.execute(insert(schema_table).values(version=SCHEMA_VERSION))
        found = self.connection.scalar(version) or 0
        if found > SCHEMA_VERSION:
            raise NewerSchema(
                f"{self.path}: the records have schema {found}, this version reads up to {SCHEMA_VERSION}. "
                "Upgrade paretoken, or move the file away to start afresh."
            )
        if found < SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: the records have schema {found} of an early version; this one writes {SCHEMA_VERSION}. "
                "Move the file away to start afresh."
            )

    def execute(self, sql: str, values: Sequence[object] = ()) -> Any:
        """Run a statement on the driver; gives its cursor.

        Raises:
            StoreError: It cannot be executed.
        """
        try:
            return self._driver.execute(sql, values)
        except self.driver_error as error:
            raise _store_error(self.path, error) from error

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once per row.

        Raises:
            StoreError: It cannot be executed.
        """
        try:
            self._driver.executemany(sql, rows)
        except self.driver_error as error:
            raise _store_error(self.path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together and at once, or nothing; one inside another is part of it.

        Raises:
            StoreError: The disk is full, the file is read-only or damaged.
        """
        if self._in_transaction:
            yield
            return
        self.commit()
        self._begin()
        self._in_transaction = True
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        finally:
            self._in_transaction = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Write as part of the commit of this turn of the event loop; outside a loop, in a transaction of its own.

        Whoever must know that it is on disk awaits `committed`. Whatever may refuse is checked before the first
        write: an error inside that is no `StoreError` undoes nothing.

        Raises:
            StoreError: This or an earlier turn could not be written.
        """
        if self._in_transaction or not (loop := _running_loop()):
            with self.transaction():
                yield
            return
        if self._failure is not None:
            raise self._failure
        if self._waiting is None:
            self._begin()
            self._waiting = []
            loop.call_soon(loop.call_soon, self.commit)  # one turn later: the calls that these let go on share it
        try:
            yield
        except StoreError as error:
            self._rollback()
            self._end_turn(error)
            raise

    def commit(self) -> None:
        """Commit what this turn wrote so far; a failure goes to all who wait for it or write in a later turn."""
        if self._waiting is None:
            return
        try:
            self.execute("COMMIT")
        except StoreError as error:
            self._rollback()
            self._end_turn(error)
        else:
            self._end_turn(None)

    async def committed(self) -> None:
        """Return once everything written so far is on disk.

        Raises:
            StoreError: It could not be written.
        """
        if self._failure is not None:
            raise self._failure
        if self._waiting is not None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def _begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def _rollback(self) -> None:
        with suppress(StoreError):  # SQLite may have rolled back by itself, e.g. when the disk is full
            self.execute("ROLLBACK")

    def _end_turn(self, error: StoreError | None) -> None:
        waiting, self._waiting = self._waiting or [], None
        self._failure = error or self._failure
        for waiter in waiting:
            if waiter.done():  # cancelled
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def check(self) -> None:
        """Look for damage.

        Raises:
            StoreError: There is some.
        """
        said = self.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise StoreError(f"{self.path}: damaged: {said}. `paretoken runs recover` keeps all that is sound")

    def close(self) -> None:
        """Commit what is open and give the connection back."""
        self.commit()
        self.connection.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _make_engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA busy_timeout={1000 * PATIENCE_S}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext) -> None:
        if isinstance(context.sqlalchemy_exception, DatabaseError):
            raise _store_error(path, context.original_exception)

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; of processes that open a new file at once, all but one are turned away at once."""
    for _ in range(10 * PATIENCE_S):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.1)
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")


def _store_error(path: Path, cause: BaseException) -> StoreError:
    damaged = type(cause).__name__ == "DatabaseError"  # its subclasses are of the moment: locked, full, read-only
    hint = ". `paretoken runs recover` keeps all that is sound" if damaged else ""
    return StoreError(f"{path}: cannot use the records: {cause}{hint}")
