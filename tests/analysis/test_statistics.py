from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats

from paretoken.analysis import paired, summary, verdict
from paretoken.analysis.estimate import quantile, t_interval
from paretoken.analysis.front import find_front
from paretoken.analysis.objectives import Objectives
from paretoken.core.calls import Call, Message, Origin, Request, Response, Score
from paretoken.core.trials import Record
from paretoken.core.usage import Usage
from paretoken.records.codec import encode
from paretoken.records.table import build_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoken.analysis.paired import PairedDifference
    from paretoken.analysis.summary import VariantSummary
    from paretoken.analysis.verdict import Comparison
    from paretoken.records.table import RecordTable

AT = datetime(2026, 1, 5, tzinfo=UTC)


def record(
    sample: str,
    variant: str = "a",
    repeat: int = 0,
    *,
    score: float | None = 0.5,
    usd: str | None = "0.001",
    latency_s: float | None = 0.5,
) -> Record:
    """A record; without `usd` it failed."""
    origin = Origin("run", sample, variant, repeat)
    request = Request("m", (Message("user", "x"),), 10, repeat=repeat, origin=origin)
    if usd is None:
        return Record(sample, variant, repeat, Call(request, AT, error="Timeout"), {})
    response = Response("text", Usage(10, 20), latency_s=latency_s, list_usd=Decimal(usd), billed_usd=Decimal(usd))
    given = Score(origin, "s", "f1", score, None if score is not None else "empty reference")
    return Record(sample, variant, repeat, Call(request, AT, response, billed_usd=Decimal(usd)), {"f1": given})


def arm(scores: Sequence[float], costs: Sequence[float] | None = None, variant: str = "a") -> list[Record]:
    usd = [0.001] * len(scores) if costs is None else costs
    return [
        record(f"s{i}", variant, score=float(s), usd=f"{c:.12f}")
        for i, (s, c) in enumerate(zip(scores, usd, strict=True))
    ]


def tabulate(records: Sequence[Record]) -> RecordTable:
    """Records as the columns that statistics read."""

    def rows() -> Iterator[SimpleNamespace]:
        for r in records:
            for entry in (r.call, *r.scores.values()):
                kind, body = encode(entry)
                yield SimpleNamespace(
                    role="subject", kind=kind, body=body, sample=r.sample, variant=r.variant, repeat=r.repeat
                )

    return build_table(rows())


def arms(*records: Sequence[Record]) -> list[RecordTable]:
    """Each as a variant of one table."""
    table = tabulate([replace(r, variant=str(i)) for i, own in enumerate(records) for r in own])
    return [table.of(str(i)) for i in range(len(records))]


def paired_difference(a: Sequence[Record], b: Sequence[Record], name: str) -> PairedDifference | None:
    return paired.paired_difference(*arms(a, b), name)


def summarize(records: Sequence[Record], labels: Mapping[str, str]) -> list[VariantSummary]:
    return summary.summarize(tabulate(records), labels)


def judged(a: list[Record], b: list[Record], margin: float | None = None, comparisons: int = 1) -> Comparison:
    margins = {} if margin is None else {"f1": margin}
    return verdict.compare(
        *arms(a, b), labels=("A", "B"), metrics=["f1"], margins=margins, planned=len(a), comparisons=comparisons
    )


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


def test_paired_difference_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.6, 0.1, 30), rng.normal(0.62, 0.1, 30)
    found = paired_difference(arm(x), arm(y), "f1")
    reference = scipy.stats.ttest_rel(y, x)
    interval = reference.confidence_interval(0.95)
    assert found is not None
    assert (found.difference, found.low, found.high, found.p_value) == pytest.approx(
        ((y - x).mean(), interval.low, interval.high, reference.pvalue)
    )


def test_relative_interval_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    x = rng.gamma(8, 0.001, 300)
    y = 0.6 * x + rng.gamma(2, 0.0003, 300)
    found = paired_difference(arm(x, x), arm(y, y), "list_usd")
    assert found is not None
    draws = rng.integers(0, 300, (4000, 300))
    ratios = y[draws].mean(axis=1) / x[draws].mean(axis=1) - 1
    assert found.relative == pytest.approx(y.mean() / x.mean() - 1)
    assert (found.relative_low, found.relative_high) == pytest.approx(np.quantile(ratios, (0.025, 0.975)), abs=0.004)


def test_relative_and_absolute_interval_exclude_no_difference_together() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.gamma(5, 0.001, 25), rng.gamma(5, 0.0009, 25)
        found = paired_difference(arm(x, x), arm(y, y), "list_usd")
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.relative_low is not None
        assert found.relative_high is not None
        assert (found.low > 0) == (found.relative_low > 0)
        assert (found.high < 0) == (found.relative_high < 0)


def test_a_relative_interval_needs_a_clearly_positive_base() -> None:
    rng = np.random.default_rng(4)
    x, y = np.abs(rng.standard_cauchy(12)), rng.random(12)
    x[0] = 500
    found = paired_difference(arm(x, x), arm(y, y), "list_usd")
    assert found is not None
    assert found.low is not None
    assert (found.relative_low, found.relative_high) == (None, None)


