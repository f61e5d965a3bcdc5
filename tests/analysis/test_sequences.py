"""Confidence sequences against slow implementations straight from the papers, and by simulation."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from paretoken.analysis.sequences import (
    BURN_IN,
    DESIGN_EFFECT,
    LEARN,
    MOST_AT_STAKE,
    N_BETS,
    SPREAD,
    Asymptotic,
    Betting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Draw = Callable[[np.random.Generator], tuple[Betting, float]]

ALPHA = 0.1


def oracle(
    s: Sequence[float], w: Sequence[float], m: float, sign: int, *, low: float, high: float, w_max: float = 1.0,
    s_max: float = math.inf, horizon: int = 100, total: int | None = None,
    difficulty: Sequence[float] = (),
) -> list[float]:  # fmt: skip
    """Wealth of Waudby-Smith and Ramdas (2024): equation (24), and section 5 without replacement.

    One observation at a time; a bettor for each effect, all of whom begin with a share of the wealth. `m` is the
    hypothesis, `sign` says whether they bet on more or on less. What s owes to the surprise of its difficulty is
    foretold by the line through the observations before.
    """
    left = [difficulty[t:] for t in range(len(difficulty))]
    surprises = [[z - sum(group) / len(group) for z in group] for group in left] or [[0.0]] * len(s)
    slopes = [slope([u[0] for u in surprises[:t]], s[:t]) if difficulty else 0.0 for t in range(len(s))]
    owed = [slopes[t] * surprises[t][0] for t in range(len(s))]
    ratio = math.isinf(high)
    worst = (m - high) * w_max if not ratio else -s_max
    least = (low - m) * w_max if sign > 0 else worst
    width = s_max + w_max if ratio else (high - low) * w_max
    grid = [-2.4 + 4.8 * k / (N_BETS - 1) for k in range(N_BETS)]
    density = NormalDist().pdf
    shares = [density(z) / sum(map(density, grid)) for z in grid]
    effects = [DESIGN_EFFECT / math.sqrt(horizon) * math.exp(SPREAD * z) for z in grid]
    wealth, told = list(shares), []
    for t in range(len(s)):
        seen = list(zip(s[:t], w[:t], strict=True))
        kept = [(a - o, b) for (a, b), o in zip(seen, owed[:t], strict=True)]
        mean = sum(a for a, _ in kept) / sum(b for _, b in kept) if sum(b for _, b in kept) else 0.0
        variance = ((width / 4) ** 2 + sum((a - mean * b) ** 2 for a, b in kept)) / (t + 1)
        expected = 0.0 if total is None else -sign * sum(a - m * b for a, b in seen) / (total - t)
        if expected < least - 1e-9:
            return told + [math.inf] * (len(s) - t)
        gain = sign * (s[t] - owed[t] - m * w[t]) - expected
        room = expected - least + max(sign * slopes[t] * u for u in surprises[t])
        for k, effect in enumerate(effects):
            bet = min(effect / math.sqrt(variance), MOST_AT_STAKE / room) if room > 0 else 0.0
            wealth[k] *= 1 + bet * gain
        told.append(sum(wealth))
    return told


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line through points, ten at least; shrunk by its standard error, and within -1 and 1."""
    if len(x) < LEARN:
        return 0.0
    fit = scipy.stats.linregress(x, y)
    return max(-1.0, min(1.0, fit.slope * max(0.0, 1 - 4 * (fit.stderr / fit.slope) ** 2)))


