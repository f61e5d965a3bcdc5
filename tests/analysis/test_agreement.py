"""A judge beside people: hand-computed, against another library, and recovered from planted data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from paretoken.analysis.agreement import Agreement


def agreement(
    judge: object,
    people: object = None,
    chars: object = None,
    *,
    scale: tuple[float, float] = (1, 5),
    compares: bool = False,
    flips: object = None,
    sample: object = None,
    n: int | None = None,
    column: str | None = "human_score",
) -> Agreement:
    """Grades and labels as they stand on the scale."""
    low, high = scale
    grades = (np.asarray(judge, float) - low) / (high - low)
    n_judged = len(grades)
    nothing = np.full(n_judged, np.nan)
    labels = nothing if people is None else (np.asarray(people, float) - low) / (high - low)
    return Agreement(
        "appeal", column if people is not None else None, "openai/j", scale, compares, n or n_judged, grades, labels,
        np.full(n_judged, 100.0) if chars is None else np.asarray(chars, float),
        nothing if flips is None else np.asarray(flips, float),
        np.arange(n_judged) if sample is None else np.asarray(sample), 7,
    )  # fmt: skip


def test_kappa_by_hand():
    judge = [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    people = [1, 1, 2, 2, 2, 3, 3, 3, 3, 1]
    found = agreement(judge, people, scale=(1, 3))
    squares = sum((a - b) ** 2 for a, b in zip(judge, people, strict=True)) / 10
    by_chance = sum((a - b) ** 2 for a in judge for b in people) / 100
    assert found.kappa is not None
    assert found.kappa[0] == pytest.approx(1 - squares / by_chance)
    assert found.exact == 0.7
    wins = agreement([1, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0], [1, 1, 1, 0, 0.5, 1, 0, 0, 0, 1], scale=(0, 1), compares=True)
    agree, chance = 0.7, 0.4 * 0.5 + 0.2 * 0.1 + 0.4 * 0.4
    assert wins.kappa is not None
    assert wins.kappa[0] == pytest.approx((agree - chance) / (1 - chance))


@pytest.mark.parametrize("compares", [False, True])
def test_kappa_agrees_with_other_libraries(compares):
    rng = np.random.default_rng(3)
    k = 3 if compares else 5
    people = rng.integers(k, size=300)
    judge = np.where(rng.random(300) < 0.6, people, rng.integers(k, size=300))
    scale = (0, 1) if compares else (1, 5)
    values = [v / 2 if compares else v + 1 for v in (judge, people)]
    found = agreement(*values, scale=scale, compares=compares).kappa
    table = np.zeros((k, k))
    np.add.at(table, (judge, people), 1)
    other = cohens_kappa(table, wt=None if compares else "quadratic", return_results=True)
    assert found is not None
    assert found[0] == pytest.approx(other.kappa)
    assert found[0] == pytest.approx(cohen_kappa_score(judge, people, weights=None if compares else "quadratic"))
    assert found[1:] == pytest.approx((other.kappa_low, other.kappa_upp), abs=0.025)


def test_the_interval_of_kappa_covers_what_was_planted():
    rng, covered, n_runs = np.random.default_rng(11), 0, 400
    share, truth = 0.7, None
    joint = np.full((5, 5), (1 - share) / 25) + np.eye(5) * share / 5
    grid = np.subtract.outer(np.arange(5), np.arange(5)) ** 2
    truth = 1 - (joint * grid).sum() / (np.outer(joint.sum(1), joint.sum(0)) * grid).sum()
    for _ in range(n_runs):
        people = rng.integers(5, size=120)
        judge = np.where(rng.random(120) < share, people, rng.integers(5, size=120))
        found = agreement(judge + 1, people + 1).kappa
        assert found is not None
        covered += found[1] <= truth <= found[2]
    assert covered / n_runs > 0.95 - 3 * math.sqrt(0.95 * 0.05 / n_runs)


def planted(bias: float, n: int = 400, per_sample: int = 4) -> Agreement:
    """A judge of good taste that adds something for every doubling of the length; people are not taken in."""
    rng = np.random.default_rng(5)
    people = rng.uniform(0.3, 0.7, n)
    chars = 2 ** rng.uniform(4, 8, n)
    judge = people + bias * (np.log2(chars) - 6) + rng.uniform(-0.14, 0.14, n)
    return agreement(judge, people, chars, scale=(0, 1), sample=np.arange(n) // per_sample)


def test_a_planted_bias_towards_length_is_recovered():
    found = planted(0.08)
    assert found.length_bias is not None
    size, low, high = found.length_bias
    assert size == pytest.approx(0.08, abs=0.012)
    assert 0.05 < low < 0.08 < high < 0.11
    assert "answers twice as long are graded 0.08 [0.07, 0.09] higher than people grade them" in found.sentence
    against = planted(-0.08)
    assert "answers twice as long are graded 0.08 [0.07, 0.09] lower than people grade them" in against.sentence
    none = planted(0.0)
    assert none.length_bias is not None
    assert none.length_bias[1] < 0 < none.length_bias[2]
    assert "no leaning towards length is shown" in none.sentence


def test_answers_of_one_sample_are_drawn_together():
    apart, together = planted(0.0), planted(0.0, per_sample=1)
    judge = np.tile(np.repeat([1, 3, 5], 20), 5)
    people = np.tile(np.repeat([1, 3, 4, 2, 5, 5], 10), 5)
    alone = agreement(judge, people).kappa
    copies = agreement(judge, people, sample=np.tile(np.arange(60), 5)).kappa
    assert alone is not None
    assert copies is not None
    assert copies[2] - copies[1] == pytest.approx(5**0.5 * (alone[2] - alone[1]), rel=0.2)
    assert apart.n_labelled == together.n_labelled


def test_means_of_several_people_count_as_the_nearest_grade():
    found = agreement([1, 2, 3, 4, 5] * 3, [1.33, 2, 2.67, 4.2, 5] * 3)
    assert found.exact == 1
    assert found.kappa is not None
    assert found.kappa[0] == 1
    assert "almost perfect, the same grade for 100 %" in found.sentence


def test_correlation_with_length_is_a_caution_where_no_people_are_asked():
    rng = np.random.default_rng(2)
    chars = rng.integers(10, 60, 80)
    judge = np.clip(chars // 12 + rng.integers(-1, 2, 80), 1, 5)
    found = agreement(judge, chars=chars)
    assert found.length_correlation == pytest.approx(spearmanr(judge, chars).statistic)
    assert "longer answers get higher grades (Spearman +0." in found.sentence
    assert "they may be better, or it may favour them" in found.sentence
    assert "kappa" not in found.body()
    shuffled = agreement(rng.permutation(judge), chars=chars)
    assert "Spearman" not in shuffled.sentence
    assert "whether people would agree is unknown" in shuffled.sentence


def test_too_little_is_said_to_be_too_little():
    few = agreement([1, 2, 3], [1, 2, 3])
    assert (few.kappa, few.length_bias) == (None, None)
    assert few.sentence == (
        "judge appeal against human_score: 3 answers have a grade and a label, too few to tell how far they agree"
    )
    alike = agreement([4] * 20, [4] * 20)
    assert alike.kappa is None
    assert "kappa is not defined on 20 answers that are all graded alike, the same grade for 100 %" in alike.sentence
    stubborn = agreement([4] * 20, [1, 2, 3, 5] * 5)
    assert stubborn.kappa is not None
    assert stubborn.kappa[0] == pytest.approx(0)
    assert "none beyond chance" in stubborn.sentence
    nothing = agreement([], [])
    assert nothing.body()["kappa"] is None
    assert agreement([]).sentence


def test_holes_and_flips_are_told():
    found = agreement([1, 0.5, 0, 0.5] * 5, scale=(0, 1), compares=True, flips=[0, 1, 0, 0] * 5, n=25)
    assert found.flip_rate == 0.25
    assert "no grade for 5 of 25 answers, for reasons in the report" in found.sentence
    assert "the verdict depends on the order of the texts for 25 % of them" in found.sentence
