from __future__ import annotations

import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from paretoken.core.calls import Origin
from paretoken.core.errors import NewerSchema, SpecError, StoreError
from paretoken.core.trials import RunInfo
from paretoken.records import Database, RunBook, SqlCache, SqlJournal, SqlLedger, database_path, project_root
from paretoken.records.database import SCHEMA_VERSION
from paretoken.testing.clock import VirtualClock
from paretoken.testing.stores import make_entries, make_response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAP = Decimal(1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "records.db") as opened:
        yield opened


def test_the_root_is_the_nearest_folder_with_a_mark(tmp_path: Path):
    deep = tmp_path / "project" / "experiments" / "copy"
    deep.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    assert project_root(deep) == tmp_path.resolve()
    (tmp_path / "project" / ".paretoken").mkdir()
    assert project_root(deep) == (tmp_path / "project").resolve()
    assert database_path(tmp_path) == tmp_path / ".paretoken" / "paretoken.db"


@pytest.mark.parametrize("folder", ["why?x=1", "50%25", "a b#c", "实验", "sub/sub"])
def test_any_path_can_hold_the_records(tmp_path: Path, folder: str):
    path = tmp_path / folder / "records.db"
    with Database(path):
        assert path.is_file()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "records.db"
    with Database(path) as database:
        SqlJournal(database).append(make_entries("run"))
        database.connection.exec_driver_sql(f"UPDATE schema SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(NewerSchema, match=rf"schema {SCHEMA_VERSION + 1}.*Upgrade") as caught:
        Database(path)
    assert caught.value.exit_code == 2
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM entries").fetchone() == (len(make_entries("run")),)
    raw.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    path = tmp_path / "records.db"
    path.write_text("id,input\n1,not a database, but long enough to be taken for one\n" * 20)
    with pytest.raises(StoreError, match=r"records\.db.*not a database"):
        Database(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.records\.db"):
        Database(tmp_path / "file" / "records.db")
    with pytest.raises(StoreError, match=r"file.deep.records\.db"):
        Database(tmp_path / "file" / "deep" / "records.db")
    with pytest.raises(StoreError, match="unable to open"):
        Database(tmp_path)


def test_many_may_open_new_records_at_once(tmp_path: Path):
    barrier, failures = threading.Barrier(8), []

    def open_one() -> None:
        barrier.wait()
        try:
            Database(tmp_path / "records.db").close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Database(tmp_path / "records.db") as database:
        assert database.connection.exec_driver_sql("SELECT version FROM schema").all() == [(SCHEMA_VERSION,)]


def test_money_attempt_and_answer_are_undone_together(database: Database):
    ledger, journal, cache = SqlLedger(database, "run"), SqlJournal(database), SqlCache(database, VirtualClock())
    ledger.set_limits({"run": CAP})
    hold = ledger.hold(("run",), CAP, "key", Origin())

    def fail_after(step: int) -> None:
        with database.transaction():
            ledger.settle(hold, Decimal("0.5"), Decimal(0))
            if step > 1:
                journal.append(make_entries("run")[:1])
            if step > 2:
                cache.put("key", make_response())
            raise LookupError

    for step in range(1, 4):
        with pytest.raises(LookupError):
            fail_after(step)
        assert ledger.spent("run") == (0, 0)
        assert list(journal.read("run")) == []
        assert cache.get("key") is None
    ledger.settle(hold, Decimal("0.5"), Decimal(0))
    assert ledger.spent("run") == (Decimal("0.5"), 0)


def test_a_full_disk_undoes_the_transaction_and_says_so(database: Database):
    journal, entries = SqlJournal(database), make_entries("run")
    journal.append(entries)
    pages = database.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    database.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"):
        journal.append(entries * 500)
    assert [entry for _, entry in journal.read("run")] == entries
    database.connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    journal.append(entries)
    assert len(list(journal.read("run"))) == 2 * len(entries)


def test_records_locked_by_another_are_a_store_error_and_later_writable(tmp_path: Path, database: Database):
    journal = SqlJournal(database)
    database.connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    with Database(tmp_path / "records.db") as other:
        with other.transaction(), pytest.raises(StoreError, match="locked"):
            journal.append(make_entries("run"))
        journal.append(make_entries("run"))


def test_damaged_records_are_a_store_error(tmp_path: Path):
    path = tmp_path / "records.db"
    with Database(path) as database:
        SqlJournal(database).append(make_entries("run") * 200)
    content = bytearray(path.read_bytes())
    content[len(content) // 4 :] = b"\xff" * (len(content) - len(content) // 4)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"records\.db"), Database(path) as database:
        list(SqlJournal(database).read("run"))


@pytest.mark.parametrize("content", ["hash", "none"])
def test_withheld_content_is_nowhere_in_the_file(tmp_path: Path, content: str):
    secrets = ("Describe 水壶.", "A kettle.", "kettle.png", '{"name": "f"}', "json_object", '\\"name\\"')
    path = tmp_path / "records.db"

    def bytes_written() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    with Database(path) as database:
        SqlJournal(database, content).append(make_entries("run"))
        while_open = bytes_written()
        calls = [entry for _, entry in SqlJournal(database).read("run")]
    for secret in secrets:
        for written in (while_open, bytes_written()):
            assert secret.encode() not in written
            assert secret.encode("unicode_escape") not in written
    assert calls[2].response.usage == make_response().usage
    assert calls[2].response.list_usd == make_response().list_usd
    assert calls[2].response.text.startswith("sha256:" if content == "hash" else "")
    with Database(tmp_path / "full.db") as database:
        SqlJournal(database).append(make_entries("run"))
    assert secrets[0].encode() in (tmp_path / "full.db").read_bytes()


def test_equal_texts_have_equal_hashes(database: Database):
    SqlJournal(database, "hash").append([*make_entries("run"), *make_entries("run")])
    texts = [entry.response.text for _, entry in SqlJournal(database).read("run") if getattr(entry, "response", None)]
    assert len(texts) == 2
    assert len(set(texts)) == 1


def test_an_old_answer_is_not_given_back(database: Database):
    clock = VirtualClock()
    cache = SqlCache(database, clock, max_age=timedelta(days=1))
    cache.put("key", make_response())
    clock.advance(24 * 3600)
    assert cache.get("key") == make_response()
    clock.advance(1)
    assert cache.get("key") is None
    cache.put("key", make_response("new"))
    assert cache.get("key") == make_response("new")


def _run(number: int, identity: str = "3f9a1c") -> RunInfo:
    suffix = f"-{number}" if number > 1 else ""
    return RunInfo(
        f"copy-{identity}{suffix}", "copy", identity, f"2026-01-01T00:00:0{number}+00:00", "running", "", {"wörk": [1]}
    )


class TestRunBook:
    def test_runs_are_found_by_id_prefix_and_last(self, database: Database):
        book = RunBook(database)
        with pytest.raises(SpecError, match="no run yet"):
            book.find("last")
        for run in (_run(2), _run(1), _run(3, "aaaaaa")):
            book.open(run, "hash", [])
        assert book.find("last") == _run(3, "aaaaaa")
        assert book.find("copy-3f9a1c") == _run(1)  # a whole id, though it is a prefix of another
        assert book.find("copy-3f9a1c-") == _run(2)
        assert book.find("copy-a").lock == {"wörk": [1]}
        with pytest.raises(SpecError, match="several runs: copy-3f9a1c, copy-3f9a1c-2"):
            book.find("copy-3")
        for nothing in ("copx", "3f9a1c", "%", "COPY-3f9a1c"):
            with pytest.raises(SpecError, match="no run is called"):
                book.find(nothing)
        assert book.of_identity("3f9a1c") == [_run(1), _run(2)]

    def test_a_run_is_opened_once(self, database: Database):
        book = RunBook(database)
        book.open(_run(1), "hash", [("s1", {})])
        with pytest.raises(StoreError, match="UNIQUE"):
            book.open(_run(1), "other", [("s1", {})])
        assert book.samples("other") == {}

    def test_a_run_ends_and_goes_on(self, database: Database):
        book = RunBook(database)
        book.open(_run(1), "hash", [])
        book.open(_run(2), "hash", [])
        book.close(_run(1).id, status="stopped", reason="budget", at="2026-01-02T00:00:00+00:00")
        ended = replace(_run(1), status="stopped", reason="budget", finished_at="2026-01-02T00:00:00+00:00")
        assert book.all() == [ended, _run(2)]
        book.reopen(_run(1).id, _run(1).lock)
        assert book.all() == [_run(1), _run(2)]

    def test_samples_are_written_once_and_keep_their_order(self, database: Database):
        book = RunBook(database)
        samples = [("10", {"input": "水壶"}), ("9", {"input": "b"}), ("a", {"input": None})]
        book.open(_run(1), "hash", samples)
        book.open(_run(2), "hash", samples)
        assert list(book.samples("hash").items()) == samples
        assert book.samples("unknown") == {}

    def test_removing_a_run_leaves_others_and_paid_answers(self, database: Database):
        book, journal, cache = RunBook(database), SqlJournal(database), SqlCache(database, VirtualClock())
        for number in (1, 2):
            book.open(_run(number), "hash", [])
            journal.append(make_entries(_run(number).id))
        cache.put("key", make_response())
        book.remove(_run(1).id)
        assert book.all() == [_run(2)]
        assert list(journal.read(_run(1).id)) == []
        assert [entry for _, entry in journal.read(_run(2).id)] == make_entries(_run(2).id)
        assert cache.get("key") == make_response()
