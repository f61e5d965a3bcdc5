from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from paretoken.analysis.prediction import predict_mean, unseen_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Shape = Callable[[np.random.Generator, int], NDArray[np.float64]]

SHAPES: dict[str, Shape] = {
    "even": lambda rng, n: rng.uniform(10, 90, n),
    "bounded, mostly at its ends": lambda rng, n: rng.beta(0.5, 0.5, n),
    "log-normal": lambda rng, n: rng.lognormal(5, 0.8, n),
    "log-normal, cut at a limit": lambda rng, n: np.minimum(rng.lognormal(5, 1.0, n), 1024),
    "two kinds": lambda rng, n: np.where(rng.random(n) < 0.3, 400.0, 40.0) + rng.normal(0, 5, n),
}


def coverage(shape: Shape, n: int, m: int, times: int = 600) -> float:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(times):
        found = predict_mean(shape(rng, n), m)
        hits += found.low <= shape(rng, m).mean() <= found.high
    return hits / times


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize("m", [50, 500])
def test_the_interval_holds_what_comes_nine_times_in_ten(shape: str, n: int, m: int) -> None:
    assert 0.85 <= coverage(SHAPES[shape], n, m) <= 0.97


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [1, 5])
def test_few_to_come_are_held_at_least_as_often(shape: str, m: int) -> None:
    assert coverage(SHAPES[shape], 20, m) >= 0.88


def test_for_even_values_it_is_the_t_interval() -> None:
    half = np.random.default_rng(1).normal(0, 10, 30)
    values, m = 100 + np.concatenate([half, -half]), 200
    found = predict_mean(values, m)
    width = scipy.stats.t.ppf(0.95, 59) * values.std(ddof=1) * (1 / 60 + 1 / m) ** 0.5
    assert (found.low, found.expected, found.high) == pytest.approx((100 - width, 100, 100 + width))


def test_a_long_tail_leaves_more_room_above_than_the_t_interval() -> None:
    def with_t(values: NDArray[np.float64], m: int) -> float:
        return float(scipy.stats.t.ppf(0.95, len(values) - 1) * values.std(ddof=1) * (1 / len(values) + 1 / m) ** 0.5)

    rng = np.random.default_rng(3)
    too_low = {"t": 0, "ours": 0}
    for _ in range(1000):
        values, future = rng.lognormal(5, 0.8, 20), rng.lognormal(5, 0.8, 300).mean()
        too_low["t"] += future > values.mean() + with_t(values, 300)
        too_low["ours"] += future > predict_mean(values, 300).high
    assert too_low["ours"] < 0.8 * too_low["t"]


@given(
    st.lists(st.floats(0, 1000), min_size=3, max_size=40),
    st.integers(1, 500),
    st.floats(-50, 50).filter(lambda factor: abs(factor) > 0.01),
    st.floats(-100, 100),
)
def test_units_do_not_matter(numbers: list[float], m: int, factor: float, offset: float) -> None:
    values = np.array(numbers)
    if values.std() < 1e-3:
        return
    here, there = predict_mean(values, m), predict_mean(factor * values + offset, m)
    ends = sorted([factor * here.low + offset, factor * here.high + offset])
    assert [there.low, there.high] == pytest.approx(ends, rel=1e-6, abs=1e-6 * abs(factor) * values.max())
    assert there.low <= there.expected <= there.high


def test_values_that_never_differ_have_no_spread() -> None:
    found = predict_mean(np.full(12, 3.0), 40)
    assert (found.low, found.expected, found.high, found.n) == (3, 3, 3, 12)


@pytest.mark.parametrize("n", [1, 10, 300])
def test_a_share_above_the_unseen_rate_would_have_been_seen(n: int) -> None:
    assert (1 - unseen_rate(n)) ** n == pytest.approx(0.05)
    assert unseen_rate(n, level=0.5) < unseen_rate(n)
