"""Bets on pairs against slow loops written from the definition, whenever variants come."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.bets import AT_STAKE, N_BETS
from paretoken.analysis.duels import BURN_IN, Duels, Goal, Limit, Stakes
from paretoken.analysis.sequences import DESIGN_EFFECT, SPREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N = 24
GOALS = (Goal("quality", slack=0.05), Goal("cost", larger_is_better=False, tolerance=0.1), Goal("style", slack=0.1))
LIMITS = (Limit("error_rate", at_least=False, bound=0.2),)
ENDS = [(0.0, 1.0), (0.0, 3.0), (0.0, 1.0), (0.0, 1.0)]
STAKES = Stakes((-0.05, 0.0), (1.0, 1.0), 0.05)


def duels(goals: Sequence[Goal] = GOALS, total: int = N, **said: object) -> Duels:
    return Duels(goals, LIMITS, said.get("stakes", STAKES), total, claim_at=1.0, fit_at=said.get("fit_at", 0.5))  # type: ignore[arg-type]


def data(k: int, seed: int, missing: float = 0.1) -> NDArray[np.float64]:
    """Values of every goal and limit, shape `(k, 4, N)`."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (k, 4, N)) * [[[1], [3], [1], [1]]] * rng.uniform(0.3, 1, (k, 4, 1))
    values[:, 3] = rng.random((k, N)) < 0.1
    values[rng.random(values.shape) < missing] = np.nan
    return values


class Wealth:
    """One wealth, as the definition has it: a mixture over stakes, of which the largest value counts."""

    def __init__(self, total: int) -> None:
        grid = [-2.4 + 4.8 * i / (N_BETS - 1) for i in range(N_BETS)]
        weights = [math.exp(-0.5 * z * z) for z in grid]
        self.weights = [w / sum(weights) for w in weights]
        self.effects = [DESIGN_EFFECT / max(total / 8, 1.0) ** 0.5 * math.exp(SPREAD * z) for z in grid]
        self.capital = [1.0] * N_BETS
        self.best = 0.0

    def bet(self, gain: float, room: float, spread: float) -> None:
        stakes = [min(effect / spread, AT_STAKE / max(room, 1e-12)) for effect in self.effects]
        self.capital = [c * (1 + stake * gain) for c, stake in zip(self.capital, stakes, strict=True)]
        mixed = sum(w * c for w, c in zip(self.weights, self.capital, strict=True))
        self.best = math.inf if room < -1e-9 * spread else max(self.best, math.log(mixed))


def spread_of(differences: list[float], width: float) -> float:
    n = len(differences)
    squares = sum(d * d for d in differences) - (sum(differences) ** 2 / n if n else 0.0)
    return math.sqrt((width**2 + max(squares, 0.0)) / (n + 1))


def claim(x: Sequence[float], y: Sequence[float], ends: tuple[float, float], bet: tuple[float, float, float],
          first: bool) -> float:  # fmt: skip
    """Largest logarithm of a wealth that grows where the mean of `a x + b y + c` is positive."""
    a, b, c = bet
    wealth, total, seen = Wealth(N), 0.0, []
    low, high = ends
    least = sum(f * (low if f > 0 else high) for f in (a, b)) + c
    for t, (u, v) in enumerate(zip(x, y, strict=True)):
        known = not (math.isnan(u) or math.isnan(v))
        value = a * u + b * v + c if known else 0.0
        expected = -total / (N - t)
        wealth.bet(
            value - expected, expected - min(least, 0.0), spread_of(seen, 2 * (high - low) / (4 if first else 8))
        )
        total += value
        if known:
            seen.append(u - v)
    return wealth.best


def keeps(x: Sequence[float], limit: Limit, sign: float) -> float:
    """Largest logarithm of a wealth that grows where the mean keeps a limit (sign 1), or breaks it (-1)."""
    up = 1.0 if limit.at_least else -1.0
    low, high = sorted(up * (end - limit.bound) for end in (0.0, 1.0))
    wealth, total, seen = Wealth(N), 0.0, []
    for t, u in enumerate(x):
        margin = 0.0 if math.isnan(u) else up * (u - limit.bound)
        expected = -total / (N - t)
        room = expected - min(low, 0.0) if sign > 0 else max(high, 0.0) - expected
        wealth.bet(sign * (margin - expected), room, spread_of(seen, (high - low) / 2))
        total += margin
        if not math.isnan(u):
            seen.append(margin)
    return wealth.best


