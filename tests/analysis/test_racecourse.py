from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.hypervolume import Box
from paretoken.analysis.racecourse import N_LOOKS, race_course, variant_course
from paretoken.analysis.sequences import Betting
from paretoken.records.table import RecordTable

GOALS = [("list_usd", 1.0), ("quality", -1.0)]


def table(rows: list[tuple[int, int, float, float]]) -> RecordTable:
    """Records `(variant, sample, cost, quality)`, answered in this order but stored backwards."""
    rows = [(v, s, c, q, float(i)) for i, (v, s, c, q) in enumerate(rows)][::-1]
    variant, sample, cost, quality, at = (np.array(column) for column in zip(*rows, strict=True))
    no = np.zeros(len(rows), np.bool_)
    return RecordTable(
        sample_ids=[f"s{i}" for i in range(sample.max() + 1)], variant_ids=["a", "b", "c"],
        sample=sample, variant=variant, repeat=np.zeros(len(rows), np.int64), at_s=at, answer=np.arange(len(rows)),
        failed=no, from_cache=no, estimated=no, cut=no, withheld=no, thought=no,
        list_pico=(cost * 1e12).astype(np.int64),
        bill_pico=np.zeros(len(rows), np.int64), values={"list_usd": cost, "quality": quality},
        unanswered_pico={}, missing={}, notes={},
    )  # fmt: skip


FINAL = {"a": [1.0, -0.9], "b": [0.5, -0.5], "c": [2.0, -0.4]}
BOX = Box.around(np.array(list(FINAL.values())))
RACE = table([
    (0, 0, 1.0, 0.1), (1, 0, 0.5, 0.5), (2, 0, 2.0, 0.9),  # c seems best
    (0, 1, 1.0, 0.9), (1, 1, 0.5, 0.5), (2, 1, 2.0, 0.0),
    *((arm, i, (1.0, 0.5)[arm], (0.9, 0.5)[arm]) for i in range(2, 10) for arm in (0, 1)),
])  # fmt: skip


def test_a_front_is_chosen_by_what_was_known_and_measured_by_what_is_known_now() -> None:
    looks = race_course(RACE, FINAL, {"c": 2}, GOALS, {}, BOX)
    first, last = looks[0], looks[-1]
    assert first.cells == 3
    assert first.usd == pytest.approx(3.5)
    assert first.on_front == 2, "b and c; a seemed worse than b, which is cheaper"
    assert first.hypervolume == pytest.approx(BOX.hypervolume(np.array([FINAL["b"], FINAL["c"]])))
    assert last.hypervolume == pytest.approx(BOX.hypervolume(np.array([FINAL["a"], FINAL["b"]])))
    assert (last.cells, last.entered, last.alive, last.on_front) == (22, 3, 2, 2)
    assert last.usd == pytest.approx(10 * 1.5 + 4.0)


def test_a_variant_leaves_with_its_last_sample() -> None:
    alive = {look.cells: look.alive for look in race_course(RACE, FINAL, {"c": 2}, GOALS, {}, BOX)}
    assert alive[5] == 3
    assert alive[6] == 2


def test_what_breaks_a_limit_is_not_on_the_front_nor_adds_to_it_what_breaks_one_in_the_end() -> None:
    limited = race_course(RACE, FINAL, {}, GOALS, {"quality": (">=", 0.45)}, BOX)
    assert limited[-1].on_front == 2
    assert limited[0].on_front == 2, "a breaks it by its first answer"
    final = {"a": FINAL["a"], "b": FINAL["b"]}
    looks = race_course(RACE, final, {"c": 2}, GOALS, {}, BOX)
    assert looks[0].on_front == 2
    assert looks[0].hypervolume == pytest.approx(BOX.hypervolume(np.array([FINAL["b"]])))


def test_looks_are_few_and_none_without_cells() -> None:
    many = table([(arm, i, 1.0 + arm, 0.5) for i in range(100) for arm in range(3)])
    looks = race_course(many, FINAL, {}, GOALS, {}, BOX)
    assert len(looks) <= N_LOOKS
    assert [look.usd for look in looks] == sorted(look.usd for look in looks)
    assert race_course(many.on([]), FINAL, {}, GOALS, {}, BOX) == []


@settings(max_examples=15)
@given(st.integers(12, 150), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_a_variants_course_agrees_with_its_confidence_sequence(n: int, mean: float, seed: int) -> None:
    values = np.random.default_rng(seed).beta(4 * mean, 4 * (1 - mean), n)
    course = variant_course(values, (0.0, 1.0), 200, 0.025)
    assert [k for k, _ in course] == sorted({k for k, _ in course})
    for k, estimate in course[:: max(len(course) // 4, 1)]:
        low, high = Betting(values[:k], np.ones(k), 0.0, 1.0, horizon=200, total=200).interval(0.025)
        assert estimate.mean == pytest.approx(values[:k].mean())
        assert low - 0.15 <= estimate.low <= low + 0.005, "a little too wide where the wealth is steep"
        assert high - 0.005 <= estimate.high <= high + 0.15


def test_a_census_is_exact_and_unbounded_values_have_no_interval() -> None:
    values = np.linspace(0.0, 1.0, 30)
    k, last = variant_course(values, (0.0, 1.0), 30, 0.025)[-1]
    assert (k, last.low, last.high) == (30, last.mean, last.mean)
    for ends in (None, (0.0, math.inf), (0.0, 0.5)):
        assert all(e.low is None and e.high is None for k, e in variant_course(values, ends, 60, 0.025))
    assert variant_course(np.empty(0), (0.0, 1.0), 30, 0.025) == []