def test_paired_interval_covers_at_its_level() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        hard = rng.normal(0, 0.1, 20)
        x, y = 0.5 + hard + rng.normal(0, 0.05, 20), 0.52 + hard + rng.normal(0, 0.05, 20)
        found = paired_difference(arm(x), arm(y), "f1")
        hits += (
            found is not None and found.low is not None and found.high is not None and found.low <= 0.02 <= found.high
        )
    assert scipy.stats.binomtest(hits, 400, 0.95).pvalue > 0.01


def test_repeats_are_averaged_before_they_count() -> None:
    once = [record(f"s{i}", score=i / 20) for i in range(12)]
    thrice = [record(f"s{i}", repeat=r, score=i / 20 + (r - 1) * 0.1) for i in range(12) for r in range(3)]
    one, three = (summarize(records, {"a": "A"})[0].estimates["f1"] for records in (once, thrice))
    assert three.n == one.n == 12
    assert (three.mean, three.low, three.high) == pytest.approx((one.mean, one.low, one.high))
    other = [record(f"s{i}", score=0.3) for i in range(12)]
    a, b = paired_difference(other, once, "f1"), paired_difference(other, thrice, "f1")
    assert a is not None
    assert b is not None
    assert (b.n, b.low, b.high) == pytest.approx((a.n, a.low, a.high))


def test_missing_values_are_left_out_and_counted() -> None:
    records = [record("s0"), record("s1", score=None), record("s2", usd=None), record("s3", latency_s=None)]
    (found,) = summarize(records, {"a": "A", "without records": "B"})
    assert (found.n, found.n_failed, found.error_rate) == (4, 1, 0.25)
    assert (found.estimates["f1"].n, found.estimates["list_usd"].n, found.estimates["latency_s"].n) == (2, 3, 2)
    assert found.missing == {"f1": {"empty reference": 1}}
    assert found.value("nothing") is None
    assert found.value("list_usd.p95") is None
    assert np.array_equal(tabulate(records).values["f1"], [0.5, np.nan, np.nan, 0.5], equal_nan=True)
    (failed,) = summarize([record("s0", usd=None)], {"a": "A"})
    assert (failed.estimates, failed.latency_s, failed.list_usd_per_1k_tokens) == ({}, {}, None)


def test_a_sample_without_both_values_is_not_compared() -> None:
    rng = np.random.default_rng(6)
    a, b = arm(rng.random(20)), arm(rng.random(20))
    a[3], b[7] = record("s3", score=None), record("s7", usd=None)
    found = paired_difference(a, b, "f1")
    assert found is not None
    assert found.n == 18
    assert paired_difference(a, [record("elsewhere")], "f1") is None


def test_cheaper_and_not_worse() -> None:
    rng = np.random.default_rng(7)
    quality = rng.normal(0.6, 0.1, 60)
    cost = rng.gamma(20, 0.0001, 60)
    verdict = judged(arm(quality, cost), arm(quality + rng.normal(0, 0.01, 60), 0.6 * cost), margin=0.01)
    assert verdict.quality[0].finding == "not worse"
    assert verdict.cost is not None
    assert verdict.cost.finding == "better"
    assert verdict.sentence.startswith(
        'treatment "B" against "A": 40 % cheaper (95 % CI 40 to 40 %); not worse on f1 (margin 0.01;'
    )
    assert verdict.sentence.endswith("(n = 60)")


@pytest.mark.parametrize(
    ("shift", "margin", "finding"),
    [
        (0.05, None, "better"),
        (-0.05, None, "worse"),
        (0.0, None, "no difference shown"),
        (-0.05, 0.01, "worse"),
        (0.05, 0.01, "better"),
        (-0.01, 0.01, "undecided"),
        (-0.01, 0.05, "not worse"),
    ],
)
def test_findings(shift: float, margin: float | None, finding: str) -> None:
    noise = np.tile([0.02, -0.02], 15)
    a = arm(np.full(30, 0.6))
    assert judged(a, arm(0.6 + shift + noise), margin).quality[0].finding == finding


def test_too_few_pairs_cannot_tell() -> None:
    verdict = judged(arm([0.5] * 9), arm([0.9] * 9))
    assert verdict.quality[0].finding == "cannot tell"
    assert "only 9 common samples, at least 10 are needed" in verdict.sentence


def test_nothing_in_common_is_said() -> None:
    assert judged(arm([0.5] * 12), []).sentence == (
        'treatment "B" against "A": no sample is answered by both (n = 0 of 12)'
    )


def test_more_comparisons_widen_the_interval() -> None:
    rng = np.random.default_rng(8)
    a, b = arm(rng.random(30)), arm(rng.random(30))
    one, five = (judged(a, b, comparisons=k).quality[0].difference for k in (1, 5))
    assert one.low is not None
    assert five.low is not None
    assert five.level == pytest.approx(0.99)
    assert five.low < one.low


def test_free_models_cost_the_same() -> None:
    free = np.zeros(12)
    verdict = judged(arm(free, free), arm(free, free))
    assert "no cost difference shown ($0 to $0 a call)" in verdict.sentence


def test_a_small_saving_keeps_a_decimal() -> None:
    cost = np.random.default_rng(9).gamma(20, 0.0001, 40)
    assert "2.0 % cheaper (95 % CI 2.0 to 2.0 %)" in judged(arm(cost, cost), arm(cost, 0.98 * cost)).sentence


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
