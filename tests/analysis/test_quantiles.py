"""Differences of quantiles against SciPy's order statistics, numerical integration and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from paretoken.analysis.quantiles import CENTRE, QuantileShift

ALPHA = 0.1


@pytest.mark.parametrize("q", [0.5, 0.95])
@pytest.mark.parametrize("n", [100, 257])
def test_against_a_constant_it_is_the_interval_of_order_statistics(q: float, n: int) -> None:
    values = np.random.default_rng(1).gamma(2, 1, n)
    for error in (0.05, 0.011):
        low, high = QuantileShift(np.zeros(n), values, q).interval(2 * error)  # both quantiles share the error
        for side, end in (("greater", low), ("less", high)):
            theirs = scipy.stats.quantile_test(values, p=q, alternative=side).confidence_interval(1 - error)
            assert end in (theirs.low, theirs.high)


def test_ranks_err_no_more_and_hardly_less_than_they_may() -> None:
    n, q, error = 100, 0.95, 0.05
    below, above = (int(end) for end in QuantileShift(np.zeros(n), np.arange(1.0, n + 1), q).interval(2 * error))
    count = scipy.stats.binom(n, q)  # values that lie below the quantile
    assert count.cdf(below - 1) <= error < count.cdf(below)
    assert count.sf(above - 1) <= error < count.sf(above - 2)


@pytest.mark.parametrize(("n", "known"), [(10, (False, False)), (58, (False, False)), (120, (True, True))])
def test_small_samples_have_no_bounds_of_a_tail(n: int, known: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(2)
    found = QuantileShift(rng.exponential(1, n), rng.exponential(5, n), 0.95)
    assert tuple(map(math.isfinite, found.interval(0.025))) == known
    assert found.p_below(-1e9) == 1.0
    with_peeking = QuantileShift(rng.exponential(1, 12), rng.exponential(5, 12), 0.95, horizon=200)
    assert with_peeking.interval(0.025) == (-math.inf, math.inf)


@pytest.mark.parametrize("horizon", [None, 300])
def test_p_values_invert_the_interval(horizon: int | None) -> None:
    rng = np.random.default_rng(3)
    found = QuantileShift(rng.exponential(1, 300), rng.exponential(2, 300), 0.9, horizon)
    for bound in (-0.5, 0.5, 1.5, 4.0):
        p = found.p_above(bound)
        assert p == 1.0 or found.interval(p)[0] > bound >= found.interval(p * 0.99)[0]
        p = found.p_below(bound)
        assert p == 1.0 or found.interval(p)[1] < bound <= found.interval(p * 0.99)[1]


def test_the_sequence_leaves_the_counts_that_a_beta_mixture_has_not_refuted() -> None:
    n, q, horizon, error = 80, 0.8, 100, 0.05
    prior = scipy.stats.beta(q * CENTRE * horizon, (1 - q) * CENTRE * horizon)

    def wealth(below: int) -> float:
        def integrand(p: float) -> float:
            return float(prior.pdf(p) * (p / q) ** below * ((1 - p) / (1 - q)) ** (n - below))

        return float(quad(integrand, 0, 1, points=[below / n], limit=200)[0])

    possible = [k for k in range(n + 1) if wealth(k) < 1 / error]
    low, high = QuantileShift(np.zeros(n), np.arange(1.0, n + 1), q, horizon).interval(2 * error)
    assert (low, high) == (possible[0], possible[-1] + 1)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_a_sequence_covers_at_every_look(q: float, tied: bool) -> None:
    rng = np.random.default_rng(4)
    wrong = np.zeros(2)
    truth = 0.0 if tied else scipy.stats.expon.ppf(q)
    for _ in range(300):
        control, treatment = rng.exponential(1, 200), rng.exponential(2, 200)
        if tied:  # few values, of which each quantile is one, and the same in both
            control, treatment = rng.choice([1.0, 2.0, 3.0], (2, 200), p=[0.4, 0.3, 0.3])
        looks = [QuantileShift(control[:n], treatment[:n], q, 200).interval(ALPHA) for n in range(20, 201, 12)]
        wrong += [max(low for low, _ in looks) > truth, min(high for _, high in looks) < truth]
    assert wrong.max() / 300 <= ALPHA


def test_intervals_of_a_fixed_size_cover() -> None:
    rng = np.random.default_rng(5)
    wrong = np.zeros(2)
    for _ in range(1000):
        low, high = QuantileShift(rng.exponential(1, 90), rng.exponential(2, 90), 0.9).interval(ALPHA)
        wrong += [low > scipy.stats.expon.ppf(0.9), high < scipy.stats.expon.ppf(0.9)]
    assert wrong.max() / 1000 <= ALPHA
