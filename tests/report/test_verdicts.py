from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report.verdicts import course_of, verdict_body

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_body_is_plain_json_and_says_what_the_sentences_say(
    tmp_path: Path, write_test: Callable[..., Results]
) -> None:
    results = write_test(tmp_path / "r.db", segments=["kind"])
    body = verdict_body(results)
    plain = json.loads(json.dumps(body, allow_nan=False))
    assert plain["verdicts"] == results.verdicts
    assert plain["plan"] == results.run.lock["plan"]
    assert [(c["sentence"], c["verdict"]) for c in plain["comparisons"]] == [
        (c.sentence, c.verdict) for c in results.comparisons
    ]
    cost = results.comparisons[0].cost
    assert cost is not None
    assert plain["comparisons"][0]["cost"]["difference"]["low"] == cost.difference.low
    assert plain["comparisons"][0]["quality"][0]["margin"] == 0.03
    assert [(s["column"], s["value"]) for s in plain["segments"]] == [("kind", v) for v in "aabb"]
    assert [s["comparison"]["n"] for s in plain["segments"]] == [80, 79, 80, 80]  # one answer of an arm failed
    assert plain["confirmation"] is None
    assert plain["false_difference_rate"] is None


def test_the_body_has_the_confirmation_and_the_rate_of_an_aa_test(
    tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    arms = [arm("verbose", output_tokens=120), arm("terse")]
    confirmed = verdict_body(write_test(tmp_path / "a.db", arms, n=300, confirm=0.5))["confirmation"]
    assert (confirmed["part"], confirmed["n"], confirmed["verdict"]) == ("held out", 150, "cheaper, not worse")
    alike = write_test(tmp_path / "b.db", arms, n=20, mode="fixed", aa="relabelled", relabel=7)
    assert verdict_body(alike)["false_difference_rate"] == alike.false_difference_rate < 0.1


def test_a_winner_that_is_not_confirmed_is_not_called_confirmed(
    tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    arms = [arm("verbose", output_tokens=120), arm("terse")]
    results = write_test(tmp_path / "r.db", arms, n=60, mode="fixed", confirm=0.2, margin={"bertscore_f1": 0.012})
    assert results.confirmation is not None
    assert results.confirmation.verdict == "cheaper, undecided"
    assert results.verdicts[-1].startswith("not confirmed on held-out samples: ")


def test_without_a_sample_nothing_is_said_to_be_not_worse(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db", n=0)
    assert {c.verdict for c in results.comparisons} == {"cannot tell"}
    course = course_of(results, results.comparisons[0])
    assert (course.asked, course.paths) == (0, {})


def test_the_course_shrinks_to_the_declared_interval(
    tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    results = write_test(tmp_path / "r.db", [arm("verbose", output_tokens=120), arm("terse", quality=0.8)])
    comparison = results.comparisons[0]
    course = course_of(results, comparison)
    assert (course.asked, course.planned) == (160, 160)
    assert list(course.paths) == ["list_usd", "bertscore_f1"]
    for judgement in comparison.judged:
        points = course.paths[judgement.difference.name]
        steps = [n for n, _ in points]
        assert steps == sorted(set(steps))
        (n, last), (_, first) = points[-1], points[0]
        assert n == judgement.difference.n
        assert last.level == pytest.approx(0.95)
        assert last.difference == pytest.approx(judgement.difference.difference)
        assert judgement.difference.level == pytest.approx(0.95)  # all claims are made, so no share is left to others
        assert (last.low, last.high) == pytest.approx((judgement.difference.low, judgement.difference.high))
        assert last.high - last.low < (first.high - first.low) / 3


def test_the_course_of_a_stopped_test_ends_where_it_stopped(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db")
    results.panel = results.panel.seen(60)
    course = course_of(results, results.comparisons[0])
    assert (course.asked, course.planned) == (60, 160)
    assert course.paths["bertscore_f1"][-1][0] == 60


@pytest.mark.parametrize(("part", "n"), [("selection", 200), ("held out", 100)])
def test_the_course_keeps_to_the_samples_of_its_comparison(
    part: str, n: int, tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    arms = [arm("verbose", output_tokens=120), arm("terse")]
    results = write_test(tmp_path / "r.db", arms, n=300, confirm=1 / 3)
    comparison = results.comparisons[0] if part == "selection" else results.confirmation
    assert comparison is not None
    assert comparison.part == part
    selection, held_out = results.test.parts(results.panel)
    panel = selection if part == "selection" else held_out
    pairs = panel.pairs(*results.labels, "bertscore_f1", prefix=True)
    course = course_of(results, comparison)
    assert (course.asked, course.planned) == (n, n)
    assert course.paths["bertscore_f1"][-1][1].difference == pytest.approx(
        float(np.mean(pairs.treatment - pairs.control))
    )


def test_two_variants_of_a_grid_have_a_course_too(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "r.db", plan={"kind": "grid"}, n=150)
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    course = course_of(results, results.compare("verbose", "terse"))
    assert course.paths["list_usd"][-1][0] == 150
