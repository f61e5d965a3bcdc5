"""Comparisons from records to words."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.abtest import AbTest
from paretoken.analysis.panel import Panel, drawn, tabulate
from paretoken.analysis.verdict import percent
from records_rig import arm, record, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.verdict import Comparison
    from paretoken.core.trials import Record

FREE = {"a": {"list_usd": (0.0, 0.0)}, "b": {"list_usd": (0.0, 0.0)}}


def panel_of(a: Sequence[Record], b: Sequence[Record], repeats: int = 1) -> Panel:
    order = list(dict.fromkeys(r.sample for r in a))
    table = table_of([*(replace(r, variant="a") for r in a), *(replace(r, variant="b") for r in b)])
    return tabulate(table, order, np.arange(len(order)), repeats)


def judged(
    a: Sequence[Record], b: Sequence[Record], margin: float | None = None, *, unseen: int = 0, repeats: int = 1,
    **changes: Any,
) -> Comparison:  # fmt: skip
    margins = changes.pop("margins", {} if margin is None else {"f1": margin})
    test = AbTest("a", ("b",), {"a": "A", "b": "B"}, ("f1",), margins, **changes)
    return test.compare(panel_of(a, b, repeats), unseen=unseen)[0]


def cost(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    found = judged(arm(a, a), arm(b, b)).cost
    assert found is not None
    return found.difference


def test_repeats_are_averaged_before_they_are_compared() -> None:
    other = [record(f"s{i}", score=0.3) for i in range(12)]
    once = [record(f"s{i}", score=i / 20) for i in range(12)]
    thrice = [record(f"s{i}", repeat=r, score=i / 20 + (r - 1) * 0.1) for i in range(12) for r in range(3)]
    one, three = (judged(other, records).quality[0].difference for records in (once, thrice))
    assert (three.n, three.low, three.high) == pytest.approx((one.n, one.low, one.high))


def test_tails_of_latency_are_those_of_the_first_answers() -> None:
    answers = [record(f"s{i}", repeat=r, latency_s=i + 100.0 * r) for i in range(12) for r in range(3)]
    panel = panel_of(answers, [], 3)
    assert panel.values["latency_s"][0].tolist() == list(range(12))
    assert panel.asked.all(axis=1).tolist() == [True]
    assert not panel_of(answers[:-1], [], 3).asked[0, -1]


def test_a_sample_without_both_values_is_not_compared() -> None:
    rng = np.random.default_rng(6)
    a, b = arm(rng.random(20)), arm(rng.random(20))
    a[3], b[7] = record("s3", score=None), record("s7", usd=None)
    found = judged(a, b)
    assert (found.quality[0].difference.n, found.n) == (18, 19)
    assert "caution: f1: 2 of 20 samples lack a value and are left out" in found.sentence
    assert found.cost is not None
    assert found.cost.difference.n == 19


def test_more_than_a_tenth_without_a_value_is_too_much() -> None:
    rng = np.random.default_rng(6)
    a, b = arm(rng.random(20)), arm(rng.random(20))
    b[:3] = [record(f"s{i}", usd=None) for i in range(3)]
    assert "f1: cannot tell (3 of 20 samples lack a value)" in judged(a, b).sentence


def test_a_relative_interval_needs_a_clearly_positive_base() -> None:
    rng = np.random.default_rng(4)
    x, y = np.abs(rng.standard_cauchy(12)), rng.random(12)
    x[0] = 500
    found = cost(x, y)
    assert found.low is not None
    assert (found.relative_low, found.relative_high) == (None, None)


@given(st.integers(0, 1000))
@settings(max_examples=40)
def test_relative_and_absolute_interval_exclude_no_difference_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = cost(rng.gamma(5, 0.001, 25), rng.gamma(5, 0.0008, 25))
    assert found.low is not None
    assert found.high is not None
    assert found.relative_low is not None
    assert found.relative_high is not None
    assert (found.low > 0, found.high < 0) == (found.relative_low > 0, found.relative_high < 0)


def test_cheaper_and_not_worse() -> None:
    rng = np.random.default_rng(7)
    quality, price = rng.normal(0.6, 0.1, 60), rng.gamma(20, 0.0001, 60)
    found = judged(arm(quality, price), arm(quality + rng.normal(0, 0.01, 60), 0.6 * price), margin=0.01)
    assert found.verdict == "cheaper, not worse"
    assert found.answered
    assert found.sentence.startswith(
        'treatment "B" against "A": 40 % cheaper (95 % CI 40 to 40 %), and equivalent on f1 (margin 0.01;'
    )
    assert found.sentence.endswith("; on inputs like these (n = 60)")


@pytest.mark.parametrize(
    ("shift", "margin", "finding"),
    [
        (0.05, None, "better"),
        (-0.05, None, "worse"),
        (0.0, None, "undecided"),
        (-0.05, 0.01, "worse"),
        (0.05, 0.01, "better"),
        (-0.01, 0.01, "undecided"),
        (-0.01, 0.05, "not worse"),
    ],
)
def test_findings(shift: float, margin: float | None, finding: str) -> None:
    noise = np.tile([0.02, -0.02], 15)
    found = judged(arm(np.full(30, 0.6)), arm(0.6 + shift + noise), margin)
    assert found.quality[0].finding == finding
    assert ("undecided: " in found.sentence) == (finding == "undecided")


def test_an_undecided_question_says_what_it_would_take() -> None:
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 0.1, 50)
    found = judged(arm(np.full(50, 0.6)), arm(0.615 + noise - noise.mean()))
    assert found.needs is not None
    assert 300 < found.needs < 600  # two-sided, at 97.5 %: (2.24 + 0.84)² · (0.1 / 0.015)² = 422
    assert "more samples" in found.sentence


def test_nothing_in_common_is_said() -> None:
    said = 'treatment "B" against "A": no sample is answered by both'
    assert judged(arm([0.5] * 12), []).sentence == said
    assert judged(arm([0.5] * 12), [record("elsewhere")]).sentence == said


def test_more_comparisons_widen_the_interval() -> None:
    rng = np.random.default_rng(8)
    a, b = arm(rng.random(30)), arm(rng.random(30))
    one, five = (judged(a, b, unseen=k).quality[0].difference for k in (0, 4))
    assert one.low is not None
    assert five.low is not None
    assert (one.level, five.level) == pytest.approx((0.975, 0.995))
    assert five.low < one.low


def test_a_dataset_answers_once_all_of_it_is_seen() -> None:
    rng = np.random.default_rng(12)
    a, b = arm(rng.random(60)), arm(rng.random(60))
    finite = {"mode": "continuous", "population": "dataset", "settled": frozenset("ab"),
              "ranges": {id_: {"f1": (0.0, 1.0), "list_usd": (0.0, 1.0)} for id_ in "ab"}}  # fmt: skip
    part, whole = judged(a, b[:30], margin=0.01, **finite), judged(a, b, margin=0.01, **finite)
    assert part.quality[0].finding == "undecided"
    assert 30 < (part.quality[0].needs or 0) <= 60
    assert "hardly" not in part.sentence
    assert whole.quality[0].finding != "undecided"
    assert "undecided: the two are exactly equal" in whole.sentence  # in cost


@pytest.mark.parametrize("mode", ["fixed", "continuous"])
def test_free_models_cost_the_same(mode: str) -> None:
    free = np.zeros(12)
    found = judged(arm(free, free), arm(free, free), ranges=FREE, mode=mode)
    assert "no cost difference shown ($0 to $0 per 1,000 calls)" in found.sentence


def test_what_costs_anything_is_dearer_than_what_is_free() -> None:
    ranges = FREE | {"b": {"list_usd": (0.0, 0.01)}}
    found = judged(arm(np.zeros(12), np.zeros(12)), arm(np.zeros(12), np.full(12, 1e-4)), ranges=ranges)
    assert "more expensive by $0.1 per 1,000 calls" in found.sentence


def test_a_cost_with_a_margin_is_told_by_the_margin() -> None:
    price = np.random.default_rng(9).gamma(20, 0.0001, 40)
    dearer = 0.1 * float(price.mean())
    within, open_ = (
        judged(arm(price, price), arm(price, 1.1 * price), margins={"list_usd": margin}) for margin in (0.001, dearer)
    )
    assert "cost within its margin of $0.001 a call (+10% to +10%)" in within.sentence
    assert within.verdict.startswith("cost within its margin, ")
    assert f"cost undecided at its margin of ${dearer:.3g} a call (+10% to +10%)" in open_.sentence


def test_a_small_saving_keeps_a_decimal() -> None:
    price = np.random.default_rng(9).gamma(20, 0.0001, 40)
    assert "2.0 % cheaper (95 % CI 2.0 to 2.0 %)" in judged(arm(price, price), arm(price, 0.98 * price)).sentence


def test_more_than_twice_as_dear_is_told_in_whole_percents() -> None:
    price = np.random.default_rng(9).gamma(20, 0.0001, 40)
    assert "250 % more expensive (95 % CI 250 to 250 %)" in judged(arm(price, price), arm(price, 3.5 * price)).sentence


def test_a_saving_is_never_shown_with_a_relative_interval_that_denies_it() -> None:
    found = judged(arm(np.ones(20)), arm(np.ones(20)))
    assert found.cost is not None
    difference = replace(
        found.cost.difference, difference=-2e-4, low=-3e-4, high=-1e-5, relative=-0.2, relative_low=-0.3,
        relative_high=0.01, reason=None,
    )  # fmt: skip
    told = replace(found, cost=replace(found.cost, finding="better", difference=difference)).sentence
    assert "cheaper by $0.2 per 1,000 calls (97.5 % CI $0.01 to $0.3)" in told


CLUSTERS = {f"s{i}": f"page{i // 3}" for i in range(30)}


@given(st.integers(0, 100), st.sets(st.integers(0, 29)))
@settings(max_examples=60)
def test_what_is_read_early_is_a_beginning_of_the_drawn_order_that_splits_no_cluster(
    seed: int, unasked: set[int]
) -> None:
    order, cluster = drawn(list(CLUSTERS), seed, CLUSTERS)
    pages = [CLUSTERS[id_] for id_ in order]
    assert [a == b for a, b in pairwise(pages)] == (np.diff(cluster) == 0).tolist()
    assert len(set(pages)) == 1 + int(np.sum(np.diff(cluster) > 0))  # so samples of one cluster are adjacent
    asked = np.array([id_ not in {f"s{i}" for i in unasked} for id_ in order])
    panel = Panel(
        order, ["a", "b"], cluster, np.array([asked, np.ones(30, bool)]), {"f1": np.arange(60.0).reshape(2, 30)}
    )
    n = panel.whole("a", "b")
    assert asked[:n].all()
    assert n in (0, 30) or pages[n - 1] != pages[n]
    assert n == 30 or not asked[[page == pages[n] for page in pages]].all()
    pairs = panel.pairs("a", "b", "f1", prefix=True)
    assert (len(pairs), pairs.asked) == (n, n)
    control, _, sizes = pairs.units()
    assert set(sizes) <= {3.0}
    assert control.sum() == pytest.approx(panel.values["f1"][0, :n].sum())


def test_a_variants_own_interval_counts_clusters_not_samples() -> None:
    rng = np.random.default_rng(12)
    level = rng.random(30)
    test = AbTest("a", ("b",), {}, ("f1",), {}, ranges={"a": {"f1": (0.0, 1.0)}})

    def own(size: int) -> tuple[float, float]:
        """Bounds of the mean of 30 clusters in which all samples are alike."""
        cluster = np.repeat(np.arange(30), size)
        asked = np.ones((1, len(cluster)), bool)
        panel = Panel([f"s{i}" for i in range(len(cluster))], ["a"], cluster, asked, {"f1": level[cluster][None]})
        found = test.estimate(panel, "a", "f1")
        assert found is not None
        return found

    assert own(4) == pytest.approx(own(1))


@given(st.floats(-3, 3))
def test_only_exactly_0_and_100_percent_read_so(rate: float) -> None:
    told = float(percent(rate))
    assert (told in (0, 100, -100)) == (100 * rate in (0, 100, -100))
    assert told == pytest.approx(100 * rate, abs=0.5, rel=0.5)


@pytest.mark.parametrize(
    ("rate", "told"),
    [(0.0, "0"), (-0.0, "0"), (0.0004, "0.04"), (0.031, "3.1"), (-0.0386, "-3.9"), (0.0996, "10"), (0.48, "48"),
     (0.996, "99.6"), (0.99996, "99.996"), (1.0, "100"), (1.00004, "100.004"), (2.5, "250")],
)  # fmt: skip
def test_percents_have_more_digits_near_0_and_100(rate: float, told: str) -> None:
    assert percent(rate) == told
