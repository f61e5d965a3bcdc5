"""A race finds the front from a part of the cells and is hardly ever wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from paretoken.analysis.duels import Goal
from paretoken.analysis.race import Race, uncovered

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = 0.05
N = 200


def run(
    quality: NDArray[np.float64], cost: NDArray[np.float64], *, learnt: bool, block: int = 8, alpha: float = 0.05
) -> tuple[Race, int]:
    """Race variants that all begin together, and count the cells."""
    race, numbers = start(quality, cost, learnt=learnt, alpha=alpha)
    cells = 0
    while race.asked:
        for arm in race.asked:
            cells += put(race, arm, quality[:, numbers[arm]], cost[:, numbers[arm]], block)
        race.decide()
    return race, cells


def start(
    quality: NDArray[np.float64], cost: NDArray[np.float64], *, learnt: bool, alpha: float = 0.05
) -> tuple[Race, dict[int, int]]:
    goals = Goal("quality", slack=EPSILON), Goal("cost", False, tolerance=0.1 * learnt, given=not learnt)
    n, k = quality.shape
    race = Race(goals, n, k, alpha=alpha)
    numbers = {}
    for i in range(k):
        arm = race.add([(0, 1), (0, cost[:, i].max())], [None, None if learnt else cost[:, i].mean()])
        numbers[arm] = i
    return race, numbers


def put(race: Race, arm: int, quality: NDArray[np.float64], cost: NDArray[np.float64], block: int = 8) -> int:
    first = race.length(arm)
    rows = slice(first, first + block)
    race.put(arm, np.stack([quality[rows], cost[rows]]))
    return len(quality[rows])


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
    assert race.chosen == [0, 1, 4]
    assert cells < 0.75 * quality.size
    beaten = {arm: decision for arm, decision in race.decisions.items() if decision.fate == "beaten"}
    assert set(beaten) == {2, 3, 5}
    assert all(rival in (0, 1, 4) for decision in beaten.values() for rival in decision.by)
    assert all(0 < decision.n <= N for decision in race.decisions.values())


@pytest.mark.parametrize("learnt", [False, True])
def test_a_variant_that_nothing_covers_is_hardly_ever_dropped(learnt: bool) -> None:
    rng, wrong = np.random.default_rng(2), 0
    means = [0.4, 0.4 + EPSILON + 1e-6, 0.4 + 2 * EPSILON + 2e-6, 0.4 + 3 * EPSILON + 3e-6]
    for _ in range(150):
        quality, cost = draw(rng, means, [1, 2, 3, 4])
        race, _ = run(quality, cost, learnt=learnt, alpha=0.1)
        left_out = uncovered(
            race.chosen, quality.mean(axis=0), cost.mean(axis=0), epsilon=EPSILON, tolerance=0.1 if learnt else 0.0
        )
        wrong += bool(left_out)
    assert wrong / 150 <= 0.1 + 2.5 * (0.1 * 0.9 / 150) ** 0.5


def test_a_variant_that_is_never_best_takes_none_from_the_front() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        quality, cost = draw(rng, [0.4, 0.6, 0.8], [1, 2, 4])
        worst = np.column_stack([quality, quality[:, 2] * 0.3]), np.column_stack([cost, cost[:, 2] * 2])
        assert run(*worst, learnt=False)[0].chosen == run(quality, cost, learnt=False)[0].chosen == [0, 1, 2]


def test_the_same_samples_leave_the_same_state() -> None:
    quality, cost = draw(np.random.default_rng(4), [0.4, 0.45, 0.5, 0.6], [1, 2, 3, 4])
    first, again = (run(quality, cost, learnt=True)[0] for _ in range(2))
    assert first.decisions == again.decisions


def test_the_exact_front_is_known_when_all_is_seen() -> None:
    quality, cost = draw(np.random.default_rng(5), [0.5, 0.501, 0.5005, 0.502], [1, 2, 3, 4])
    goals = Goal("quality"), Goal("cost", larger_is_better=False, given=True)
    race = Race(goals, N, 4)
    for i in range(4):
        race.add([(0, 1), (0, 10)], [None, cost[:, i].mean()])
        race.put(i, np.stack([quality[:, i], cost[:, i]]))
    race.decide()
    assert race.chosen == [0, 1, 3]
    assert not race.open


def test_of_equally_dear_variants_the_better_one_stays() -> None:
    quality, _ = draw(np.random.default_rng(6), [0.5, 0.7], [2, 2])
    dear = np.full((N, 2), 2.0)
    assert run(quality, dear, learnt=False)[0].chosen == [1]
    assert run(quality[:, ::-1], dear, learnt=False)[0].chosen == [0]


def test_nobody_waits_for_a_variant_that_never_answers() -> None:
    quality, cost = draw(np.random.default_rng(7), [0.5, 0.7, 0.6], [1, 2, 3])
    quality[:, 2], cost[:, 2] = np.nan, np.nan
    race, numbers = start(quality, np.nan_to_num(cost, nan=1.0), learnt=True)
    while race.asked:
        for arm in race.asked:
            put(race, arm, quality[:, numbers[arm]], cost[:, numbers[arm]])
        race.decide()
    assert race.decisions[2].limits == ("no answer",)
    assert race.decisions[2].n == 16
    assert race.chosen == [0, 1]
