"""What is known of all samples beforehand is taken out of a test without breaking its promise."""

from __future__ import annotations

import numpy as np
import pytest

from paretoken.analysis.sequences import Betting

N = 600
RUNS = 150
THRESHOLD = np.log(40)


def stops(seed: int, slope: float, noise: float, *, known: bool) -> tuple[float, float]:
    """Mean samples until zero is excluded, and how often the true mean ever is."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0, 1, N)
    d = (0.06 + slope * (z - 0.5) + rng.normal(0, noise, N)).clip(-1, 1)
    needed, missed = [], 0
    for _ in range(RUNS):
        order = rng.permutation(N)
        betting = Betting(d[order], np.ones(N), -1, 1, horizon=200, total=N, difficulty=z[order] if known else None)
        hits = np.flatnonzero(betting.log_wealth(0.0, 1) >= THRESHOLD)
        needed.append(hits[0] + 1 if len(hits) else N)
        missed += any((betting.log_wealth(d.mean(), sign)[:-1] >= THRESHOLD).any() for sign in (1, -1))
    return float(np.mean(needed)), missed / RUNS


def test_a_difference_that_grows_with_difficulty_is_found_sooner() -> None:
    without, _ = stops(1, slope=0.9, noise=0.1, known=False)
    sooner, missed = stops(1, slope=0.9, noise=0.1, known=True)
    assert sooner < 0.75 * without
    assert missed <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


def test_a_difficulty_that_means_nothing_does_no_harm() -> None:
    without, _ = stops(2, slope=0.0, noise=0.3, known=False)
    useless, missed = stops(2, slope=0.0, noise=0.3, known=True)
    assert useless == pytest.approx(without, rel=0.05)
    assert missed <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


def test_what_is_taken_out_sums_to_nothing_on_average() -> None:
    rng = np.random.default_rng(3)
    z = rng.beta(0.4, 0.4, 60)
    d = (0.3 * z + rng.normal(0, 0.05, 60)).clip(-1, 1)
    orders = [rng.permutation(60) for _ in range(2000)]
    owed = [Betting(d[o], np.ones(60), -1, 1, total=60, difficulty=z[o])._owed for o in orders]
    drift = np.mean(owed, axis=0)[12:55]
    assert np.abs(drift).max() < 5 * np.std(owed, axis=0)[12:55].max() / len(orders) ** 0.5
