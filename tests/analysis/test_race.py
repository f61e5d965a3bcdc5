"""A race finds the front from a part of the cells and is hardly ever wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from paretoken.analysis.race import Race, RaceRules, uncovered

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = 0.05
N = 200


def run(
    quality: NDArray[np.float64], cost: NDArray[np.float64], *, learnt: bool, block: int = 8, alpha: float = 0.05
) -> tuple[Race, int]:
    """Race variants over all rows, and count the cells."""
    n, k = quality.shape
    rules = RaceRules(EPSILON, alpha, tolerance=0.1 if learnt else 0.0)
    race = Race(rules, n, k, None if learnt else cost.mean(axis=0), cost.max(axis=0))
    cells = 0
    for i in range(n):
        cells += int(race.asked.sum())
        seen = race.asked.copy()
        race.take(np.where(seen, quality[i], np.nan), np.where(seen, cost[i], np.nan))
        if (i + 1) % block == 0:
            race.decide()
        if not race.open.any():
            return race, cells
    race.finish(quality.mean(axis=0), cost.mean(axis=0))
    return race, cells


def draw(rng: np.random.Generator, means: list[float], costs: list[float]) -> tuple[NDArray[np.float64], ...]:
    """Qualities and costs with exactly these means."""
    ease = rng.normal(0, 0.1, (N, 1))
    quality = ease + rng.normal(0, 0.1, (N, len(means)))
    quality = (quality - quality.mean(axis=0) + means).clip(0, 1)
    quality += means - quality.mean(axis=0)
    cost = rng.uniform(0.5, 1.5, (N, len(costs)))
    return quality.clip(0, 1), cost / cost.mean(axis=0) * costs


@pytest.mark.parametrize("learnt", [False, True])
def test_the_front_is_found_from_a_part_of_the_cells(learnt: bool) -> None:
    quality, cost = draw(np.random.default_rng(1), [0.4, 0.6, 0.5, 0.55, 0.8, 0.65], [1, 2, 3, 4, 8, 9])
    race, cells = run(quality, cost, learnt=learnt)
    assert race.front == [0, 1, 4]
    assert cells < 0.75 * quality.size
    assert set(race.by) == {2, 3, 5}
    assert all(rival in (0, 1, 4) for rivals in race.by.values() for rival in rivals)


@pytest.mark.parametrize("learnt", [False, True])
def test_a_variant_that_nothing_covers_is_hardly_ever_dropped(learnt: bool) -> None:
    rng, wrong = np.random.default_rng(2), 0
    means = [0.4, 0.4 + EPSILON + 1e-6, 0.4 + 2 * EPSILON + 2e-6, 0.4 + 3 * EPSILON + 3e-6]
    for _ in range(150):
        quality, cost = draw(rng, means, [1, 2, 3, 4])
        race, _ = run(quality, cost, learnt=learnt, alpha=0.1)
        left_out = uncovered(
            race.front, quality.mean(axis=0), cost.mean(axis=0), epsilon=EPSILON, tolerance=0.1 if learnt else 0.0
        )
        wrong += bool(left_out)
    assert wrong / 150 <= 0.1 + 2.5 * (0.1 * 0.9 / 150) ** 0.5


def test_a_variant_that_is_never_best_takes_none_from_the_front() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        quality, cost = draw(rng, [0.4, 0.6, 0.8], [1, 2, 4])
        worst = np.column_stack([quality, quality[:, 2] * 0.3]), np.column_stack([cost, cost[:, 2] * 2])
        assert run(*worst, learnt=False)[0].front == run(quality, cost, learnt=False)[0].front == [0, 1, 2]


def test_the_same_samples_leave_the_same_state() -> None:
    quality, cost = draw(np.random.default_rng(4), [0.4, 0.45, 0.5, 0.6], [1, 2, 3, 4])
    first, again = (run(quality, cost, learnt=True)[0] for _ in range(2))
    assert (first.front, first.by) == (again.front, again.by)
    assert np.array_equal(first.asked, again.asked)


def test_the_exact_front_is_known_when_all_is_seen() -> None:
    quality, cost = draw(np.random.default_rng(5), [0.5, 0.501, 0.5005, 0.502], [1, 2, 3, 4])
    race = Race(RaceRules(epsilon=0.0), N, 4, cost.mean(axis=0))
    for row in quality:
        race.take(row)
    race.decide()
    race.finish(quality.mean(axis=0), cost.mean(axis=0))
    assert race.front == [0, 1, 3]
    assert not race.open.any()


def test_of_equally_dear_variants_the_better_one_stays() -> None:
    quality, _ = draw(np.random.default_rng(6), [0.5, 0.7], [2, 2])
    dear = np.full((N, 2), 2.0)
    assert run(quality, dear, learnt=False)[0].front == [1]
    assert run(quality[:, ::-1], dear, learnt=False)[0].front == [0]


def test_costs_that_are_learnt_need_bounds() -> None:
    with pytest.raises(ValueError, match="need bounds"):
        Race(RaceRules(), 10, 2)
