"""The paired statistics of a declared size against SciPy, statsmodels, the bootstrap and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from paretoken.analysis.paired import FiellerRatio, PairedT, bca_interval, expected_coverage, mcnemar


def one(n: int) -> np.ndarray:
    return np.ones(n)


def test_without_clusters_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.6, 0.1, 30), rng.normal(0.62, 0.1, 30)
    found = PairedT(y - x, one(30))
    theirs = scipy.stats.ttest_rel(y, x).confidence_interval(0.9)
    assert found.interval(0.05) == pytest.approx((theirs.low, theirs.high))
    for side, p in (("greater", found.p_above(0.0)), ("less", found.p_below(0.0))):
        assert p == pytest.approx(scipy.stats.ttest_rel(y, x, alternative=side).pvalue)
    assert found.p_above(-0.01) == pytest.approx(scipy.stats.ttest_rel(y + 0.01, x, alternative="greater").pvalue)


def test_with_clusters_it_is_the_cluster_robust_regression_on_a_constant() -> None:
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(15), rng.integers(1, 7, 15))
    differences = rng.normal(0.02, 0.1, len(cluster)) + rng.normal(0, 0.2, 15)[cluster]
    found = PairedT(np.bincount(cluster, differences), np.bincount(cluster).astype(float))
    fit = sm.OLS(differences, one(len(cluster))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "df_correction": True}, use_t=True
    )
    assert (found.estimate, found.error) == pytest.approx((fit.params[0], fit.bse[0]))
    assert found.interval(0.025) == pytest.approx(tuple(fit.conf_int(0.05)[0]))
    assert 2 * min(found.p_above(0.0), found.p_below(0.0)) == pytest.approx(fit.pvalues[0])


def test_an_interval_of_binary_scores_excludes_zero_when_the_exact_test_does() -> None:
    for won, lost in ((7, 1), (1, 7), (12, 1)):
        s = np.repeat([1.0, -1.0, 0.0], [won, lost, 50 - won - lost])
        low, high = PairedT(s, one(50), discordant=(won, lost)).interval(0.025)
        assert (low > 0, high < 0) == (mcnemar(won, lost) <= 0.025, mcnemar(lost, won) <= 0.025)
    assert PairedT(np.repeat([1.0, -1.0, 0.0], [7, 1, 42]), one(50)).interval(0.025)[0] > 0  # as Student's t has it


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 0), (9, 2), (2, 9), (40, 31)])
def test_mcnemar_is_exact(won: int, lost: int) -> None:
    if won + lost:
        assert mcnemar(won, lost) == pytest.approx(scipy.stats.binomtest(won, won + lost, alternative="greater").pvalue)
    two_sided = min(1.0, 2 * min(mcnemar(won, lost), mcnemar(lost, won)))
    assert two_sided == pytest.approx(statsmodels_mcnemar([[50, won], [lost, 50]], exact=True).pvalue)


def test_binary_values_are_never_surer_than_the_exact_test() -> None:
    s = np.r_[one(4), np.zeros(36)]
    found = PairedT(s, one(40), discordant=(4, 0))
    assert PairedT(s, one(40)).p_above(0.0) < found.p_above(0.0) == mcnemar(4, 0)
    assert found.p_below(0.0) == pytest.approx(1.0)


def test_fieller_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    control = rng.gamma(8, 0.001, 300)
    treatment = 0.6 * control + rng.gamma(2, 0.0003, 300)
    draws = rng.integers(0, 300, (4000, 300))
    ratios = treatment[draws].mean(axis=1) / control[draws].mean(axis=1)
    found = FiellerRatio(treatment, control)
    assert found.estimate == pytest.approx(treatment.mean() / control.mean())
    assert found.interval(0.025) == pytest.approx(np.quantile(ratios, (0.025, 0.975)), abs=0.004)


def test_fieller_inverts_the_t_test_of_no_difference_at_every_ratio() -> None:
    rng = np.random.default_rng(4)
    control, treatment = rng.gamma(2, 1, 25), rng.gamma(2, 0.8, 25)
    for end, side in zip(FiellerRatio(treatment, control).interval(0.03), ("greater", "less"), strict=True):
        p = scipy.stats.ttest_1samp(treatment - end * control, 0.0, alternative=side).pvalue
        assert p == pytest.approx(0.03)


def test_fieller_knows_nothing_of_a_base_that_may_be_zero() -> None:
    control = np.r_[np.zeros(11), 500.0]
    assert FiellerRatio(one(12), control).interval(0.025) == (-math.inf, math.inf)


def test_a_census_leaves_a_point() -> None:
    s, w = np.random.default_rng(5).uniform(0, 1, (2, 40))
    t, ratio = PairedT(s, w, unseen=0.0), FiellerRatio(s, w, unseen=0.0)
    assert t.interval(0.025) == (t.estimate, t.estimate)
    assert ratio.interval(0.025) == pytest.approx((ratio.estimate, ratio.estimate))
    assert (t.p_above(t.estimate - 1e-9), t.p_above(t.estimate)) == (0.0, 1.0)


def test_a_finite_population_is_covered_at_the_level() -> None:
    rng = np.random.default_rng(6)
    population = rng.normal(0, 1, 60)
    hits = 0
    for _ in range(1000):
        low, high = PairedT(rng.permutation(population)[:40], one(40), unseen=1 / 3).interval(0.05)
        hits += low <= population.mean() <= high
    assert scipy.stats.binomtest(hits, 1000, 0.9).pvalue > 0.01


def test_the_interval_covers_clustered_means_at_the_level() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(1000):
        sizes = rng.integers(1, 5, 30)
        s = sizes * (0.1 + rng.normal(0, 0.2, 30)) + np.sqrt(sizes) * rng.normal(0, 0.1, 30)
        low, high = PairedT(s, sizes.astype(float)).interval(0.05)
        hits += low <= 0.1 <= high
    assert abs(hits / 1000 - 0.9) < 0.03


def test_the_bootstrap_gives_the_t_interval_where_that_is_right() -> None:
    s = np.random.default_rng(8).normal(0.05, 0.1, 200)
    width = np.ptp(PairedT(s, one(200)).interval(0.025))
    assert bca_interval(s, one(200), 0.025, seed=1) == pytest.approx(
        PairedT(s, one(200)).interval(0.025), abs=0.05 * width
    )
    assert bca_interval(s, one(200), 0.025, seed=1) == bca_interval(s, one(200), 0.025, seed=1)


@pytest.mark.parametrize("n", [20, 60])
def test_expected_coverage_is_about_that_of_skewed_values(n: int) -> None:
    draws = np.random.default_rng(9).exponential(1, (20_000, n))
    half = scipy.stats.t.ppf(0.975, n - 1) * draws.std(axis=1, ddof=1) / n**0.5
    covered = float(np.mean(np.abs(draws.mean(axis=1) - 1) <= half))
    told = np.median([expected_coverage(row - row.mean(), 0.025) for row in draws[:500]])
    assert told == pytest.approx(covered, abs=0.025)


def test_expected_coverage_of_symmetric_values_is_the_level() -> None:
    even = np.tile([-1.0, 1.0], 25)
    assert expected_coverage(even, 0.025) == pytest.approx(0.95, abs=0.01)
    assert expected_coverage(np.zeros(10), 0.025) == 0.95


@pytest.mark.parametrize("most", [1, 1_000, 10_000_000])
def test_the_bootstrap_is_the_same_in_parts_of_any_size(monkeypatch, most):
    s = np.random.default_rng(3).exponential(size=60)
    whole = bca_interval(s, one(60), 0.025, seed=1)
    monkeypatch.setattr("paretoken.analysis.paired.MOST_DRAWN", most)
    assert bca_interval(s, one(60), 0.025, seed=1) == whole


def test_where_nothing_varies_the_bootstrap_says_nothing():
    assert np.isnan(bca_interval(np.zeros(40), one(40), 0.025, seed=1)).all()
