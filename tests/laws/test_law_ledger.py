"""Law 1 on the ledger: billed + assumed + held never exceed a cap, whatever happens to whom."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from paretoken.core.calls import Origin
from paretoken.core.clock import SystemClock
from paretoken.core.errors import BudgetExceeded, StoreError
from paretoken.core.usage import ZERO, from_pico
from paretoken.records import Database, SqlJournal, SqlLedger, book_orphans
from paretoken.records.database import holds_table, scopes_table

OWNERS = ("one", "two")
CAPS: dict[str, int | None] = {"run": 1000, "team": 2500, "house": None}
SCOPES = st.sampled_from([("run",), ("team",), ("house",), ("run", "team"), ("run", "team", "house"), ()])


@dataclass
class Scope:
    limit: int | None
    billed: int = 0
    assumed: int = 0
    held: int = 0

    @property
    def spent(self) -> int:
        return self.billed + self.assumed


@dataclass
class Held:
    owner: str
    scopes: tuple[str, ...]
    bound: int
    hold: object
    open: bool = field(default=True)


class LedgerMachine(RuleBasedStateMachine):
    """Two owners, each with a connection of its own to one file, against a model in plain Python."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.databases = {owner: self._open() for owner in OWNERS}
        self.ledgers = {owner: SqlLedger(self.databases[owner], owner) for owner in OWNERS}
        self.ledgers["one"].set_limits({name: None if cap is None else from_pico(cap) for name, cap in CAPS.items()})
        self.scopes = {name: Scope(cap) for name, cap in CAPS.items()}
        self.held: list[Held] = []

    def _open(self) -> Database:
        database = Database(Path(self.folder.name) / "records.db")
        database.connection.exec_driver_sql("PRAGMA synchronous = OFF")
        return database

    def teardown(self) -> None:
        for database in self.databases.values():
            database.close()
        self.folder.cleanup()

    @rule(target=holds, owner=st.sampled_from(OWNERS), scopes=SCOPES, bound=st.integers(0, 600))
    def hold(self, owner: str, scopes: tuple[str, ...], bound: int):
        full = {
            name
            for name in scopes
            if (limit := self.scopes[name].limit) is not None
            and self.scopes[name].spent + self.scopes[name].held + bound > limit
        }
        if full:
            with pytest.raises(BudgetExceeded) as caught:
                self.ledgers[owner].hold(scopes, from_pico(bound), "key", Origin())
            error, scope = caught.value, self.scopes[caught.value.scope]
            assert error.scope in full
            assert (error.limit, error.needed) == (from_pico(scope.limit), from_pico(bound))
            assert (error.spent, error.held) == (from_pico(scope.spent), from_pico(scope.held))
            return multiple()
        hold = self.ledgers[owner].hold(scopes, from_pico(bound), "key", Origin())
        held = Held(owner, scopes, bound, hold)
        self.held.append(held)
        for name in scopes:
            self.scopes[name].held += bound
        return held

    def _close(self, held: Held, billed: int, assumed: int) -> None:
        held.open = False
        for name in held.scopes:
            scope = self.scopes[name]
            scope.held -= held.bound
            scope.billed += billed
            scope.assumed += assumed

    @rule(held=consumes(holds), share=st.fractions(0, 1), of_rest=st.fractions(0, 1))
    def settle(self, held: Held, share: float, of_rest: float):
        billed = int(held.bound * share)
        assumed = int((held.bound - billed) * of_rest)
        ledger = self.ledgers[held.owner]
        if held.open:
            ledger.settle(held.hold, from_pico(billed), from_pico(assumed))
            self._close(held, billed, assumed)
        else:
            with pytest.raises(StoreError, match="settled before"):
                ledger.settle(held.hold, from_pico(billed), from_pico(assumed))

    @rule(held=consumes(holds))
    def release(self, held: Held):
        if held.open:
            self.ledgers[held.owner].release(held.hold)
            self._close(held, 0, 0)

    @rule(owner=st.sampled_from(OWNERS))
    def crash(self, owner: str):
        self.databases[owner].close()
        self.databases[owner] = self._open()
        self.ledgers[owner] = SqlLedger(self.databases[owner], owner)
        lost = [held for held in self.held if held.open and held.owner == owner]
        assert self._book_orphans(owner) == from_pico(sum(held.bound for held in lost))
        for held in lost:
            self._close(held, 0, held.bound)
        assert self._book_orphans(owner) == 0

    def _book_orphans(self, owner: str) -> Decimal:
        return book_orphans(self.ledgers[owner], SqlJournal(self.databases[owner]), SystemClock())

    @precondition(lambda self: self.held)
    @rule(owner=st.sampled_from(OWNERS), name=st.sampled_from(["run", "team"]), more=st.integers(0, 500))
    def change_limit(self, owner: str, name: str, more: int):
        scope = self.scopes[name]
        scope.limit = scope.spent + scope.held + more
        self.ledgers[owner].set_limits({name: from_pico(scope.limit)})

    @invariant()
    def sums_match_and_caps_hold(self):
        for owner, database in self.databases.items():
            rows = {row.name: row for row in database.connection.execute(scopes_table.select())}
            for name, scope in self.scopes.items():
                row = rows[name]
                assert (row.billed_pico, row.assumed_pico, row.held_pico) == (scope.billed, scope.assumed, scope.held)
                assert row.held_pico >= 0
                assert row.limit_pico is None or row.billed_pico + row.assumed_pico + row.held_pico <= row.limit_pico
                assert self.ledgers[owner].spent(name) == (from_pico(scope.billed), from_pico(scope.assumed))
            open_ = database.connection.execute(holds_table.select()).all()
            assert sum(row.bound_pico for row in open_) == sum(held.bound for held in self.held if held.open)


LedgerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestLedger = LedgerMachine.TestCase


def test_two_processes_share_a_scope_to_the_last_pico_dollar(tmp_path: Path):
    with Database(tmp_path / "records.db") as first, Database(tmp_path / "records.db") as second:
        ledgers = [SqlLedger(first, "one"), SqlLedger(second, "two")]
        ledgers[0].set_limits({"run": Decimal("1e-11")})
        for i in range(10):
            ledgers[i % 2].hold(("run",), Decimal("1e-12"), "key", Origin())
        for ledger in ledgers:
            with pytest.raises(BudgetExceeded):
                ledger.hold(("run",), Decimal("1e-12"), "key", Origin())
        assert book_orphans(ledgers[0], SqlJournal(first), SystemClock()) == Decimal("5e-12"), (
            "another owner's holds are left alone"
        )
        assert ledgers[1].spent("run") == (ZERO, Decimal("5e-12"))
