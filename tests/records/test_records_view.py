from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from paretoken.core.calls import Attempt, Call, Entry, Message, Origin, Request, Response, Score
from paretoken.core.usage import Usage
from paretoken.records import build_records

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _origin(sample: str, variant: str = "v", repeat: int = 0) -> Origin:
    return Origin("run", sample, variant, repeat)


def _call(origin: Origin, text: str | None) -> Call:
    request = Request("m", (Message("user", "x"),), 8, origin=origin)
    return Call(request, AT, None if text is None else Response(text, Usage()), None if text else "late")


def _build(*entries: Entry):
    return build_records(enumerate(entries, start=1))


def test_one_record_per_cell_in_the_order_of_first_calls():
    cells = [_origin("b"), _origin("a"), _origin("a", "w"), _origin("a", repeat=1)]
    records = _build(*(_call(cell, "one") for cell in cells), _call(cells[0], "two"))
    assert [(r.sample, r.variant, r.repeat) for r in records] == [(c.sample, c.variant, c.repeat) for c in cells]
    assert records[0].call.response.text == "two"


def test_a_later_call_replaces_the_call_and_its_scores():
    origin = _origin("a")
    (record,) = _build(
        _call(origin, "one"), Score(origin, "s", "chrf", 1.0), Score(origin, "s", "tone", 1.0),
        _call(origin, "two"), Score(origin, "s", "chrf", 2.0),
    )  # fmt: skip
    assert {name: score.value for name, score in record.scores.items()} == {"chrf": 2.0}


def test_a_later_score_replaces_the_earlier():
    origin = _origin("a")
    (record,) = _build(_call(origin, "x"), Score(origin, "s", "chrf", 1.0), Score(origin, "s", "chrf", None, "gone"))
    assert record.scores["chrf"].value is None


def test_a_failed_call_is_a_record_with_an_error_until_it_succeeds():
    origin = _origin("a")
    (failed,) = _build(_call(origin, None))
    assert failed.error == "late"
    (answered,) = _build(_call(origin, None), _call(origin, "x"))
    assert answered.error is None


def test_judges_attempts_and_scores_without_a_call_leave_no_record():
    origin = _origin("a")
    judge = replace(origin, role="judge")
    assert _build(_call(judge, "x"), Attempt("k", origin, AT, "ok"), Score(origin, "s", "chrf", 1.0)) == []
