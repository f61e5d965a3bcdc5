from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paretoken.core.clock import SystemClock
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger
from paretoken.testing.stores import CacheSuite, LedgerSuite, RecordStoreSuite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from pathlib import Path


class _OnSql:
    path: Path

    @pytest.fixture(autouse=True)
    def _databases(self, tmp_path: Path):
        self.path = tmp_path / "records.db"
        self.opened: list[Database] = []
        yield
        for database in self.opened:
            database.close()

    def open(self) -> Database:
        self.opened.append(Database(self.path))
        return self.opened[-1]


class TestSqlJournal(_OnSql, RecordStoreSuite):
    def make_store(self) -> SqlJournal:
        return SqlJournal(self.open())

    def reopen(self, store: object) -> SqlJournal:
        return SqlJournal(self.open())


class TestSqlLedger(_OnSql, LedgerSuite):
    def make_ledger(self, limits: Mapping[str, Decimal | None]) -> SqlLedger:
        ledger = SqlLedger(self.open(), "owner")
        ledger.set_limits(limits)
        return ledger


class TestSqlCache(_OnSql, CacheSuite):
    def make_cache(self) -> SqlCache:
        return SqlCache(self.open(), SystemClock())