def upward(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * np.array([1, -1, 1, 1])[:, None]


def check_pairs(d: Duels, slots: Sequence[int], values: NDArray[np.float64]) -> None:
    """Every wealth of every pair equals the loop's."""
    seen = upward(values)
    for i, j in itertools.permutations(range(len(slots)), 2):
        n = min(int(d.length[slots[i]]), int(d.length[slots[j]]))
        pair = slots[i], slots[j]
        for g, goal in enumerate(GOALS):
            x, y = seen[i, g, :n], seen[j, g, :n]
            ends = ENDS[g] if goal.larger_is_better else (-ENDS[g][1], -ENDS[g][0])
            if g == 0:
                expected = claim(x, y, ends, (-1, 1, STAKES.keep), first=True)
                assert d._harmless.best[pair] == pytest.approx(expected, abs=1e-9)
                both = ~np.isnan(x + y)
                lead = (x - y)[both].mean() if both.any() else 0.0
                assert d.leads()[pair] == pytest.approx(lead)
                continue
            shown = claim(x, y, ends, (1, -goal.ratio, goal.slack), first=False)
            assert d._no_worse[g - 1].best[pair] == pytest.approx(shown, abs=1e-9)
            assert d._worse[g - 1].best[pair] == pytest.approx(claim(x, y, ends, (-1, 1, 0), first=False), abs=1e-9)
    for i, slot in enumerate(slots):
        x = values[i, 3, : d.length[slot]]
        assert d._keeps[0].best[slot] == pytest.approx(keeps(x, LIMITS[0], 1), abs=1e-9)
        assert d._breaks[0].best[slot] == pytest.approx(keeps(x, LIMITS[0], -1), abs=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_wealths_are_those_of_the_definition(missing: float) -> None:
    values, d = data(3, 1, missing), duels()
    slots = [d.add(ENDS, [None] * 3) for _ in values]
    for start in range(0, N, 5):
        for slot, row in zip(slots, values, strict=True):
            d.put(slot, row[:, start : start + 5])
        d.play()
        check_pairs(d, slots, values)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), min_size=4, max_size=14), st.integers(0, 99))
def test_pairs_do_not_care_when_variants_come(steps: list[tuple[int, int]], seed: int) -> None:
    """Variants enter late, run ahead and fall behind: a pair's wealths rest on the samples that both have answered."""
    values, d, slots = data(4, seed), duels(), {}
    for arm, n in steps:
        if arm not in slots:
            slots[arm] = d.add(ENDS, [None] * 3)
        start = int(d.length[slots[arm]])
        d.put(slots[arm], values[arm][:, start : start + n])
        d.play()
    order = list(slots)
    check_pairs(d, [slots[arm] for arm in order], values[order])


def test_a_slot_that_was_left_begins_anew() -> None:
    values, d = data(9, 2), duels()
    slots = [d.add(ENDS, [None] * 3) for _ in range(8)]
    for slot, row in zip(slots, values[:8], strict=True):
        d.put(slot, row)
    d.play()
    d.remove(slots[3])
    assert d.add(ENDS, [None] * 3) == slots[3]
    d.put(slots[3], values[8])
    d.play()
    check_pairs(d, [slots[0], slots[3]], values[[0, 8]])
    check_pairs(d, [slots[0], slots[7]], values[[0, 7]])


def follow(values: NDArray[np.float64], arm: int, lead: float, rivals: Sequence[int]) -> tuple[float, set[int]]:
    """Largest logarithm of the wealth that bets on whichever rival leads by then, and whom it has bet on."""
    wealth, followed = Wealth(N), set()
    for t in range(values.shape[-1]):
        before = {r: [d for d in values[r, :t] - values[arm, :t] if not math.isnan(d)] for r in rivals}
        looks = {r: sum(ds) / len(ds) if ds else 0.0 for r, ds in before.items()}
        if t < BURN_IN:
            continue
        rival = max(rivals, key=lambda r: looks[r])
        followed.add(rival)
        total = sum(d - lead for d in before[rival])
        now, expected = values[rival, t] - values[arm, t] - lead, -total / (N - t)
        gain = (0.0 if math.isnan(now) else now) - expected
        wealth.bet(gain, expected - min(-1 - lead, 0.0), spread_of(before[rival], 0.5))
    return wealth.best, followed


