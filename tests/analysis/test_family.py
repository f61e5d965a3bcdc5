"""Families of questions: what may be claimed of several quantities at once, and when nothing can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.abtest import AbTest
from paretoken.analysis.difference import Measure, Rules, measure
from paretoken.analysis.paired import SameDifference
from paretoken.analysis.panel import Pairs, Panel
from paretoken.analysis.power import chance_to_decide
from paretoken.analysis.verdict import decide_family, judge_family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

ALPHA = 0.1
RULES = {
    "mode": "fixed", "sequence": "betting", "population": "beyond", "settled": True, "n_units": 1000, "horizon": 100,
    "max_unit": 1, "ranges": {},
}  # fmt: skip
UNIT = {"a": {"f1": (0.0, 1.0), "list_usd": (0.0, 1.0)}, "b": {"f1": (0.0, 1.0), "list_usd": (0.0, 1.0)}}
CONTINUOUS = {"mode": "continuous", "ranges": UNIT}


def evidence(
    control: ArrayLike, treatment: ArrayLike, name: str = "f1", *, missing: int = 0, cluster: ArrayLike | None = None,
    **rules: Any,
) -> Measure:  # fmt: skip
    a, b = np.asarray(control, float), np.asarray(treatment, float)
    groups = np.arange(len(a)) if cluster is None else np.asarray(cluster)
    found = measure(name, Pairs(a, b, groups, len(a) + missing), Rules(**(RULES | rules)), "a", "b")
    assert found is not None
    return found


def shifted(rng: np.random.Generator, by: float, n: int = 40, name: str = "f1", **rules: Any) -> Measure:
    """Normal differences around a true one."""
    return evidence(np.full(n, 0.5), 0.5 + by + rng.normal(0, 0.1, n), name, **rules)


def wrong(finding: str, truth: float, margin: float | None) -> bool:
    """Whether a claim is false of a true gain."""
    false = {"better": truth <= 0, "not worse": truth <= -(margin or 0), "worse": truth >= -(margin or 0)}
    return false.get(finding, False)


FAMILIES = [
    [(0.0, None), (0.0, None), (0.0, None)],
    [(-0.05, 0.05), (0.0, 0.05), (0.0, None), (0.2, None), (-0.3, 0.05)],
    [(-0.05, 0.05), (-0.05, 0.05), (0.3, 0.05), (0.3, None), (0.05, 0.05)],
]


@pytest.mark.parametrize("family", FAMILIES)
def test_any_wrong_claim_is_as_rare_as_promised(family: list[tuple[float, float | None]]) -> None:
    rng = np.random.default_rng(1)
    errors = 0
    for _ in range(1000):
        findings, _ = decide_family([(shifted(rng, truth), margin) for truth, margin in family], ALPHA)
        errors += any(wrong(f, *question) for f, question in zip(findings, family, strict=True))
    assert errors / 1000 <= ALPHA + 0.025  # 2.6 standard errors


def test_a_wrong_claim_of_equivalence_is_no_more_frequent() -> None:
    rng = np.random.default_rng(2)
    errors = 0
    for _ in range(500):
        judged = judge_family([(shifted(rng, 0.05), 0.05) for _ in range(3)], ALPHA)
        errors += any(j.equivalent for j in judged)
    assert errors / 500 <= ALPHA + 0.035


def test_looking_all_the_time_makes_no_more_wrong_claims() -> None:
    rng = np.random.default_rng(3)
    family, errors = ((-0.1, 0.1), (0.0, None)), 0
    for _ in range(150):
        values = [(rng.random(120) < 0.6, rng.random(120) < 0.6 + truth) for truth, _ in family]
        for n in range(20, 121, 20):
            seen = [evidence(a[:n], b[:n], **CONTINUOUS) for a, b in values]
            findings, _ = decide_family([(m, q[1]) for m, q in zip(seen, family, strict=True)], ALPHA)
            if any(wrong(f, *question) for f, question in zip(findings, family, strict=True)):
                errors += 1
                break
    assert errors / 150 <= ALPHA


def rank(finding: str) -> int:
    return ["undecided", "not worse", "better", "worse"].index(finding)


@given(seed=st.integers(0, 10_000), truths=st.lists(st.sampled_from([-0.08, -0.03, 0.0, 0.03, 0.08]), max_size=6))
@settings(max_examples=60)
def test_whatever_bonferroni_shows_the_family_shows(seed: int, truths: list[float]) -> None:
    rng = np.random.default_rng(seed)
    questions = [(shifted(rng, truth), margin) for truth, margin in zip(truths, [None, 0.05] * 3, strict=False)]
    findings, error = decide_family(questions, ALPHA)
    for question, finding in zip(questions, findings, strict=True):
        ((alone,), strict) = decide_family([question], ALPHA / len(questions))
        assert error >= strict
        assert rank(finding) >= rank(alone)
        assert (finding == "worse") >= (alone == "worse")


def test_a_claim_made_passes_its_share_on() -> None:
    rng = np.random.default_rng(4)
    sure, open_ = shifted(rng, 1.0), shifted(rng, 0.0)
    assert decide_family([(open_, None)] * 4, ALPHA)[1] == pytest.approx(ALPHA / 8)
    assert decide_family([(open_, None)] * 2 + [(sure, None)] * 2, ALPHA)[1] == pytest.approx(ALPHA / 4)
    assert decide_family([(open_, None)] * 2 + [(sure, None)] * 2, ALPHA, unseen=1)[1] == pytest.approx(ALPHA / 6)
    assert decide_family([(sure, None)], ALPHA)[1] == ALPHA / 2


@given(seed=st.integers(0, 10_000), alphas=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.4)))
@settings(max_examples=60)
def test_a_claim_is_never_turned_round_at_a_larger_error(seed: int, alphas: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    chance = np.repeat(rng.permutation([0.1, 0.9]), 40)  # a drift, by which both sides may seem to be refuted
    drifting = evidence(np.full(80, 0.5), rng.random(80) < chance, **CONTINUOUS)
    for margin in (None, 0.05):
        (early,), (late,) = (decide_family([(drifting, margin)], alpha)[0] for alpha in sorted(alphas))
        assert late == early or early == "undecided" or (early, late) == ("not worse", "better")


def test_all_intervals_of_a_family_have_one_level() -> None:
    rng = np.random.default_rng(5)
    judged = judge_family([(shifted(rng, by), 0.05) for by in (0.0, 0.2, -0.2, 0.0)], ALPHA)
    assert len({j.difference.level for j in judged}) == 1
    for j in judged:
        assert j.difference.low is not None
        assert j.difference.high is not None
        assert (j.finding == "better") == (j.difference.low > 0)
        assert (j.finding == "worse") == (j.difference.high < -0.05)


def test_costs_are_better_where_they_are_smaller() -> None:
    rng = np.random.default_rng(6)
    (judged,) = judge_family([(shifted(rng, -0.2, name="list_usd"), None)], ALPHA)
    assert judged.finding == "better"


EVEN = np.tile([0.4, 0.6], 10)


@pytest.mark.parametrize("rules", [{}, CONTINUOUS | {"ranges": {}}, CONTINUOUS | {"sequence": "asymptotic"}])
@pytest.mark.parametrize(("by", "finding"), [(0.1, "better"), (-0.1, "worse"), (0.0, "undecided")])
def test_a_constant_difference_is_told(rules: dict[str, Any], by: float, finding: str) -> None:
    (judged,) = judge_family([(evidence(EVEN, EVEN + by, **rules), None)], ALPHA)
    assert judged.finding == finding
    assert judged.difference.low == judged.difference.high == pytest.approx(by)
    assert "all 20 differences are equal" in judged.difference.warning


def test_a_constant_cost_is_told_as_a_ratio() -> None:
    price = np.full(20, 0.0003)
    (judged,) = judge_family([(evidence(price, 1.25 * price, "list_usd", ranges={}), None)], ALPHA)
    assert (judged.finding, judged.difference.relative_low) == ("worse", pytest.approx(0.25))


@given(st.integers(10, 40), st.floats(0.001, 0.2))
def test_a_constant_difference_is_told_no_more_often_than_coins_would_agree(n: int, error: float) -> None:
    found = SameDifference(1.0, n)
    assert found.p_above(0) == 0.5**n
    assert (found.interval(error) == (1.0, 1.0)) == (0.5**n <= error)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (evidence(EVEN[:9], EVEN[9:18]), "only 9 common samples, at least 10 are needed"),
        (evidence(EVEN, EVEN[::-1], cluster=np.arange(20) // 3), "only 7 clusters, at least 10 are needed"),
        (evidence(EVEN, EVEN[::-1], missing=3), "3 of 23 samples lack a value"),
        (evidence([], [], missing=12), "12 of 12 samples lack a value"),
        (evidence(EVEN, EVEN + 1.1, **CONTINUOUS), "a value lies outside the range that f1 was declared to have"),
        (evidence(EVEN, EVEN[::-1], **CONTINUOUS | {"sequence": "asymptotic"}), "an asymptotic interval needs 100 "
         "samples; there are 20"),
        (evidence(EVEN, EVEN[::-1], **CONTINUOUS | {"ranges": {}}), "f1 has no bounds here, and an asymptotic interval "
         "needs 100 samples; there are 20"),
        (evidence(EVEN, EVEN[::-1], "latency_s.p95"), "20 samples are too few for p95"),
        (evidence(np.tile(EVEN, 3), np.tile(EVEN, 3), "latency_s.p50", cluster=np.arange(60) // 2),
         "quantiles are not compared where samples come in clusters"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_says_why(found: Measure, reason: str) -> None:
    (judged,) = judge_family([(found, None)], ALPHA)
    assert (judged.finding, judged.difference.reason) == ("cannot tell", reason)


def test_the_chance_of_a_decision_grows_with_the_share_of_the_population_that_is_planned() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(60), rng.random(60)
    finite = CONTINUOUS | {"population": "dataset"}
    chances = [chance_to_decide(evidence(a, b, **finite | {"n_units": n}), 0.05, 0.025, 100) for n in (100, 140, 10**6)]
    assert chances[0] == pytest.approx(1)
    assert chances[0] > chances[1] > chances[2]
    assert chances[2] == pytest.approx(chance_to_decide(evidence(a, b, **CONTINUOUS), 0.05, 0.025, 100), abs=1e-3)


def test_differences_that_are_all_equal_are_judged_within_bounds() -> None:
    same = evidence(np.tile(EVEN, 3), np.tile(EVEN, 3), ranges=UNIT)
    assert [j.finding for j in judge_family([(same, None), (same, 0.5)], ALPHA)] == ["undecided", "not worse"]


def test_a_census_of_settled_answers_decides_everything() -> None:
    a, b = np.random.default_rng(7).random((2, 30))
    for mode in ("fixed", "continuous"):
        rules = {"population": "dataset", "n_units": 30, "mode": mode, "ranges": UNIT}
        (judged,) = judge_family([(evidence(a, b, **rules), None)], 0.001)
        mean = float((b - a).mean())
        assert (judged.difference.low, judged.difference.high) == pytest.approx((mean, mean))
        assert judged.finding == ("better" if mean > 0 else "worse")
        (judged,) = judge_family([(evidence(a, b, **rules | {"settled": False}), None)], 0.001)
        assert judged.finding == "undecided"


def panel(values: dict[str, Sequence[Sequence[float]]], *, asked: Sequence[bool] = (True, True)) -> Panel:
    n = len(next(iter(values.values()))[0])
    rows = np.repeat(np.array(asked)[:, None], n, axis=1)
    return Panel(
        [f"s{i}" for i in range(n)], ["a", "b", "c"][: len(asked)], np.arange(n), rows,
        {name: np.array(column, float) for name, column in values.items()},
    )  # fmt: skip


def ab_test(treatments: tuple[str, ...] = ("b",), **changes: Any) -> AbTest:
    labels = {"a": "A", "b": "B", "c": "C"}
    return AbTest("a", treatments, labels, ("f1",), {}, **{"alpha": ALPHA, "ranges": UNIT} | changes)


def test_a_metric_without_a_single_value_makes_no_winner() -> None:
    cost = np.random.default_rng(8).gamma(20, 0.001, (2, 40)) * [[1.0], [0.5]]
    test = ab_test(confirm=0.5)
    for unscored in ({}, {"f1": np.full((2, 40), np.nan)}):
        (found,) = test.compare(panel({"list_usd": cost, **unscored}))
        assert found.verdict == "cheaper, cannot tell"
        assert "f1: cannot tell (40 of 40 samples lack a value)" in found.sentence
        assert test.winner([found]) is None
        assert not found.answered
        assert test.look(panel({"list_usd": cost, **unscored})) == {}


def test_questions_of_a_treatment_that_is_still_to_be_asked_count() -> None:
    rng = np.random.default_rng(9)
    values = {"list_usd": rng.random((3, 40)), "f1": rng.random((3, 40))}
    test = ab_test(("b", "c"), mode="continuous")
    both, first = (
        test.compare(panel(values, asked=(True, True, asked)))[0].quality[0].difference for asked in (True, False)
    )
    assert both.level == first.level == pytest.approx(1 - 2 * ALPHA / 8)


@pytest.mark.parametrize("mode", ["fixed", "continuous"])
def test_relabelled_arms_differ_by_chance_alone_even_at_a_census(mode: str) -> None:
    rng = np.random.default_rng(10)
    values = {"list_usd": rng.gamma(20, 0.001, (2, 40)), "f1": rng.random((2, 40))}
    ranges = {"a": UNIT["a"], "b": UNIT["b"] | {"list_usd": (0.0, 0.5)}}
    test = ab_test(mode=mode, population="dataset", settled=frozenset({"a", "b"}), ranges=ranges)
    assert test.false_differences(panel(values), 150) <= ALPHA + 0.06
    (found,) = AbTest.compare(test, panel(values))
    assert "undecided" not in found.verdict  # the very same pairs, not relabelled, are known
