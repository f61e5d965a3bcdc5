"""Means with intervals, summaries of variants, and the front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats

from paretoken.analysis import summary
from paretoken.analysis.estimate import quantile, t_interval
from paretoken.analysis.front import find_front
from paretoken.analysis.objectives import Objectives
from records_rig import record, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.analysis.summary import VariantSummary
    from paretoken.core.trials import Record


def summarize(records: Sequence[Record], labels: Mapping[str, str]) -> list[VariantSummary]:
    return summary.summarize(table_of(records), labels)


def test_t_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).normal(3, 2, 17)
    for level in (0.9, 0.95, 0.99):
        ours = t_interval(values, level)
        low, high = scipy.stats.t.interval(level, 16, values.mean(), scipy.stats.sem(values))
        assert (ours.low, ours.high) == pytest.approx((low, high))


def test_one_value_has_no_interval() -> None:
    estimate = t_interval(np.array([0.4]))
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (0.4, None, None, 1)
    assert quantile(np.array([]), 0.5) is None


def test_repeats_are_averaged_before_they_count() -> None:
    once = [record(f"s{i}", score=i / 20) for i in range(12)]
    thrice = [record(f"s{i}", repeat=r, score=i / 20 + (r - 1) * 0.1) for i in range(12) for r in range(3)]
    one, three = (summarize(records, {"a": "A"})[0].estimates["f1"] for records in (once, thrice))
    assert three.n == one.n == 12
    assert (three.mean, three.low, three.high) == pytest.approx((one.mean, one.low, one.high))


def test_missing_values_are_left_out_and_counted() -> None:
    records = [record("s0"), record("s1", score=None), record("s2", usd=None), record("s3", latency_s=None)]
    (found,) = summarize(records, {"a": "A", "without records": "B"})
    assert (found.n, found.n_failed, found.error_rate) == (4, 1, 0.25)
    assert (found.estimates["f1"].n, found.estimates["list_usd"].n, found.estimates["latency_s"].n) == (2, 3, 2)
    assert found.missing == {"f1": {"empty reference": 1}}
    assert found.value("nothing") is None
    assert found.value("list_usd.p95") is None
    assert np.array_equal(table_of(records).values["f1"], [0.5, np.nan, np.nan, 0.5], equal_nan=True)
    (failed,) = summarize([record("s0", usd=None)], {"a": "A"})
    assert (failed.estimates, failed.latency_s, failed.list_usd_per_1k_tokens) == ({}, {}, None)


def test_front_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(10)
    goals = Objectives(("list_usd",), ("f1",), {"f1": (">=", 0.2)})
    for _ in range(20):
        values = rng.integers(0, 6, (12, 2))  # few values: ties and duplicates happen
        records = [record("s0", f"v{i}", score=int(q) / 5, usd=f"0.00{int(c)}") for i, (c, q) in enumerate(values)]
        summaries = summarize(records, {f"v{i}": f"v{i}" for i in range(12)})
        feasible = [i for i, (_, q) in enumerate(values) if q >= 1]

        def beats(j: int, i: int, values: np.ndarray = values) -> bool:
            (c, q), (d, p) = values[j], values[i]
            return bool(c <= d and q >= p and (c < d or q > p))

        for i, standing in enumerate(find_front(summaries, goals)):
            if i not in feasible:
                assert standing.broken
                assert not standing.on_front
                continue
            beaters = tuple(f"v{j}" for j in feasible if beats(j, i))
            assert standing.dominated_by == beaters
            assert standing.on_front == (not beaters)


def test_a_variant_without_a_value_is_not_ranked() -> None:
    records = [record("s0", "a", score=None), record("s0", "b", score=0.1, usd="0.5")]
    goals = Objectives(("list_usd",), ("f1",), {"error_rate": ("<=", 0.1)})
    a, b = find_front(summarize(records, {"a": "a", "b": "b"}), goals)
    assert (a.unknown, a.on_front, a.dominated_by) == (("f1",), False, ())
    assert b.on_front


def test_an_unknown_constrained_value_breaks_the_constraint() -> None:
    goals = Objectives(("list_usd",), (), {"f1": (">=", 0.2), "latency_s.p95": ("<=", 0.1)})
    (standing,) = find_front(summarize([record("s0", score=None)], {"a": "a"}), goals)
    assert standing.broken == ("f1 unknown, wanted >= 0.2", "latency_s.p95 0.5, wanted <= 0.1")


def test_no_variant_has_no_front() -> None:
    assert find_front([], Objectives(("list_usd",), ("f1",), {})) == []
