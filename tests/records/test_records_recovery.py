from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from paretoken.core.calls import Attempt, Origin
from paretoken.core.errors import StoreError
from paretoken.core.usage import Usage
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger, recover
from paretoken.testing.clock import VirtualClock
from paretoken.testing.stores import AT, make_entries, make_response

if TYPE_CHECKING:
    from pathlib import Path

COST = Decimal("0.25")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Three hundred paid attempts with their answers, and one call in flight."""
    path = tmp_path / "records.db"
    with Database(path) as database:
        ledger, journal, cache = SqlLedger(database, "run"), SqlJournal(database), SqlCache(database, VirtualClock())
        ledger.set_limits({"run:run": Decimal(1000)})
        for number in range(300):
            origin = Origin("run", str(number), "v")
            ledger.settle(ledger.hold(("run:run",), COST, str(number), origin), COST, Decimal(0))
            journal.append([Attempt(str(number), origin, AT, "ok", Usage(), COST)])
            journal.append(make_entries("run")[2:4])
            cache.put(str(number), make_response(f"answer {number} " * 20))
        ledger.hold(("run:run",), COST, "in flight", Origin("run"))
    return path


def _entries(path: Path) -> dict[int, object]:
    with Database(path) as database:
        return dict(SqlJournal(database).read("run"))


def test_sound_records_are_kept_as_they_are(records: Path):
    before = _entries(records)
    found = recover(records)
    assert _entries(records) == before
    assert set(found.lost.values()) == {0}
    with Database(records) as database:
        ledger = SqlLedger(database, "run")
        assert ledger.spent("run:run") == (300 * COST, 0)
        assert [hold.key for hold in ledger.orphans()] == ["in flight"]


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_page_costs_what_was_on_it_and_is_named(records: Path, seed: int):
    before = _entries(records)
    chance, content = random.Random(seed), bytearray(records.read_bytes())
    page = chance.randrange(20, len(content) // 4096)
    content[page * 4096 : (page + 1) * 4096] = chance.randbytes(4096)
    records.write_bytes(content)
    damaged = records.read_bytes()

    found = recover(records)
    after = _entries(records)
    assert len(after) > 0.9 * len(before)
    assert all(before[number] == entry for number, entry in after.items()), "nothing that was not written"
    assert found.damaged.read_bytes() == damaged
    with Database(records) as database:
        database.check()
        ledger = SqlLedger(database, "run")
        attempts = sum(isinstance(entry, Attempt) for entry in after.values())
        assert ledger.spent("run:run")[0] >= attempts * COST
        ledger.hold(("run:run",), COST, "new", Origin())


def test_a_digit_that_changed_is_found(records: Path):
    content = records.read_bytes()
    assert content.count(b'"billed_pico":250000000000') > 200
    records.write_bytes(content.replace(b'"billed_pico":250000000000', b'"billed_pico":150000000000', 1))
    with pytest.raises(StoreError, match=r"entry \d+ of run run is damaged. `paretoken runs recover`"):
        _entries(records)
    found = recover(records)
    assert found.lost["entries"] + found.lost["responses"] == 1
    assert len(_entries(records)) >= 899
    with Database(records) as database:
        assert SqlLedger(database, "run").spent("run:run") == (300 * COST, 0)


def test_a_torn_log_keeps_what_was_committed_before(tmp_path: Path):
    path = tmp_path / "records.db"
    database = Database(path)
    journal = SqlJournal(database)
    for number in range(50):
        journal.append([Attempt(str(number), Origin("run"), AT, "ok")])
    log = path.with_name("records.db-wal")
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "records.db").write_bytes(path.read_bytes())
    (torn / "records.db-wal").write_bytes(log.read_bytes()[: -log.stat().st_size // 3])
    database.close()
    kept = [entry.request_key for entry in _entries(torn / "records.db").values()]
    assert kept == [str(number) for number in range(len(kept))]
    assert 10 < len(kept) < 50


def test_what_is_no_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "records.db"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match=r"records\.db"):
        recover(path)
    assert path.read_bytes() == b"no database at all" * 1000
