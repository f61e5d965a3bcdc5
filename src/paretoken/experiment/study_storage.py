"""Where studies are kept: a database by URL, and its errors in our words."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from paretoken.core.errors import SpecError, StoreError
from paretoken.experiment.spec import hide_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import optuna
    from sqlalchemy import URL

BUSY_S = 60.0
"""How long a SQLite file may be in use by another process [s]."""
OPENINGS = 20
"""How often the tables are looked for while other processes make them."""


def connect(url: URL, where: str) -> optuna.storages.RDBStorage:
    """Open Optuna's storage, and make its tables where there are none.

    Args:
        url: As `storage_url` gives it.
        where: The database in words.

    Raises:
        SpecError: Its driver is not installed.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError

    connect = {"timeout": BUSY_S} if url.get_backend_name() == "sqlite" else {}
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")  # Optuna formats it
    try:
        for left in reversed(range(OPENINGS)):
            try:
                storage = RDBStorage(text, engine_kwargs={"connect_args": connect})
                break
            except DBAPIError as error:  # another process makes the same tables
                if not left or not (isinstance(error, IntegrityError) or "already exists" in str(error.orig)):
                    raise
    except (ImportError, NoSuchModuleError) as error:
        fix = "pip install 'paretoken[postgres]'" if url.get_backend_name() == "postgresql" else "Install it"
        raise SpecError(f"{where} needs a driver that is not installed.", field="storage",
                        fix=f"{fix}, or leave storage out for SQLite.") from error  # fmt: skip
    if url.get_backend_name() == "sqlite" and url.database:
        event.listen(storage.engine, "connect", _write_ahead)
        storage.remove_session()
        storage.engine.dispose()
    return storage


def _write_ahead(connection: sqlite3.Connection, _: object) -> None:
    """Let others read while one writes; a commit survives the process, and need not survive the machine."""
    with suppress(sqlite3.OperationalError):  # another process is at it
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def storage_url(storage: str, root: Path) -> URL:
    """Where studies are kept.

    Args:
        storage: As a spec names it; empty is the project's own file.
        root: The project's folder, which relative SQLite paths begin at.

    Raises:
        SpecError: It is no URL of a database.
        StoreError: Its folder cannot be made.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage or "sqlite:///.paretoken/studies.db")
    except ArgumentError:
        raise SpecError(f"{hide_password(storage)!r} is no URL of a database.", field="storage",
                        fix="Write e.g. sqlite:///studies.db or postgresql://user@host/name.") from None  # fmt: skip
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        file = root / url.database
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{file}: cannot make the folder of the study: {error}") from error
        url = url.set(database=str(file))
    return url


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its remarks, and without its warnings that a part of it may change one day."""
    from optuna import exceptions, logging

    level = logging.get_verbosity()
    logging.set_verbosity(max(level, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def store_errors(where: str, url: URL) -> Iterator[None]:
    """Errors of the database as ours, in one line, without the password."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause: BaseException = error.__cause__ or error
        said = str(getattr(cause, "orig", None) or cause).strip().partition("\n")[0]
        shown = said.replace(str(url.password), "***") if url.password else said
        raise StoreError(f"{where}: cannot use the study: {shown}") from error
