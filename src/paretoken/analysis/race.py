"""Racing: the Pareto front of many variants on one dataset, from a part of the cells, with a guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.sequences import DESIGN_EFFECT, SPREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N_BETS = 9
BURN_IN = 4
"""Samples before which no dominator is chosen."""
COST_SHARE = 0.2
"""Share of the error rate that goes to claims of which variant is cheap enough, where costs are not given."""
AT_STAKE = 0.96
"""Largest share of a wealth that one sample can take."""
_GRID = np.linspace(-2.4, 2.4, N_BETS)
_LOG_PRIOR = np.log(np.exp(-0.5 * _GRID**2) / np.exp(-0.5 * _GRID**2).sum())


@dataclass(frozen=True, slots=True)
class RaceRules:
    """How a race is run.

    Attributes:
        epsilon: Quality that a variant on the front may lack against one that was dropped, in the metric's unit; 0 asks
            for the exact front.
        alpha: Probability at most that a variant is dropped which nothing on the front covers.
        tolerance: Relative cost by which a variant may exceed another and still count as no dearer; used only where
            costs are learnt in the race.
        low, high: Bounds of the quality.
    """

    epsilon: float = 0.0
    alpha: float = 0.05
    tolerance: float = 0.0
    low: float = 0.0
    high: float = 1.0


class _Wealths:
    """Wealth of bets that means of pairs exceed a bound, sampled without replacement; arrays of shape `(K, K)`."""

    def __init__(self, shape: tuple[int, ...], effects: NDArray[np.float64]) -> None:
        self._effects = effects
        self._log = np.broadcast_to(_LOG_PRIOR, (*shape, N_BETS)).copy()
        self.best = np.zeros(shape)

    def restart(self, chosen: NDArray[np.bool_]) -> None:
        """Forget what was won."""
        self._log[chosen] = _LOG_PRIOR
        self.best[chosen] = 0.0

    def bet(
        self, gain: NDArray[np.float64], room: NDArray[np.float64], spread: NDArray[np.float64], on: NDArray[np.bool_]
    ) -> None:
        """Bet on a gain whose expected value is not positive if the bound holds, and that loses `room` at most."""
        with np.errstate(divide="ignore"):
            stakes = np.minimum(self._effects / spread[..., None], AT_STAKE / np.maximum(room, 1e-12)[..., None])
        self._log += np.log1p(np.where(on[..., None], stakes * gain[..., None], 0.0))
        peak = self._log.max(axis=-1)
        mixed = peak + np.log(np.exp(self._log - peak[..., None]).sum(axis=-1))
        np.maximum(self.best, np.where(on, np.where(room <= 0, np.inf, mixed), 0.0), out=self.best)


class _Moments:
    """Sums over the samples that both of a pair have answered; arrays of shape `(K, K)`."""

    def __init__(self, n_arms: int, width: float | NDArray[np.float64]) -> None:
        self._width = width
        self.sums, self._squares = np.zeros((n_arms, n_arms)), np.zeros((n_arms, n_arms))

    def mean(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """Means of the pairs."""
        return np.asarray(self.sums / np.maximum(n, 1))

    def spread(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """Standard deviations, drawn to a quarter of the width while little is known."""
        squares = np.maximum(self._squares - n * self.mean(n) ** 2, 0.0)
        return np.asarray(np.sqrt(((self._width / 4) ** 2 + squares) / (n + 1)))

    def add(self, values: NDArray[np.float64], on: NDArray[np.bool_]) -> None:
        """Take one sample's values of the pairs that have them."""
        self.sums += np.where(on, values, 0.0)
        self._squares += np.where(on, values * values, 0.0)


