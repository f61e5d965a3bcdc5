from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats

from paretoken.analysis.prediction import draw_future_means, predict

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


SHAPES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "even": lambda rng, n: rng.uniform(10, 90, n),
    "skewed": lambda rng, n: rng.lognormal(4, 0.8, n),
    "two kinds": lambda rng, n: np.where(rng.random(n) < 0.3, 400.0, 40.0) + rng.normal(0, 5, n),
    "cut at a limit": lambda rng, n: np.minimum(rng.lognormal(5, 0.7, n), 256),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "m"), [(10, 50), (30, 500), (100, 50)])
def test_the_interval_holds_what_comes_nine_times_in_ten(shape: str, n: int, m: int) -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(250):
        seen, future = SHAPES[shape](rng, n), SHAPES[shape](rng, m).mean()
        found = predict(draw_future_means(seen, m, rng), n)
        hits += found.low <= future <= found.high
    assert 0.84 <= hits / 250 <= 0.97


def test_for_normal_values_it_is_the_t_interval() -> None:
    rng = np.random.default_rng(1)
    values, m = rng.normal(100, 10, 60), 200
    found = predict(draw_future_means(values, m, rng), 60)
    half = scipy.stats.t.ppf(0.95, 59) * values.std(ddof=1) * (1 / 60 + 1 / m) ** 0.5
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=0.01)
    assert found.expected == pytest.approx(values.mean(), rel=0.005)


def test_values_that_never_differ_leave_no_doubt() -> None:
    found = predict(draw_future_means(np.full(12, 3.0), 40, np.random.default_rng(0)), 12)
    assert (found.low, found.expected, found.high, found.n) == (3, 3, 3, 12)
