"""A large run's table beside the database, so that it is not made of hundreds of thousands of entries by every verb.

The file can be deleted at any time: it is made again from the entries, which alone are true.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from paretoken.core.calls import NUMBERS
from paretoken.records.journal import SqlJournal
from paretoken.records.table import RecordTable, build_table

if TYPE_CHECKING:
    from pathlib import Path

    from paretoken.core.trials import RunInfo
    from paretoken.records.database import Database

FORMAT = 3
"""To be raised with every change of what a table says."""
_FIELDS = {field.name for field in fields(RecordTable)}
LEAST_ENTRIES = 10_000
"""Runs with fewer entries are read as quickly as a file."""


def read_table(database: Database, run: RunInfo) -> RecordTable:
    """The table of a run: from its file where that was made of these very entries, or else from the entries.

    Raises:
        StoreError: An entry is damaged.
    """
    journal, path = SqlJournal(database), table_path(database, run.id)
    mark = _mark(journal, run)
    if mark is None:
        return build_table(journal.rows(run.id))
    table = _load(path, mark)
    if table is None:
        table = build_table(journal.rows(run.id))
        if _mark(journal, run) == mark:  # no other process wrote meanwhile
            with suppress(OSError):  # a full disk costs time, not the table
                _save(table, path, mark)
    return table


def table_path(database: Database, run: str) -> Path:
    """Where a run's table is kept."""
    return database.path.parent / "runs" / run / "table.npz"


def _mark(journal: SqlJournal, run: RunInfo) -> str | None:
    """What tells a run's entries from those of any other moment; None where there are too few to be worth a file."""
    n, last, crc = journal.extent(run.id)
    return None if n < LEAST_ENTRIES else json.dumps([FORMAT, NUMBERS, run.id, run.started_at, n, last, crc])


def _save(table: RecordTable, path: Path, mark: str) -> None:
    """Write a table; the file is whole or not there."""
    told: dict[str, Any] = {"mark": mark}
    arrays: dict[str, Any] = {f"values/{i}": column for i, column in enumerate(table.values.values())}
    for field in fields(table):
        value = getattr(table, field.name)
        if field.name == "values":
            told["values"] = list(value)
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        else:
            told[field.name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            np.savez(file, told=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path, mark: str) -> RecordTable | None:
    """A table as it was saved; None where there is none, or one of other entries, or it is damaged."""
    try:
        with path.open("rb") as body, np.load(body) as file:  # sums of the parts are checked as they are read
            told = json.loads(file["told"].tobytes())
            if told.pop("mark") != mark:
                return None
            values = {name: file[f"values/{i}"] for i, name in enumerate(told.pop("values"))}
            arrays = {name: file[name] for name in file.files if name in _FIELDS}
            return RecordTable(**told, **arrays, values=values)
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