@dataclass
class Race:
    """Drops variants that another one covers, and stops asking those that no other will cover.

    A variant is covered by one that costs no more (beyond the tolerance) and whose quality lacks no more than epsilon.
    Each variant has one wealth that bets, sample by sample, on whichever rival looks best by then: against "no rival
    covers it" there is no factor for the number of rivals. Holm's method corrects for the number of variants. Rivals
    that dropped another variant may be dropped themselves only without epsilon: no chain of small losses adds up.

    Where mean costs are not given, a rival must first be shown to cost no more, by a wealth of its own for every pair;
    those claims share a part of the error rate among all pairs.

    Args:
        rules: How the race is run.
        total: Samples of the dataset.
        costs: Mean cost of every variant where it is known, shape `(K,)`; None learns it.
        most: Largest possible cost of a call of every variant, shape `(K,)`; needed where costs are learnt.
        n_arms: K.

    Attributes:
        asked: Variants that are still asked, shape `(K,)`.
        dropped: Variants that another one covers, shape `(K,)`.
        open: Variants of which neither is decided, shape `(K,)`.
        by: Rivals that dropped a variant, by its number.

    Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS-B 86,
    section 5 on sampling without replacement; Holm (1979), Scandinavian Journal of Statistics 6. The wealth that
    follows the best-looking rival is ours.
    """

    rules: RaceRules
    total: int
    n_arms: int
    costs: NDArray[np.float64] | None = None
    most: NDArray[np.float64] | None = None
    asked: NDArray[np.bool_] = field(init=False)
    dropped: NDArray[np.bool_] = field(init=False)
    open: NDArray[np.bool_] = field(init=False)
    by: dict[int, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        k, rules = self.n_arms, self.rules
        self.asked, self.open = np.ones(k, np.bool_), np.ones(k, np.bool_)
        self.dropped, self._barred = np.zeros(k, np.bool_), np.zeros(k, np.bool_)
        self._seen, self._n = 0, np.zeros((k, k), np.int64)
        self._others = ~np.eye(k, dtype=np.bool_)
        effects = DESIGN_EFFECT / max(self.total / 8, 1.0) ** 0.5 * np.exp(SPREAD * _GRID)
        self._quality = _Moments(k, 2 * (rules.high - rules.low))
        self._weak, self._strict = _Wealths((k,), effects), _Wealths((k,), effects)
        self._worse = _Wealths((k, k), effects)
        self._bet_on = np.zeros((k, k), np.bool_)
        if self.costs is not None:
            self._cheap_enough = (self.costs[:, None] <= self.costs[None, :]) & self._others
            self._dearer = ~self._cheap_enough
            self._alpha = rules.alpha
            return
        if self.most is None:
            raise ValueError("costs that are learnt need bounds")
        self._cheap_enough, self._dearer = np.zeros((k, k), np.bool_), np.zeros((k, k), np.bool_)
        self._alpha = rules.alpha * (1 - COST_SHARE)
        row, column = np.broadcast_to(self.most[:, None], (k, k)), np.broadcast_to(self.most[None, :], (k, k))
        self._least = {"cheap": -row, "dear": -column}
        self._cost = {name: _Moments(k, (row + column) / 2) for name in self._least}
        self._claims = {name: _Wealths((k, k), effects) for name in self._cost}
        self._claim_at = math.log(k * max(k - 1, 1) / (rules.alpha * COST_SHARE))

    @property
    def front(self) -> list[int]:
        """Variants that are not dropped."""
        return [int(i) for i in np.flatnonzero(~self.dropped)]

    def take(self, quality: NDArray[np.float64], cost: NDArray[np.float64] | None = None) -> None:
        """Take one sample in drawn order.

        Args:
            quality: Of every variant that is asked, shape `(K,)`; others are not looked at.
            cost: Likewise, where costs are learnt.
        """
        both = self.asked[:, None] & self.asked[None, :] & self._others
        difference = np.where(both, quality[:, None] - quality[None, :], 0.0)
        left = np.maximum(self.total - self._n, 1)
        if self.costs is None and cost is not None:
            self._take_cost(cost, both, left)
        width = self.rules.high - self.rules.low
        spread = self._quality.spread(self._n)
        expected = (self.total * self.rules.epsilon - self._quality.sums) / left
        self._worse.bet(expected - difference, width - expected, spread, both & self.open[None, :])
        if self._seen >= BURN_IN:
            self._bet_on_rivals(difference, both, left, spread, width)
        self._quality.add(difference, both)
        self._n += both
        self._seen += 1

    def _take_cost(self, cost: NDArray[np.float64], both: NDArray[np.bool_], left: NDArray[np.int64]) -> None:
        ratio = 1 + self.rules.tolerance
        saved = {"cheap": ratio * cost[None, :] - cost[:, None], "dear": cost[:, None] - cost[None, :]}
        for name, claims in self._claims.items():
            moments, values = self._cost[name], np.where(both, saved[name], 0.0)
            expected = -moments.sums / left
            claims.bet(values - expected, expected - self._least[name], moments.spread(self._n), both)
            moments.add(values, both)

    def _bet_on_rivals(
        self,
        difference: NDArray[np.float64],
        both: NDArray[np.bool_],
        left: NDArray[np.int64],
        spread: NDArray[np.float64],
        width: float,
    ) -> None:
        """Bet, for every open variant, that the rival that looks best by now covers it."""
        rivals = both & self._cheap_enough
        arm = np.arange(self.n_arms)
        rival = np.where(rivals, self._quality.mean(self._n), -math.inf).argmax(axis=0)
        on = rivals[rival, arm] & self.open
        pair = rival, arm
        for wealths, bound in ((self._weak, -self.rules.epsilon), (self._strict, 0.0)):
            expected = (self.total * bound - self._quality.sums[pair]) / left[pair]
            wealths.bet(difference[pair] - expected, expected + width, spread[pair], on)
        self._bet_on[pair] |= on

    def decide(self) -> None:
        """Drop, keep, and stop asking: at the end of a block, when all its samples are taken."""
        if self.costs is None:
            self._cheap_enough |= self._claims["cheap"].best >= self._claim_at
        at = math.log(max(int((~self.dropped).sum()) - 1, 1) / self._alpha)
        strict = self.open & (self._strict.best >= at)
        for arm in np.flatnonzero(strict | (self.open & (self._weak.best >= at))):
            rivals = self._bet_on[:, arm]
            if not rivals.any() or (self._barred[arm] and not strict[arm]):
                continue
            self.dropped[arm], self.open[arm] = True, False
            self.by[int(arm)] = [int(rival) for rival in np.flatnonzero(rivals)]
            if not strict[arm] or self.costs is None:
                self._barred |= rivals
                self._forget(int(arm))
        at = math.log(max(int(self.open.sum()), 1) / self._alpha)
        if self.costs is None:
            self._dearer |= self._claims["dear"].best >= at
        harmless = (self._worse.best >= at) | self._dearer | ~self._others | self.dropped[:, None]
        self.open &= ~harmless.all(axis=0)
        self._stop_asking(harmless)

    def _forget(self, arm: int) -> None:
        """Evidence that rests on a rival which is itself covered only within epsilon is no evidence of epsilon."""
        misled = self._bet_on[arm] & self.open
        for wealths in (self._weak, self._strict):
            wealths.restart(misled)
        self._bet_on[:, misled] = False

    def _stop_asking(self, harmless: NDArray[np.bool_]) -> None:
        """A decided variant is asked on only as the best-looking rival of an open one, or while it may cover one."""
        rivals = self.asked[:, None] & ~self.dropped[:, None] & self._others & ~self._dearer
        looks = np.where(rivals, self._quality.mean(self._n), -math.inf)
        best = rivals & (looks >= looks.max(axis=0, keepdims=True))
        needed = (self.open[None, :] & self._others & (~harmless | best)).any(axis=1)
        self.asked &= (self.open | needed) & ~self.dropped

    def finish(self, quality: NDArray[np.float64], costs: NDArray[np.float64]) -> None:
        """Settle what is open once all samples are seen, by the means over all of them.

        Args:
            quality: Mean quality of every variant that was asked to the end, shape `(K,)`.
            costs: Mean cost, likewise.
        """
        for arm in np.flatnonzero(self.open):
            covering = [
                int(rival)
                for rival in np.flatnonzero(~self.dropped)
                if rival != arm and quality[rival] >= quality[arm] and costs[rival] <= costs[arm]
            ]
            self.open[arm] = False
            if covering:
                self.dropped[arm], self.by[int(arm)] = True, covering


def uncovered(
    front: Sequence[int],
    quality: NDArray[np.float64],
    costs: NDArray[np.float64],
    *,
    epsilon: float,
    tolerance: float = 0.0,
) -> list[int]:
    """Variants that no variant on a front covers.

    Args:
        front: Numbers of variants.
        quality: True means, shape `(K,)`.
        costs: True means, shape `(K,)`.
        epsilon: Quality that a covering variant may lack.
        tolerance: Relative cost by which it may be dearer.
    """
    chosen = list(front)

    def covers(arm: int) -> NDArray[np.bool_]:
        good = quality[chosen] >= quality[arm] - epsilon - 1e-12
        return np.asarray(good & (costs[chosen] <= costs[arm] * (1 + tolerance) + 1e-15))

    return [arm for arm in range(len(quality)) if not covers(arm).any()]
