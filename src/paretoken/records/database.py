"""The database: schema, opening, and one transaction for everything that must be true together."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

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
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError

from paretoken.core.errors import NewerSchema, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.engine import ExceptionContext

SCHEMA_VERSION = 1
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
    sqlite_autoincrement=True,  # a settled hold's id is never given to another
)

responses_table = Table(
    "responses",
    metadata,
    Column("key", String, primary_key=True),
    Column("at", String, nullable=False),
    Column("body", Text, nullable=False),
)


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


class Database:
    """One connection to the records of a project.

    Writes are synchronous and happen on the caller's thread: a received answer is on disk before anything else runs.

    Args:
        path: The SQLite file; its folder is made if missing.

    Raises:
        NewerSchema: The file was written by a newer version.
        StoreError: The file is no database, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._in_transaction = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: cannot make the folder of the records: {error}") from error
        self._engine = _make_engine(path)
        self.connection = self._engine.connect()
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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, or nothing; one inside another is part of it.

        Raises:
            StoreError: The disk is full, the file is read-only or damaged.
        """
        if self._in_transaction:
            yield
            return
        self.connection.exec_driver_sql("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            yield
            self.connection.exec_driver_sql("COMMIT")
        except BaseException:
            with suppress(StoreError):  # SQLite may have rolled back by itself, e.g. when the disk is full
                self.connection.exec_driver_sql("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_engine(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext) -> None:
        if isinstance(context.sqlalchemy_exception, DatabaseError):
            raise StoreError(f"{path}: cannot use the records: {context.original_exception}")

    return engine
