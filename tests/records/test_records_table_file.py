"""The table of a large run is kept beside the database, and never believed where the entries say otherwise."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Score
from paretoken.core.trials import RunInfo
from paretoken.records import Database, SqlJournal, build_records, read_records, read_table, table_file, table_path
from paretoken.records.table import build_table
from records_rig import record

RUN = RunInfo("run", "e", "i", "2026-01-05T00:00:00+00:00", "finished", "", {})


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / ".paretoken" / "paretoken.db") as database:
        yield database


def write(database, records):
    journal = SqlJournal(database)
    for r in records:
        journal.append([r.call, *r.scores.values()])


def alike(a, b):
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name))
        if f.name != "values"
        else all(np.array_equal(a.values[n], b.values[n], equal_nan=True) for n in {**a.values, **b.values})
        for f in fields(a)
    )


def some(n=6):
    scored = [record(f"s{i}", variant, score=None if i == 2 else i / 7) for i in range(n) for variant in "ab"]
    return [*scored, record("s9", "b", usd=None)]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(table_file, "LEAST_ENTRIES", 5)


def test_what_is_read_from_the_file_is_what_the_entries_say(database, few, monkeypatch):
    write(database, some())
    built = read_table(database, RUN)
    assert alike(built, build_table(SqlJournal(database).rows("run")))
    monkeypatch.setattr(table_file, "build_table", None)  # must not be needed
    assert alike(read_table(database, RUN), built)


def test_small_runs_leave_no_file(database):
    write(database, some())
    read_table(database, RUN)
    assert not table_path(database, "run").exists()


@pytest.mark.parametrize("change", ["more", "again", "torn", "other"])
def test_a_file_of_other_entries_or_a_torn_one_is_not_believed(database, few, change):
    write(database, some())
    read_table(database, RUN)
    path, run = table_path(database, "run"), RUN
    if change == "more":
        write(database, [record("s0", "a", score=0.25)])  # an answer scored again
    elif change == "again":
        run = replace(RUN, started_at="2026-01-06T00:00:00+00:00")
    elif change == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(b"no table")
    found = read_table(database, run)
    assert alike(found, build_table(SqlJournal(database).rows("run")))
    assert alike(read_table(database, run), found)
    if change == "more":
        assert found.values["f1"][0] == 0.25


def test_a_digit_that_changed_in_the_file_is_noticed(database, few):
    write(database, some(200))
    built = read_table(database, RUN)
    path = table_path(database, "run")
    body = bytearray(path.read_bytes())
    body[body.index(np.float64(1 / 7).tobytes())] ^= 1
    path.write_bytes(bytes(body))
    assert alike(read_table(database, RUN), built)


def test_a_file_that_cannot_be_written_costs_nothing_but_time(database, few):
    write(database, some())
    table_path(database, "run").parent.parent.write_text("in the way")
    assert len(read_table(database, RUN)) == 13


entry = st.tuples(st.sampled_from(["s1", "s2", "s3"]), st.sampled_from("ab"), st.integers(0, 1),
                  st.sampled_from(["call", "score", "failed"]))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(written=st.lists(entry, max_size=25), at_once=st.integers(1, 6))
def test_streamed_records_are_those_that_are_folded_at_once(tmp_path_factory, written, at_once):
    with Database(tmp_path_factory.mktemp("db") / "paretoken.db") as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr("paretoken.records.view.ENTRIES_AT_ONCE", at_once)
        journal = SqlJournal(database)
        for i, (sample, variant, repeat, what) in enumerate(written):
            r = record(sample, variant, repeat, usd=None if what == "failed" else "0.001")
            journal.append([Score(r.call.origin, "s", f"m{i % 2}", float(i))] if what == "score" else [r.call])
        whole = build_records(journal.read("run"))
        assert list(read_records(journal, "run")) == whole
        for among in (
            {"sample": ["s1", "s3"]},
            {"variant": ["b"]},
            {"sample": ["s2"], "variant": ["a"]},
            {"sample": []},
        ):
            wanted = [r for r in whole if all(getattr(r, name) in ids for name, ids in among.items())]
            assert list(read_records(journal, "run", **among)) == wanted
