"""Gets all that is sound out of a damaged database."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from sqlalchemy import insert, select

from paretoken.core.errors import StoreError
from paretoken.records.database import (
    Database,
    entries_table,
    holds_table,
    responses_table,
    runs_table,
    samples_table,
    scopes_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Table

_TABLES = (runs_table, samples_table, entries_table, scopes_table, holds_table, responses_table)
_FILES = ("", "-wal", "-shm")
_MAX_GAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery kept.

    Attributes:
        kept: Rows by table.
        lost: Rows that could not be read, or are not what was written, by table.
        damaged: A copy of the file as it was.
    """

    kept: dict[str, int]
    lost: dict[str, int]
    damaged: Path


def recover(path: Path) -> Recovered:
    """Copy every sound row into a new file, which takes the old one's place.

    No money is forgotten: the scope of a run counts at least what its attempts cost.

    Raises:
        StoreError: The file holds nothing that can be read, or the new one cannot be written.
    """
    damaged = next(p for n in range(1000) if not (p := path.with_name(f"{path.name}.damaged{n or ''}")).exists())
    fresh = path.with_name(f"{path.name}.recovered")
    try:
        for suffix in _FILES:
            if (part := path.with_name(path.name + suffix)).exists():
                shutil.copy2(part, damaged.with_name(damaged.name + suffix))
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        kept, lost = {}, {}
        with Database(path) as old, Database(fresh) as new, new.transaction():
            for table in _TABLES:
                kept[table.name], lost[table.name] = _copy(old, new, table)
            _count_money(new)
        for suffix in _FILES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        fresh.rename(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be recovered: {error}") from error
    return Recovered(kept, lost, damaged)


def _copy(old: Database, new: Database, table: Table) -> tuple[int, int]:
    """Copy a table's sound rows; gives how many were kept and lost."""
    names = [column.name for column in table.columns]
    kept = lost = 0
    for values in _rows(old, table.name, names):
        row = None if values is None else dict(zip(names, values, strict=True))
        if row is None or ("crc" in row and row["crc"] != crc32(row["body"].encode())):
            lost += 1
        else:
            new.connection.execute(insert(table), row)
            kept += 1
    return kept, lost


def _rows(old: Database, table: str, names: list[str]) -> Iterator[tuple[Any, ...] | None]:
    """Rows in order; None for each that cannot be read. Read from both ends, and one by one between the damage."""
    query = f"SELECT rowid, {', '.join(names)} FROM {table} WHERE rowid"  # noqa: S608 - names of our own schema
    first, last = 0, _MAX_GAP
    try:
        for number, *values in old.execute(f"{query} > 0 ORDER BY rowid"):
            first = number
            yield tuple(values)
    except (StoreError, old.driver_error):
        pass
    else:
        return
    tail: list[tuple[Any, ...]] = []
    try:
        for number, *values in old.execute(f"{query} > ? ORDER BY rowid DESC", (first,)):
            last = number
            tail.append(tuple(values))
    except (StoreError, old.driver_error):
        pass
    for number in range(first + 1, min(last, first + _MAX_GAP) if tail else first + 1):
        try:
            found = old.execute(f"{query} = ?", (number,)).fetchone()
        except (StoreError, old.driver_error):
            yield None
        else:
            if found is not None:
                yield tuple(found[1:])
    if not tail:
        yield None
    yield from reversed(tail)


def _count_money(new: Database) -> None:
    """Raise the scopes of runs to what their attempts cost, and let every scope hold what its holds say."""
    held: dict[str, int] = {}
    for hold in new.connection.execute(select(holds_table)):
        for scope in filter(None, hold.scopes.split("\n")):
            held[scope] = held.get(scope, 0) + hold.bound_pico
    spent: dict[str, list[int]] = {}
    query = """
        SELECT 'run:' || run, sum(json_extract(body, '$.billed_pico')), sum(json_extract(body, '$.assumed_pico'))
        FROM entries WHERE kind = 'attempt' GROUP BY run"""
    for scope, billed, assumed in new.execute(query):
        spent[scope] = [billed, assumed]
    known = {row.name for row in new.connection.execute(select(scopes_table.c.name))}
    for scope in {*spent, *held} - known:
        row = {"name": scope, "limit_pico": None, "billed_pico": 0, "assumed_pico": 0, "held_pico": 0}
        new.connection.execute(insert(scopes_table), row)
    for scope in {*known, *spent, *held}:
        billed, assumed = spent.get(scope, (0, 0))
        new.execute(
            "UPDATE scopes SET held_pico = ?, billed_pico = max(billed_pico, ?), assumed_pico = max(assumed_pico, ?) "
            "WHERE name = ?",
            (held.get(scope, 0), billed, assumed, scope),
        )
