"""How often a race is wrong where it is hardest: every difference lies exactly at the margin, or just beyond it."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - of a constant
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.cheapest import CheapestRace
from paretoken.analysis.contest import Unraced
from paretoken.analysis.duels import Goal, Limit
from paretoken.analysis.race import Race

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Contest

ALPHA = 0.2
EPSILON = 1 / 12
TOLERANCE = 0.1
N = 48
RUNS = 24
BEYOND = 1e-9


def with_means(rng: np.random.Generator, means: Sequence[float], spread: float) -> NDArray[np.float64]:
    """Values around a common ease with exactly these means, shape `(k, N)`."""
    ease = rng.uniform(-spread, spread, N)
    rows = ease + rng.uniform(-spread, spread, (len(means), N))
    return rows - rows.mean(axis=1, keepdims=True) + np.array(means)[:, None]


def coins(rng: np.random.Generator, means: Sequence[float]) -> NDArray[np.float64]:
    """As `with_means`, but all or nothing: what varies most tempts a bet most."""
    rows = np.stack([rng.permutation(np.arange(N) < round(mean * N)) for mean in means]).astype(float)
    return rows + (np.array(means) - rows.mean(axis=1))[:, None]


def costs_with_means(rng: np.random.Generator, means: Sequence[float], spread: float = 0.5) -> NDArray[np.float64]:
    rows = rng.choice([1 - spread, 1 + spread], (len(means), N)) + rng.uniform(0, 0.1, (len(means), N))
    return rows / rows.mean(axis=1, keepdims=True) * np.array(means)[:, None]


@dataclass
class Case:
    """A race whose truth is known.

    Attributes:
        goals: What decides.
        draw: Gives values of every goal, then limit, by variant; shape `(k, n_goals + n_limits, N)`.
        limits: Bounds.
        late: Variants come one after the other, each when the others are decided.
        missing: Share of samples of which each variant lacks all values.
    """

    id: str
    goals: tuple[Goal, ...]
    draw: Callable[[np.random.Generator], NDArray[np.float64]]
    limits: tuple[Limit, ...] = ()
    late: bool = False
    missing: float = 0.0
    ends: tuple[tuple[float, float], ...] = field(default=())

    def truth(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        signs = [1 if goal.larger_is_better else -1 for goal in self.goals]
        return np.nanmean(values[:, : len(self.goals)], axis=2) * signs

    def fits(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        means = np.nanmean(values[:, len(self.goals) :], axis=2)
        kept = [[limit.holds(mean) for limit, mean in zip(self.limits, row, strict=True)] for row in means]
        return np.array(kept, np.bool_).reshape(len(values), -1).all(axis=1)

    def uncovered(self, chosen: Sequence[int], values: NDArray[np.float64]) -> list[int]:
        """Variants that keep the limits, and that no chosen one which does covers."""
        means, fits = self.truth(values), self.fits(values)

        def beaten_by(a: int, b: int, goal: Goal, g: int) -> bool:
            both = ~np.isnan(values[a, g] + values[b, g])
            paired = values[[a, b], g][:, both].mean(axis=1) * (1 if goal.larger_is_better else -1)
            pairs = (means[a, g], means[b, g]), (paired[0], paired[1])  # where answers are missing these may differ
            return any(u >= goal.ratio * v - goal.slack - BEYOND / 10 for u, v in pairs)

        def covers(a: int, b: int) -> bool:
            return all(beaten_by(a, b, goal, g) for g, goal in enumerate(self.goals))

        return [b for b in range(len(values)) if fits[b] and not any(fits[a] and covers(a, b) for a in chosen)]


def tops(values: NDArray[np.float64]) -> list[list[tuple[float, float]]]:
    known = np.nan_to_num(values)
    return [[(min(0.0, float(row.min())), max(1.0, float(row.max()))) for row in rows] for rows in known]


def hold(contest: Contest, values: NDArray[np.float64], *, late: bool = False, given: Sequence[Goal] = (),
         block: int = 16) -> int:  # fmt: skip
    """Race to the end; the number of cells."""
    ends, cells, waiting = tops(values), 0, list(range(len(values)))
    while waiting or contest.asked:
        while waiting and not (late and contest.asked):
            arm = waiting.pop(0)
            means = [float(np.nanmean(values[arm, g])) if goal.given else None for g, goal in enumerate(given)]
            assert contest.add(ends[arm], means) == arm
        rows = {arm: values[arm][:, contest.length(arm) :][:, :block] for arm in contest.asked}
        for arm, part in rows.items():
            assert part.shape[1], "nobody is asked for more than there is"
            contest.put(arm, part)
            cells += part.shape[1]
        contest.decide()
    return cells


def error_rate(case: Case, seed: int, runs: int = RUNS) -> float:
    rng, wrong = np.random.default_rng(seed), 0
    for _ in range(runs):
        values = case.draw(rng)
        holes = rng.random((len(values), 1, N)) < case.missing
        values = np.where(holes, np.nan, values)
        race = Race(case.goals, N, len(values), alpha=ALPHA, limits=case.limits)
        hold(race, values, late=case.late, given=case.goals)
        assert not race.open
        wrong += bool(case.uncovered(race.chosen, values))
    return wrong / runs


def most(runs: int = RUNS) -> float:
    return ALPHA + 2.5 * (ALPHA * (1 - ALPHA) / runs) ** 0.5


QUALITY = Goal("quality", slack=EPSILON)
COST = Goal("cost", larger_is_better=False, tolerance=TOLERANCE)
GIVEN = Goal("cost", larger_is_better=False, given=True)
STYLE = Goal("style", slack=EPSILON)
SPEED = Goal("latency_s", larger_is_better=False)
LADDER = [0.25 + i * (EPSILON + BEYOND) for i in range(4)]
"""Each is better than the one before by a little more than what counts as none."""
STAIRS = [(1 + TOLERANCE + BEYOND) ** i for i in range(4)]
"""Each costs a little more than what counts as no more."""
ELEVATED = Limit("error_rate", at_least=False, bound=0.25)
FLOOR = Limit("safety", at_least=True, bound=0.5)


def quality_at_the_margin(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.stack([coins(rng, LADDER), costs_with_means(rng, [1, 2, 4, 8])], axis=1)


def cost_at_the_margin(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.stack([with_means(rng, [0.2, 0.4, 0.6, 0.8], 0.1), costs_with_means(rng, STAIRS, 0.9)], axis=1)


def style_at_the_margin(rng: np.random.Generator) -> NDArray[np.float64]:
    """Each is clearly better and cheaper than the one before, and its style a little too bad."""
    style = coins(rng, LADDER[::-1])
    return np.stack([with_means(rng, [0.2, 0.4, 0.6, 0.8], 0.1), costs_with_means(rng, [8, 4, 2, 1]), style], axis=1)


def four_at_the_margin(rng: np.random.Generator) -> NDArray[np.float64]:
    slow = costs_with_means(rng, [1, 1 + BEYOND, 1 + 2 * BEYOND, 1 + 3 * BEYOND])
    quality, cost = with_means(rng, [0.3, 0.45, 0.6, 0.75], 0.1), costs_with_means(rng, [8, 4, 2, 1])
    return np.stack([quality, cost, coins(rng, [0.5] * 4), slow], axis=1)


def limits_at_the_bound(rng: np.random.Generator) -> NDArray[np.float64]:
    """The best two break a limit by nothing to speak of; the others keep both by as little."""
    failed = coins(rng, [0.25, 0.25, 0.25, 0.25 + BEYOND])
    safe = coins(rng, [0.5, 0.5, 0.5 - BEYOND, 0.5])
    quality, cost = with_means(rng, [0.3, 0.45, 0.7, 0.8], 0.1), costs_with_means(rng, [1, 2, 0.5, 0.5])
    return np.stack([quality, cost, failed, safe], axis=1)


CASES = [
    Case("2 goals, costs given", (QUALITY, GIVEN), quality_at_the_margin),
    Case("2 goals, costs learnt", (QUALITY, COST), quality_at_the_margin, missing=0.1),
    Case("2 goals, costs at the tolerance", (QUALITY, COST), cost_at_the_margin),
    Case("2 goals, one after the other", (QUALITY, COST), cost_at_the_margin, late=True),
    Case("3 goals", (QUALITY, COST, STYLE), style_at_the_margin),
    Case("3 goals, one after the other, answers missing", (QUALITY, COST, STYLE), style_at_the_margin, late=True,
         missing=0.1),
    Case("4 goals", (QUALITY, COST, STYLE, SPEED), four_at_the_margin),
    Case("limits at the bound", (QUALITY, COST), limits_at_the_bound, (ELEVATED, FLOOR)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_variant_that_nothing_covers_is_hardly_ever_dropped(case: Case) -> None:
    assert error_rate(case, seed=11) <= most()


WITHIN = 1 / 6


def cheapest_wrong(race: CheapestRace, values: NDArray[np.float64], *, reference: int | None = None) -> bool:
    """The winner is not good enough, or a variant that is within half of the margin is cheaper."""
    quality, cost = np.nanmean(values[:, 0], axis=1), np.nanmean(values[:, 1], axis=1)
    best = quality.max() if reference is None else quality[reference]
    half = [i for i in range(len(values)) if quality[i] >= best - WITHIN / 2 + BEYOND / 10]
    if race.winner is None:
        return True
    cheaper = [i for i in half if cost[race.winner] > cost[i] * (1 + TOLERANCE) + BEYOND / 10]
    return bool(quality[race.winner] < best - WITHIN - BEYOND / 10 or cheaper)


def just_too_bad(rng: np.random.Generator) -> NDArray[np.float64]:
    quality = [0.75, 0.75 - WITHIN - BEYOND, 0.75 - WITHIN - BEYOND, 0.75 - WITHIN - BEYOND]
    return np.stack([coins(rng, quality), costs_with_means(rng, [4, 3, 2, 1])], axis=1)


def just_good_enough(rng: np.random.Generator) -> NDArray[np.float64]:
    quality = [0.75, 0.75, 0.75, 0.75 - WITHIN / 2 + BEYOND]
    return np.stack([coins(rng, quality), costs_with_means(rng, [4, 3, 2, 1])], axis=1)


def just_too_dear(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.stack([with_means(rng, [0.6] * 4, 0.05), costs_with_means(rng, STAIRS, 0.9)], axis=1)


def better_than_the_reference(rng: np.random.Generator) -> NDArray[np.float64]:
    quality = [0.5, 0.9, 0.5 - WITHIN / 2 + BEYOND, 0.5 - WITHIN - BEYOND]
    return np.stack([coins(rng, quality), costs_with_means(rng, [4, 3, 2, 1])], axis=1)


CHEAPEST = {
    "just too bad": (just_too_bad, None, 0.0),
    "just good enough": (just_good_enough, None, 0.1),
    "just too dear": (just_too_dear, None, 0.0),
    "beside a reference": (better_than_the_reference, 0, 0.0),
}


def cheapest_error_rate(name: str, seed: int, runs: int = RUNS) -> float:
    draw, reference, missing = CHEAPEST[name]
    rng, wrong, cost = np.random.default_rng(seed), 0, Goal("cost", larger_is_better=False, tolerance=TOLERANCE)
    for _ in range(runs):
        values = draw(rng)
        values[:, :, rng.random(N) < missing] = np.nan
        race = CheapestRace(Goal("quality"), cost, N, len(values), within=WITHIN, alpha=ALPHA, reference=reference)
        hold(race, values)
        wrong += cheapest_wrong(race, values, reference=reference)
    return wrong / runs


@pytest.mark.parametrize("name", list(CHEAPEST))
def test_the_cheapest_is_hardly_ever_wrong(name: str) -> None:
    assert cheapest_error_rate(name, seed=12) <= most()


def test_the_cheapest_above_floors_alone() -> None:
    rng, wrong, cost = np.random.default_rng(13), 0, Goal("cost", larger_is_better=False, tolerance=TOLERANCE)
    for _ in range(RUNS):
        floor = coins(rng, [0.5 - BEYOND, 0.5 - BEYOND, 0.5, 0.75])
        values = np.stack([floor, costs_with_means(rng, [1, 2, 3, 4]), floor], axis=1)
        limits = (Limit("quality", at_least=True, bound=0.5),)
        race = CheapestRace(Goal("quality"), cost, N, 4, within=None, alpha=ALPHA, limits=limits)
        hold(race, values)
        wrong += race.winner != 2
    assert wrong / RUNS <= most()


RACES: dict[str, Callable[[int, int], Contest]] = {
    "race": lambda n, k: Race((QUALITY, COST, STYLE), n, k, limits=(ELEVATED,)),
    "one goal": lambda n, k: Race((QUALITY,), n, k),
    "cheapest": lambda n, k: CheapestRace(Goal("quality"), COST, n, k, within=0.05, limits=(ELEVATED,)),
    "reference": lambda n, k: CheapestRace(Goal("quality"), COST, n, k, within=0.05, reference=k - 1),
    "floors": lambda n, k: CheapestRace(Goal("quality"), COST, n, k, within=None, limits=(ELEVATED,)),
    "all": lambda n, k: Unraced((QUALITY, COST, STYLE), n, k, limits=(ELEVATED,)),
}
ROWS = {"one goal": 1, "cheapest": 3, "reference": 2, "floors": 3}


@settings(max_examples=80)
@given(
    st.sampled_from(list(RACES)),
    st.integers(2, 5),
    st.integers(1, 30),
    st.integers(0, 10**6),
    st.sampled_from(["nothing", "twins", "constant", "silent", "sparse", "free"]),
    st.booleans(),
)
def test_every_race_ends_with_everything_decided(kind: str, k: int, n: int, seed: int, odd: str, late: bool) -> None:
    """Whatever the data are: twins, a constant metric, variants without any value, few samples, a price of nothing."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (k, 4, n)) * rng.uniform(0.5, 1, (k, 4, 1))
    values[:, 3] = rng.random((k, n)) < 0.15
    match odd:
        case "twins":
            values[:] = values[0]
        case "constant":
            values[:, int(rng.integers(3))] = 0.5
        case "silent":
            values[0, :3] = np.nan
        case "sparse":
            values[rng.random(values.shape) < 0.6] = np.nan
        case "free":
            values[:, 1] = 0.0
    keep = {1: [0], 2: [0, 1], 3: [0, 1, 3]}.get(ROWS.get(kind, 4), [0, 1, 2, 3])
    contest = RACES[kind](n, k)
    late = late and kind in ("race", "one goal", "all")  # the cheapest is looked for among those that begin together
    cells = hold(contest, values[:, keep], late=late, block=8)
    assert cells <= k * n
    if kind == "reference" and odd in ("silent", "sparse"):
        return  # nothing can be said of what has no answer
    assert not contest.open
    fates = [contest.decisions[arm].fate for arm in range(k)]
    if kind == "all":
        assert set(fates) <= {"kept", "infeasible"}
        assert cells == k * n
    if kind in ("race", "all") and odd == "twins":
        kept, early = fates.count("kept"), kind == "race" and cells < k * n
        if "infeasible" in fates:
            assert not contest.chosen
        elif early:  # the few samples left could speak against none of them
            assert 1 <= kept == len(contest.chosen)
        else:
            assert kept == (1 if kind == "race" else k)
            assert len(contest.chosen) == 1
    if kind in ("cheapest", "reference", "floors"):
        assert fates.count("kept") == (0 if set(fates) == {"infeasible"} else 1)
    for arm, decision in contest.decisions.items():
        assert arm not in decision.by
        assert decision.n <= n