@pytest.mark.parametrize("total", [None, 45])
@pytest.mark.parametrize("sign", [1, -1])
def test_wealth_of_a_mean_is_that_of_the_paper(sign: int, total: int | None) -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 5, 40).astype(float)
    s = sizes * rng.uniform(-0.4, 1.0, 40)
    bounds = {"low": -0.5, "high": 1.0, "w_max": 4.0, "horizon": 60, "total": total}
    ours = Betting(s, sizes, **bounds)
    for m in (-0.3, 0.0, 0.29, 0.6):
        theirs = oracle(s.tolist(), sizes.tolist(), m, sign, **bounds)
        assert np.exp(ours.log_wealth(m, sign)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("total", [None, 45])
@pytest.mark.parametrize("sign", [1, -1])
def test_wealth_of_a_ratio_is_that_of_the_paper(sign: int, total: int | None) -> None:
    rng = np.random.default_rng(2)
    control, treatment = rng.uniform(0.1, 2.0, 40), rng.uniform(0.0, 1.5, 40)
    bounds = {"low": 0.0, "high": math.inf, "w_max": 2.0, "s_max": 1.5, "total": total}
    ours = Betting(treatment, control, **bounds)
    for m in (0.2, 0.71, 1.0, 3.0):
        theirs = oracle(treatment.tolist(), control.tolist(), m, sign, **bounds)
        assert np.exp(ours.log_wealth(m, sign)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_samples_owe_to_their_difficulty_is_taken_out(sign: int) -> None:
    rng = np.random.default_rng(12)
    known = rng.uniform(0, 1, 100)
    s = np.clip(0.6 * (known - 0.5) + rng.normal(0, 0.1, 100), -1, 1)[:60]
    bounds = {"low": -1.0, "high": 1.0, "total": 100}
    ours = Betting(s, np.ones(60), difficulty=known, **bounds)
    for m in (-0.1, 0.0, 0.05):
        theirs = oracle(s.tolist(), [1.0] * 60, m, sign, difficulty=known.tolist(), **bounds)
        assert np.exp(ours.log_wealth(m, sign)) == pytest.approx(theirs, rel=1e-9)
    low, high = ours.interval(0.05)
    assert (ours.p_above(low), ours.p_below(high)) == pytest.approx((0.05, 0.05), rel=1e-4)


@given(
    numbers=st.lists(st.floats(-1, 2), min_size=5, max_size=40),
    sizes=st.lists(st.integers(1, 3), min_size=40, max_size=40),
    places=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    error=st.floats(0.001, 0.4),
    extra=st.sampled_from([None, 1, 10, 1000]),
)
@settings(max_examples=60)
def test_wealth_falls_with_the_hypothesis_and_the_interval_inverts_the_tests(
    numbers: list[float], sizes: list[int], places: tuple[float, float], error: float, extra: int | None
) -> None:
    w = np.array(sizes[: len(numbers)], float)
    total = None if extra is None else len(w) + extra
    found = Betting(w * np.array(numbers), w, -1.0, 2.0, w_max=3.0, horizon=30, total=total)
    below, above = sorted(-1 + 3 * place for place in places)
    assert np.all(found.log_wealth(below, 1) >= found.log_wealth(above, 1) - 1e-9)
    assert np.all(found.log_wealth(below, -1) <= found.log_wealth(above, -1) + 1e-9)
    low, high = found.interval(error)
    assume(low < high)  # else no number is left, and the estimate stands for it
    for bound in (below, above, low + 1e-6, low - 1e-6, high + 1e-6, high - 1e-6):
        if abs(bound - low) > 1e-7 and -1 < bound < 2:
            assert (found.p_above(bound) < error) == (bound < low)
        if abs(bound - high) > 1e-7 and -1 < bound < 2:
            assert (found.p_below(bound) < error) == (bound > high)


def miscoverage(draw: Draw, runs: int = 1500) -> tuple[float, float]:
    """Share of runs in which, at any n, an end of the interval passes the truth: below and above."""
    wrong = np.zeros(2)
    rng = np.random.default_rng(7)
    for _ in range(runs):
        found, truth = draw(rng)
        wrong += [found.p_above(truth) <= ALPHA, found.p_below(truth) <= ALPHA]
    return wrong[0] / runs, wrong[1] / runs


def skewed(rng: np.random.Generator) -> tuple[Betting, float]:
    return Betting(rng.beta(0.2, 1.8, 300), np.ones(300), 0.0, 1.0, horizon=300), 0.1


def binary_differences(rng: np.random.Generator) -> tuple[Betting, float]:
    s = rng.choice([-1.0, 0.0, 1.0], 300, p=[0.06, 0.9, 0.04])
    return Betting(s, np.ones(300), -1.0, 1.0, horizon=300), -0.02


def clustered(rng: np.random.Generator) -> tuple[Betting, float]:
    sizes = rng.integers(1, 6, 120)
    level = np.where(sizes > 3, 0.8, 0.2)  # large clusters score higher
    s = sizes * (level + rng.uniform(-0.2, 0.2, 120))
    truth = (0.2 * (1 + 2 + 3) + 0.8 * (4 + 5)) / 15
    return Betting(s, sizes.astype(float), 0.0, 1.0, w_max=5.0, horizon=120), truth


def without_replacement(rng: np.random.Generator) -> tuple[Betting, float]:
    population = np.r_[np.zeros(60), np.ones(15), np.linspace(0.2, 0.9, 25)]
    n = int(rng.integers(20, 100))
    return Betting(rng.permutation(population)[:n], np.ones(n), 0.0, 1.0, total=100), float(population.mean())


def clusters_without_replacement(rng: np.random.Generator) -> tuple[Betting, float]:
    sizes = np.repeat([1.0, 2.0, 6.0], [30, 20, 10])
    s = sizes * np.where(sizes > 3, 0.9, np.tile([0.0, 0.5], 30))
    order = rng.permutation(60)[: int(rng.integers(15, 60))]
    found = Betting(s[order], sizes[order], 0.0, 1.0, w_max=6.0, horizon=60, total=60)
    return found, float(s.sum() / sizes.sum())


def ratio(rng: np.random.Generator) -> tuple[Betting, float]:
    control = np.minimum(rng.gamma(2, 0.1, 200), 2.0)
    treatment = control * rng.choice([0.2, 1.0], 200)
    return Betting(treatment, control, 0.0, math.inf, w_max=2.0, s_max=2.0, horizon=200), 0.6


@pytest.mark.parametrize(
    "draw",
    [
        skewed, binary_differences, clustered, without_replacement, clusters_without_replacement, ratio,
    ],
)  # fmt: skip
def test_each_end_errs_at_any_look_at_most_at_its_error(draw: Draw) -> None:
    assert max(miscoverage(draw)) <= ALPHA + 2.5 * math.sqrt(ALPHA * (1 - ALPHA) / 1500)


def test_what_is_remembered_of_all_looks_is_the_best_of_them() -> None:
    s = np.random.default_rng(3).uniform(0, 1, 60)
    looks = [Betting(s[:n], np.ones(n), 0.0, 1.0).p_above(0.3) for n in range(1, 61)]
    assert looks == sorted(looks, reverse=True)


def test_at_a_census_the_interval_is_the_mean() -> None:
    s = np.random.default_rng(4).uniform(0, 1, 50)
    census = Betting(s, np.ones(50), 0.0, 1.0, total=50)
    assert census.interval(0.01) == (s.mean(), s.mean())
    assert (census.p_above(s.mean() - 1e-9), census.p_above(s.mean())) == (0.0, 1.0)
    most = Betting(s[:49], np.ones(49), 0.0, 1.0, total=50).interval(0.01)
    assert most[1] - most[0] < 0.1


def test_nothing_is_claimed_at_the_end_of_the_bounds() -> None:
    free = Betting(np.zeros(40), np.ones(40), 0.0, 0.0)
    assert (free.p_above(0.0), free.p_below(0.0), free.interval(0.05)) == (1.0, 1.0, (0.0, 0.0))
    at_the_top = Betting(np.ones(40), np.ones(40), 0.0, 1.0)
    assert (at_the_top.p_below(1.0), at_the_top.p_below(1.01), at_the_top.p_above(0.0)) == (1.0, 0.0, 0.0)


def test_what_is_out_of_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="out of its bounds"):
        Betting(np.array([0.2, 1.2]), np.ones(2), 0.0, 1.0)
    with pytest.raises(ValueError, match="a weight is above its bound"):
        Betting(np.array([0.2, 1.0]), np.array([1.0, 3.0]), 0.0, 1.0, w_max=2.0)


def test_no_observation_tells_nothing() -> None:
    nothing = Betting(np.empty(0), np.empty(0), -1.0, 1.0)
    assert (nothing.p_above(0.0), nothing.interval(0.05)) == (1.0, (-1.0, 1.0))


@pytest.mark.parametrize(("share", "n"), [(0.001, 400), (0.6, 400), (0.6, 25), (40.0, 400)])
def test_the_interval_of_a_ratio_is_exact_on_every_scale(share: float, n: int) -> None:
    rng = np.random.default_rng(5)
    control = rng.uniform(0.01, 0.02, n)
    treatment = share * control * rng.uniform(0.8, 1.2, n)
    found = Betting(treatment, control, 0.0, math.inf, w_max=0.02, s_max=0.03 * share, horizon=n)
    for end, p in zip(found.interval(0.05), (found.p_above, found.p_below), strict=True):
        assert end in (0.0, math.inf) or p(end) == pytest.approx(0.05, rel=1e-3)


def half_normal_wealth(s: NDArray[np.float64], m: float, sign: int, horizon: int) -> float:
    """The mixture of Gaussian likelihood ratios over effects that are half-normal, integrated by number."""
    z = sign * (s - m) / s.std(ddof=1)
    rho = DESIGN_EFFECT / horizon**0.5

    def integrand(effect: float) -> float:
        return 2 * NormalDist(0, rho).pdf(effect) * math.exp(effect * z.sum() - len(z) * effect**2 / 2)

    return float(quad(integrand, 0, 1, points=[max(float(z.mean()), 0.0), 0.05], limit=200)[0])


@pytest.mark.parametrize("sign", [1, -1])
def test_asymptotic_wealth_is_the_half_normal_mixture(sign: int) -> None:
    s = np.random.default_rng(6).gamma(1.0, 2.0, 150)
    found = Asymptotic(s, np.ones(150), horizon=400)
    for m in (1.5, 1.9, 2.2, 2.6):
        wealth = half_normal_wealth(s, m, sign, 400)
        p = found.p_above(m) if sign > 0 else found.p_below(m)
        assert p == pytest.approx(min(1.0, 1 / wealth), rel=1e-6)


@pytest.mark.parametrize("horizon", [50, 1000, 10_000_000])
def test_the_asymptotic_interval_inverts_its_tests(horizon: int) -> None:
    rng = np.random.default_rng(8)
    found = Asymptotic(rng.normal(3, 1, 120), rng.uniform(0.5, 2, 120), horizon)
    low, high = found.interval(1e-3)
    assert (found.p_above(low), found.p_below(high)) == pytest.approx((1e-3, 1e-3))


def test_asymptotic_sequences_keep_quiet_at_first_and_cover_later() -> None:
    rng = np.random.default_rng(9)
    short = Asymptotic(rng.normal(5, 0.1, BURN_IN - 1), np.ones(BURN_IN - 1))
    assert (short.interval(0.05), short.p_above(0.0)) == ((-math.inf, math.inf), 1.0)
    wrong = 0
    for _ in range(200):
        s = rng.exponential(1, 600)
        wrong += any(Asymptotic(s[:n], np.ones(n), 600).p_above(1.0) <= ALPHA for n in range(BURN_IN, 601, 10))
    assert wrong / 200 <= ALPHA + 2.5 * math.sqrt(ALPHA * (1 - ALPHA) / 200)