@pytest.mark.parametrize("late", [0, 9])
def test_the_followers_wealth_is_that_of_the_definition(late: int) -> None:
    """One that comes late bets on the same rivals as if it had been there from the beginning."""
    values = data(4, 3)
    any_rival = Stakes((-0.05, 0.0), (1.0, 1.0), 0.05, any_rival=True)
    d = duels(stakes=any_rival, fit_at=-1.0)
    slots = [d.add(ENDS, [None] * 3) for _ in range(3)]
    for slot, row in zip(slots, values, strict=False):
        d.put(slot, row[:, :late])
    d.play()
    slots.append(d.add(ENDS, [None] * 3))
    for slot, row in zip(slots, values, strict=True):
        d.put(slot, row[:, int(d.length[slot]) :])
    d.play()
    quality = values[:, 0]
    for arm, rivals in ((3, [0, 1, 2]), *([] if late else [(0, [1, 2, 3]), (2, [0, 1, 3])])):
        for wealths, lead in zip(d.against, any_rival.drop, strict=True):
            expected, followed = follow(quality, arm, lead, rivals)
            assert wealths.best[slots[arm]] == pytest.approx(expected, abs=1e-9)
            assert set(np.flatnonzero(d.bet_on[:, slots[arm]])) == {slots[r] for r in followed}


def test_coming_late_leaves_the_state_of_coming_together() -> None:
    """Of a pair; the wealth of an early variant has not bet on one that was not there."""
    values = data(3, 4)
    together, late = duels(), duels()
    for d, order in ((together, [[0, 1, 2]]), (late, [[1], [0], [2]])):
        for group in order:
            slots = {arm: d.add(ENDS, [None] * 3) for arm in group}
            for arm, slot in slots.items():
                d.put(slot, values[arm])
            d.play()
    place = {0: 1, 1: 0, 2: 2}
    for i, j in itertools.permutations(range(3), 2):
        for ours, theirs in zip((together._harmless, *together._no_worse, *together._worse),
                                (late._harmless, *late._no_worse, *late._worse), strict=True):  # fmt: skip
            assert ours.best[i, j] == theirs.best[place[i], place[j]]


def test_given_means_are_compared_without_samples() -> None:
    goals = Goal("quality"), Goal("cost", larger_is_better=False, tolerance=0.1, given=True)
    d = Duels(goals, (), Stakes((0.0,), (1.0,), 0.0), N, claim_at=math.inf, fit_at=math.inf)
    a, b, c = (d.add([(0, 1), (0, 9)], [None, cost]) for cost in (1.0, 1.1, 1.3))
    assert d.no_worse[b, a]
    assert not d.never_worse[b, a]
    assert d.never_worse[a, b]
    assert not d.no_worse[c, a]
    assert d.harmless(0.0)[b, a]
    d.remove(a)
    assert d.add([(0, 1), (0, 9)], [None, 1.3]) == a
    assert d.never_worse[a, c]
    assert d.never_worse[c, a]


def test_a_bound_at_the_end_of_the_range_is_no_proof() -> None:
    """Where the least that may come is just what the bound asks for, it may hold."""
    d = Duels([Goal("quality")], [Limit("error_rate", at_least=False, bound=0.0)], Stakes((0.0,), (1.0,), 0.0), N,
              claim_at=math.inf, fit_at=1.0)  # fmt: skip
    slot = d.add([(0, 1), (0, 1)], [None])
    d.put(slot, np.array([[0.5] * 5, [0.0] * 5]))
    d.play()
    assert not d.breaks.any()
    d.put(slot, np.array([[0.5] * 2, [1.0, 0.0]]))
    d.play()
    assert d.breaks[0, slot], "after one error no mean can be 0"


def test_free_variants_cost_the_same() -> None:
    goals = Goal("quality"), Goal("cost", larger_is_better=False)
    d = Duels(goals, (), Stakes((0.0,), (1.0,), 0.0), N, claim_at=3.0, fit_at=math.inf)
    free, also, dear = d.add([(0, 1), (0, 0)], []), d.add([(0, 1), (0, 0)], []), d.add([(0, 1), (0, 2)], [])
    for slot, cost in ((free, 0.0), (also, 0.0), (dear, 1.0)):
        d.put(slot, np.array([[0.5] * 12, [cost] * 12]))
    d.play()
    assert d.no_worse[free, also]
    assert d.no_worse[also, free]
    assert d.no_worse[free, dear]
    assert not d.shown_worse[free, also]
    assert d.shown_worse[dear, free]