def test_one_without_any_answer_is_on_no_front() -> None:
    values = np.random.default_rng(14).uniform(0.4, 0.6, (3, 2, N))
    values[1] = np.nan
    race = Race((QUALITY, COST), N, 3)
    hold(race, values)
    assert race.decisions[1].limits == ("no answer",)
    cheapest = CheapestRace(Goal("quality"), COST, N, 3, within=0.3)
    hold(cheapest, values)
    assert cheapest.winner in (0, 2)
    assert cheapest.decisions[1].limits == ("no answer",)


def test_a_reference_that_breaks_a_limit_is_still_the_measure() -> None:
    rng = np.random.default_rng(15)
    failed = np.stack([np.ones(N), np.zeros(N), np.zeros(N)])
    quality = with_means(rng, [0.7, 0.4, 0.68], 0.1)
    values = np.stack([quality, costs_with_means(rng, [9, 1, 3]), failed], axis=1)
    race = CheapestRace(Goal("quality"), COST, N, 3, within=0.1, limits=(ELEVATED,), reference=0)
    hold(race, values)
    assert race.winner == 2
    assert [race.decisions[arm].fate for arm in (0, 1)] == ["infeasible", "beaten"]


def test_good_enough_is_said_once_and_for_all() -> None:
    """Between half of the margin and the margin a variant may be taken or rejected, but not one after the other."""
    rng = np.random.default_rng(16)
    for _ in range(20):
        quality = with_means(rng, [0.6, 0.6, 0.6 - 0.75 * WITHIN, 0.6 - 0.95 * WITHIN], 0.1)
        race = CheapestRace(Goal("quality"), COST, N, 4, within=WITHIN)
        hold(race, np.stack([quality, costs_with_means(rng, [6, 4, 2, 1])], axis=1), block=4)
        assert race.winner is not None


