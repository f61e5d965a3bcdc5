"""Embeddings by content address, so that each text is encoded once: in memory, and on disk for later runs."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    """Of one text, shape `(n_tokens, width)`."""

MEMORY_BYTES = 512 << 20
DISK_BYTES = 1 << 30
_CHECK_BYTES = 8


class Embeddings:
    """Keeps what was encoded; what was not used for longest goes first.

    On disk it is a cache and no more: a file that cannot be read or written is done without.

    Args:
        file: Where to keep embeddings for later runs; None keeps none.
        memory_bytes: Most that is kept in memory, of references and of answers each [bytes].
        disk_bytes: Most that is kept on disk [bytes].
    """

    def __init__(self, file: Path | None, *, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES) -> None:
        self._references: LRUCache[str, Vectors] = LRUCache(memory_bytes, getsizeof=lambda vectors: vectors.nbytes)
        self._answers: LRUCache[str, Vectors] = LRUCache(memory_bytes, getsizeof=lambda vectors: vectors.nbytes)
        self._disk = None if file is None else _Disk.open(file, disk_bytes)

    def find(self, keys: Mapping[str, int], references: Collection[str]) -> dict[str, Vectors]:
        """What is known of some texts.

        Args:
            keys: Texts wanted, with their number of tokens.
            references: Those of them that are references, which no number of answers drives out of memory.
        """
        found = {key: vectors for key in keys if (vectors := self._recall(key)) is not None}
        missing = [key for key in keys if key not in found]
        if self._disk is not None and missing:
            for key, body in self._disk.read(missing).items():
                found[key] = np.frombuffer(bytearray(body), np.float32).reshape(keys[key], -1)
                self._remember(key, found[key], references)
        return found

    def keep(self, new: Mapping[str, Vectors], references: Collection[str]) -> None:
        """Take what was encoded now."""
        for key, vectors in new.items():
            self._remember(key, vectors, references)
        if self._disk is not None and new:
            self._disk.write({key: vectors.tobytes() for key, vectors in new.items()})

    def _recall(self, key: str) -> Vectors | None:
        return self._references[key] if key in self._references else self._answers.get(key)

    def _remember(self, key: str, vectors: Vectors, references: Collection[str]) -> None:
        with suppress(ValueError):  # larger than all the room there is
            (self._references if key in references else self._answers)[key] = vectors


class _Disk:
    """Bytes by key in an SQLite file of bounded size, checked when read; several processes may share it."""

    def __init__(self, connection: sqlite3.Connection, most_bytes: int) -> None:
        self._connection, self._most_bytes = connection, most_bytes

    @classmethod
    def open(cls, file: Path, most_bytes: int) -> _Disk | None:
        """The file's content; None where it cannot be opened."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(file, timeout=5, isolation_level=None, check_same_thread=False)
            for line in (
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = OFF",
                "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, used INTEGER NOT NULL, body BLOB)",
                "CREATE INDEX IF NOT EXISTS by_use ON embeddings (used, length(body))",
            ):
                connection.execute(line)
        except (OSError, sqlite3.Error):
            return None
        return cls(connection, most_bytes)

    def read(self, keys: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with suppress(sqlite3.Error):
            turn = self._next_turn()
            for key in keys:
                row = self._connection.execute("SELECT body FROM embeddings WHERE key = ?", (key,)).fetchone()
                if row is not None and row[0][-_CHECK_BYTES:] == _check(row[0][:-_CHECK_BYTES]):
                    found[key] = row[0][:-_CHECK_BYTES]
            rows = [(turn, key) for key in found]
            self._connection.executemany("UPDATE embeddings SET used = ? WHERE key = ?", rows)
        return found

    def write(self, bodies: Mapping[str, bytes]) -> None:
        with suppress(sqlite3.Error):
            turn = self._next_turn()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                rows = [(key, turn, body + _check(body)) for key, body in bodies.items()]
                self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", rows)
                self._make_room()
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                self._connection.execute("ROLLBACK")
                raise

    def _next_turn(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(used), 0) + 1 FROM embeddings").fetchone()[0])

    def _make_room(self) -> None:
        """Let go of what was not used for longest, down to nine tenths of the room."""
        total = self._connection.execute("SELECT coalesce(sum(length(body)), 0) FROM embeddings").fetchone()[0]
        if total <= self._most_bytes:
            return
        gone: list[tuple[str]] = []
        for key, size in self._connection.execute("SELECT key, length(body) FROM embeddings ORDER BY used"):
            gone.append((key,))
            total -= size
            if total <= 0.9 * self._most_bytes:
                break
        self._connection.executemany("DELETE FROM embeddings WHERE key = ?", gone)


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()