def test_small_losses_of_several_goals_do_not_add_up() -> None:
    """Each is no worse than the one before beyond the margins, but for steps of several: one after the other comes."""
    rng, goals = np.random.default_rng(17), (QUALITY, Goal("cost", larger_is_better=False, tolerance=0.4))
    for order in (range(6), range(5, -1, -1)):
        quality, cost = np.linspace(0.1, 0.8, 6)[list(order)], np.array([1.13**i for i in order])
        values = np.stack([with_means(rng, quality, 0.05), costs_with_means(rng, cost, 0.2)], axis=1)
        race = Race(goals, N, 6)
        hold(race, values, late=True)
        for arm, decision in race.decisions.items():
            assert decision.fate == "kept" or any(
                cost[rival] <= 1.4 * cost[arm] and quality[rival] >= quality[arm] - EPSILON for rival in race.chosen
            )
        for arm in race.decisions:
            if any(arm in other.by for other in race.decisions.values()) and race.decisions[arm].fate == "beaten":
                assert all(cost[rival] <= cost[arm] for rival in race.decisions[arm].by), "strictly, by then"


def test_one_that_is_never_best_takes_none_from_the_front() -> None:
    rng = np.random.default_rng(18)
    values = np.stack([with_means(rng, [0.2, 0.4, 0.6], 0.1), costs_with_means(rng, [1, 2, 4], 0.2)], axis=1)
    worst = np.stack([values[2, 0] - 0.3, values[2, 1] * 2])[None]
    for late in (False, True):
        race = Race((QUALITY, COST), N, 4)
        hold(race, np.concatenate([values, worst]), late=late)
        assert race.chosen == [0, 1, 2]


def test_how_many_samples_a_round_has_changes_who_is_asked_and_not_what_is_true() -> None:
    rng = np.random.default_rng(19)
    values = cost_at_the_margin(rng)
    values[:, 0] = with_means(rng, [0.2, 0.5, 0.3, 0.8], 0.1)
    fronts = set()
    for block in (1, 8, N):
        race = Race((QUALITY, COST), N, 4)
        hold(race, values, block=block)
        fronts.add(tuple(race.chosen))
    assert fronts == {(0, 1, 3)}
