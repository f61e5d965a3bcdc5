"""What samples tell of every pair of variants: evidence that one is no worse than the other, goal by goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoken.analysis.bets import Wealths, padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BURN_IN = 4
"""Samples before which no rival is chosen."""
CLEAR_LEAD = 0.8
"""Lead of a rival on a further goal, relative to its own value, that will soon be shown to be one."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A mean that variants are compared by.

    Attributes:
        name: Of a number or a metric.
        larger_is_better: Whether it is maximised.
        slack: Loss that counts as none, in the goal's unit.
        tolerance: Relative excess that counts as none, of a minimised goal without negative values.
        given: Variants come with their means, which are not learnt from samples.
    """

    name: str
    larger_is_better: bool = True
    slack: float = 0.0
    tolerance: float = 0.0
    given: bool = False

    @property
    def ratio(self) -> float:
        """What a rival may be as a multiple of a variant, and still count as no worse."""
        return 1.0 + self.tolerance


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that a mean must keep.

    Attributes:
        name: Of a number or a metric.
        at_least: Whether it is a floor, and not a ceiling.
        bound: In the unit of what is named.
    """

    name: str
    at_least: bool
    bound: float

    def holds(self, mean: float) -> bool:
        """Whether a mean keeps it; an unknown one does not."""
        return mean >= self.bound if self.at_least else mean <= self.bound


@dataclass(frozen=True, slots=True)
class Stakes:
    """What is bet on of the first goal.

    Attributes:
        drop: Leads of a rival that speak against a variant, in the goal's unit; a negative one is a loss that counts as
            none. A variant has one wealth for each.
        ratio: Multiple of a variant's value that a rival's may be, for each of them.
        keep: Lead of a rival that speaks against a variant; a smaller one is harmless.
        any_rival: A rival's further goals do not matter.
    """

    drop: tuple[float, ...]
    ratio: tuple[float, ...]
    keep: float
    any_rival: bool = False


class _Sums:
    """Sums over the samples that both of a pair have values of; arrays of shape `(n_slots, n_slots)`."""

    def __init__(self) -> None:
        self.n, self.row, self.column, self.squares = (np.zeros((0, 0)) for _ in range(4))

    def grow(self, n: int) -> None:
        """Make room for n variants."""
        arrays = (self.n, self.row, self.column, self.squares)
        self.n, self.row, self.column, self.squares = (padded(array, n) for array in arrays)

    def clear(self, slot: int) -> None:
        """Forget a variant."""
        for array in (self.n, self.row, self.column, self.squares):
            array[slot, :] = array[:, slot] = 0.0

    def leads(self, pair: Any) -> NDArray[np.float64]:
        """Mean lead of the row over the column."""
        return np.asarray((self.row[pair] - self.column[pair]) / np.maximum(self.n[pair], 1))

    def add(self, pair: Any, sight: _Sight) -> None:
        """Take one sample's values of the pairs that meet on it."""
        self.n[pair] += sight.on
        self.row[pair] += np.where(sight.on, sight.row, 0.0)
        self.column[pair] += np.where(sight.on, sight.column, 0.0)
        self.squares[pair] += np.where(sight.on, (sight.row - sight.column) ** 2, 0.0)


@dataclass(frozen=True, slots=True)
class _Sight:
    """One goal of one sample, as pairs see it; arrays of any one shape.

    Attributes:
        row, column: Values.
        row_sum, column_sum, n: Of the samples before.
        row_ends, column_ends: Least and largest value.
        spread: Of the lead.
        left: Samples not drawn before this one.
        meets: Pairs that meet on this sample.
        on: Those of them that have both values.
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    row_sum: NDArray[np.float64]
    column_sum: NDArray[np.float64]
    n: NDArray[np.float64]
    row_ends: tuple[NDArray[np.float64], NDArray[np.float64]]
    column_ends: tuple[NDArray[np.float64], NDArray[np.float64]]
    spread: NDArray[np.float64]
    left: int
    meets: NDArray[np.bool_]
    on: NDArray[np.bool_]

    def of(self, chosen: Any, meets: NDArray[np.bool_]) -> _Sight:
        """Some of the pairs."""
        row_ends, column_ends = ((low[chosen], high[chosen]) for low, high in (self.row_ends, self.column_ends))
        return _Sight(self.row[chosen], self.column[chosen], self.row_sum[chosen], self.column_sum[chosen],
                      self.n[chosen], row_ends, column_ends, self.spread[chosen], self.left,
                      self.meets[chosen] & meets, self.on[chosen] & meets)  # fmt: skip

    def bet(
        self, wealths: Wealths, chosen: Any, row: float, column: float, plus: float, *, or_zero: bool = True
    ) -> None:
        """Bet on a positive mean of `row * row value + column * column value + plus` over samples that have both.

        Where one is missing it counts as 0, which changes no sum: how many will be missing is not known before. With
        `or_zero`, a mean that cannot be negative, as of two free models' costs, is as good as a positive one.
        """
        gain = np.where(self.on, row * self.row + column * self.column + plus, 0.0)
        expected = -(row * self.row_sum + column * self.column_sum + plus * self.n) / self.left
        least = row * self.row_ends[row < 0] + column * self.column_ends[column < 0] + plus
        room = np.where((least >= 0) & or_zero, -math.inf, expected - np.minimum(least, 0.0))
        wealths.bet(chosen, gain - expected, room, self.spread, self.meets)


class Duels:
    """Bets on every pair of variants, sample by sample in drawn order, without replacement.

    Of the first goal each variant has one wealth that bets on whichever rival looks best by then: against "no rival is
    better" there is no factor for the number of rivals. Of every further goal each pair has a wealth for "the row is no
    worse than the column" and one for "it is worse". Limits have two wealths a variant. Variants may come at any time;
    a pair meets on the samples that both have answered. Inside, larger values are better.

    Args:
        goals: The first is the one that is bet on.
        limits: Bounds of means.
        stakes: What is bet on of the first goal.
        total: Samples of the dataset.
        claim_at: Logarithm of the wealth that shows a rival to be no worse on a further goal.
        fit_at: Likewise, a variant to keep a limit, or to break it.

    Attributes:
        used: Slots with a variant, shape `(n_slots,)`.
        length: Samples answered, without a gap from the first of the drawn order on, shape `(n_slots,)`.
        only: Slot of the only rival that is bet on, where it is fixed.
        bet_on: Rivals (rows) on which the wealth of a variant (columns) rests, shape `(n_slots, n_slots)`.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        limits: Sequence[Limit],
        stakes: Stakes,
        total: int,
        *,
        claim_at: float,
        fit_at: float,
    ) -> None:
        self.goals, self.limits, self.stakes, self.total = tuple(goals), tuple(limits), stakes, total
        self._claim_at, self._fit_at = claim_at, fit_at
        upward = [*(goal.larger_is_better for goal in goals), *(True for _ in limits)]
        self._signs = np.where(upward, 1.0, -1.0)
        self.used, self.length, self._clock = np.zeros(0, np.bool_), np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._values = np.zeros((len(upward), 0, total))
        self._ends = np.zeros((len(upward), 0, 2))
        self._sums = [_Sums() for _ in self.goals]
        self.against = [Wealths(1, total) for _ in stakes.drop]
        self._harmless = Wealths(2, total)
        self._no_worse, self._worse = ([Wealths(2, total) for _ in self.goals[1:]] for _ in range(2))
        self._keeps, self._breaks = ([Wealths(1, total) for _ in self.limits] for _ in range(2))
        self.only: int | None = None
        self.bet_on = np.zeros((0, 0), np.bool_)

    def add(self, ends: Sequence[tuple[float, float]], given: Sequence[float | None]) -> int:
        """Let a variant in.

        Args:
            ends: Least and largest value of every goal, then of every limited quantity.
            given: Mean of every goal that is given, else None.

        Returns:
            Its slot, which another variant may have left.
        """
        if self.used.all():
            self._grow(max(2 * len(self.used), 8))
        slot = int(self.used.argmin())
        self.used[slot], self.length[slot], self._clock[slot] = True, 0, 0
        self._values[:, slot] = np.nan
        for i, (low, high) in enumerate(ends):
            self._ends[i, slot] = (low, high) if self._signs[i] > 0 else (-high, -low)
        for sums in self._sums:
            sums.clear(slot)
        for wealths in self._wealths():
            wealths.restart(slot)
            if wealths.best.ndim == 2:
                wealths.restart((slice(None), slot))
        self.bet_on[slot, :] = self.bet_on[:, slot] = False
        for i, mean in enumerate(given):
            if i and mean is not None:
                self._compare_given(i, slot, mean)
        return slot

    def remove(self, slot: int) -> None:
        """Let a variant go."""
        self.used[slot] = False

    def _wealths(self) -> list[Wealths]:
        return [*self.against, self._harmless, *self._no_worse, *self._worse, *self._keeps, *self._breaks]

    def _grow(self, n: int) -> None:
        self.used, self.length, self._clock = (padded(a, n) for a in (self.used, self.length, self._clock))
        more = [(0, 0), (0, n - self._values.shape[1]), (0, 0)]
        self._values, self._ends = np.pad(self._values, more), np.pad(self._ends, more)
        for sums in self._sums:
            sums.grow(n)
        for wealths in self._wealths():
            wealths.grow(n)
        self.bet_on = padded(self.bet_on, n)

    def _compare_given(self, i: int, slot: int, mean: float) -> None:
        """What is known of pairs whose means need no samples."""
        goal, sign, known = self.goals[i], self._signs[i], self._values[i]
        known[slot] = sign * mean
        others = np.flatnonzero(self.used)
        own, theirs = known[slot, 0], known[others, 0]
        for row, column, u, v in ((slot, others, own, theirs), (others, slot, theirs, own)):
            self._no_worse[i - 1].best[row, column] = np.where(u - goal.ratio * v + goal.slack >= 0, np.inf, 0.0)
            self._worse[i - 1].best[row, column] = np.where(u < v, np.inf, 0.0)

    def put(self, slot: int, values: NDArray[np.float64]) -> None:
        """Take a variant's next samples in drawn order.

        Args:
            slot: Whose.
            values: Of every goal, then of every limited quantity, shape `(n_goals + n_limits, n)`; NaN is missing.
        """
        start = int(self.length[slot])
        end = start + values.shape[1]
        for i, row in enumerate(values):
            if i == 0 or i >= len(self.goals) or not self.goals[i].given:
                self._values[i, slot, start:end] = self._signs[i] * row
        self.length[slot] = end

    def play(self) -> None:
        """Make all bets that the samples put in allow."""
        fresh = np.flatnonzero(self.used & (self._clock < self.length))
        columns = {column for i in fresh for column in range(self._clock[i], self.length[i])}
        for column in sorted(columns):
            self._play(column)

    def _play(self, column: int) -> None:
        live = np.flatnonzero(self.used & (self.length > column))
        new = self._clock[live] == column
        meets = (new[:, None] | new[None, :]) & ~np.eye(len(live), dtype=np.bool_)
        pair = np.ix_(live, live)
        self._play_limits(live[new], column)
        rivals = self._rivals(live)
        for i, (no_worse, worse) in enumerate(zip(self._no_worse, self._worse, strict=True), start=1):
            goal = self.goals[i]
            if not goal.given:
                sight = self._sight(i, live, column, meets)
                sight.bet(no_worse, pair, 1.0, -goal.ratio, goal.slack)
                sight.bet(worse, pair, -1.0, 1.0, 0.0, or_zero=False)
                self._sums[i].add(pair, sight)
        sight = self._sight(0, live, column, meets)
        sight.bet(self._harmless, pair, -1.0, 1.0, self.stakes.keep)
        if column >= BURN_IN:
            self._follow(sight, live, rivals & new[None, :])
        self._sums[0].add(pair, sight)
        self._clock[live[new]] += 1

    def _sight(self, i: int, live: NDArray[np.int64], column: int, meets: NDArray[np.bool_]) -> _Sight:
        pair, sums, values = np.ix_(live, live), self._sums[i], self._values[i, live, column]
        row, column_ = np.repeat(values[:, None], len(live), axis=1), np.repeat(values[None, :], len(live), axis=0)
        low, high = self._ends[i, live].T
        shape = meets.shape
        row_ends = np.broadcast_to(low[:, None], shape), np.broadcast_to(high[:, None], shape)
        column_ends = np.broadcast_to(low[None, :], shape), np.broadcast_to(high[None, :], shape)
        widest = row_ends[1] - row_ends[0] + column_ends[1] - column_ends[0]
        n, lead = sums.n[pair], sums.row[pair] - sums.column[pair]
        squares = np.maximum(sums.squares[pair] - lead**2 / np.maximum(n, 1), 0.0)
        spread = np.sqrt(((widest / (4 if i == 0 else 8)) ** 2 + squares) / (n + 1))
        on = meets & ~np.isnan(row) & ~np.isnan(column_)
        return _Sight(row, column_, sums.row[pair], sums.column[pair], n, row_ends, column_ends, spread,
                      self.total - column, meets, on)  # fmt: skip

    def _rivals(self, live: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Pairs whose row may be bet on, and is shown, or clearly seems, to be no worse on further goals."""
        pair = np.ix_(live, live)
        fitting = self.fits[live] if self.only is None else live == self.only
        likely = np.repeat(fitting[:, None], len(live), axis=1)
        if self.stakes.any_rival:
            return likely
        for goal, sums, no_worse in zip(self.goals[1:], self._sums[1:], self._no_worse, strict=True):
            row, shown = sums.row[pair], no_worse.best[pair] >= self._claim_at
            lead = row - goal.ratio * sums.column[pair] + goal.slack * sums.n[pair]
            likely &= shown | ((lead > CLEAR_LEAD * np.abs(row)) & (not goal.given))
        return likely

    def _follow(self, sight: _Sight, live: NDArray[np.int64], rivals: NDArray[np.bool_]) -> None:
        """Bet, for every variant, that the rival that looks best by now beats it."""
        looks = np.where(rivals & sight.meets, self._sums[0].leads(np.ix_(live, live)), -math.inf)
        rival, arm = looks.argmax(axis=0), np.arange(len(live))
        chosen = sight.of((rival, arm), looks[rival, arm] > -math.inf)
        for wealths, lead, ratio in zip(self.against, self.stakes.drop, self.stakes.ratio, strict=True):
            chosen.bet(wealths, live, 1.0, -ratio, -lead)
        self.bet_on[live[rival], live] |= chosen.meets

    def _play_limits(self, new: NDArray[np.int64], column: int) -> None:
        """Bets on and against the limits of variants."""
        left = np.full(len(new), self.total - column)
        for i, (limit, keeps, breaks) in enumerate(zip(self.limits, self._keeps, self._breaks, strict=True)):
            sign = 1.0 if limit.at_least else -1.0
            row = len(self.goals) + i
            margins = sign * (self._values[row, new, : column + 1] - limit.bound)
            low, high = np.sort(sign * (self._ends[row, new] - limit.bound), axis=1).T
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)  # 0 is a missing value
            before, margin = margins[:, :-1], margins[:, -1]
            n = (~np.isnan(before)).sum(axis=1)
            total = np.nansum(before, axis=1)
            squares = np.maximum(np.nansum(before**2, axis=1) - total**2 / np.maximum(n, 1), 0.0)
            spread = np.sqrt((((high - low) / 2) ** 2 + squares) / (n + 1))
            on, expected = np.ones(len(new), np.bool_), -total / left
            gain = np.where(np.isnan(margin), 0.0, margin) - expected
            keeps.bet(new, gain, expected - low, spread, on)
            breaks.bet(new, -gain, high - expected, spread, on)

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Variants that are shown to keep every limit, shape `(n_slots,)`."""
        return self._shown(self._keeps)

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """Limits that variants are shown to break, shape `(n_limits, n_slots)`."""
        return np.array([wealths.best >= self._fit_at for wealths in self._breaks]).reshape(-1, len(self.used))

    def _shown(self, wealths: Sequence[Wealths]) -> NDArray[np.bool_]:
        shown = np.ones(len(self.used), np.bool_)
        for part in wealths:
            shown &= part.best >= self._fit_at
        return shown

    @property
    def no_worse(self) -> NDArray[np.bool_]:
        """Pairs whose row is shown to be no worse than the column on every further goal."""
        shown = ~np.eye(len(self.used), dtype=np.bool_)
        for wealths in self._no_worse:
            shown &= wealths.best >= self._claim_at
        return shown

    @property
    def never_worse(self) -> NDArray[np.bool_]:
        """Pairs whose row is shown to be no worse than the column on every further goal, without slack or tolerance.

        It takes no further share of the error rate: of two variants only the worse one can be claimed wrongly, once
        with and once without them, and claims are paid for in both directions.
        """
        shown = ~np.eye(len(self.used), dtype=np.bool_)
        for i, (goal, no_worse, worse) in enumerate(zip(self.goals[1:], self._no_worse, self._worse, strict=True), 1):
            exact = goal.slack == goal.tolerance == 0
            learnt = (worse.best >= self._claim_at).T | (exact & (no_worse.best >= self._claim_at))
            shown &= self.leads(i) >= 0 if goal.given else learnt
        return shown

    def harmless(self, at: float, *, first: bool = False) -> NDArray[np.bool_]:
        """Pairs whose row is shown not to beat the column.

        Args:
            at: Logarithm of the wealth that shows it.
            first: On the first goal; else it may be on any.
        """
        shown = self._harmless.best >= at
        for wealths in () if first else self._worse:
            shown |= wealths.best >= at
        return shown

    @property
    def shown_worse(self) -> NDArray[np.bool_]:
        """Pairs whose row is shown to be worse than the column on a further goal."""
        shown = np.zeros_like(self.bet_on)
        for wealths in self._worse:
            shown |= wealths.best >= self._claim_at
        return shown

    def leads(self, goal: int = 0) -> NDArray[np.float64]:
        """Mean lead of rows over columns on a goal, larger is better."""
        if goal and self.goals[goal].given:
            means = self._values[goal, :, 0]
            return np.asarray(means[:, None] - means[None, :])
        return self._sums[goal].leads(...)

    def means(self, slot: int) -> NDArray[np.float64]:
        """Means of the goals, larger is better, then of the limited quantities; shape `(n_goals + n_limits,)`."""
        values = self._values[:, slot, : max(int(self.length[slot]), 1)]
        known = ~np.isnan(values)
        n = known.sum(axis=1)
        return np.where(n > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(n, 1), math.nan)

    def inherit(self, slot: int, rivals: NDArray[np.int64]) -> None:
        """Let evidence that rests on a variant rest on those that are better than it on every goal.

        Where one of these has bet on it, that part of its wealth was luck, and what it won on others counts.
        """
        for rival in rivals:
            self.bet_on[rival] |= self.bet_on[slot]
            self.bet_on[rival, rival] = False
        self.bet_on[slot] = False

    def forget(self, chosen: NDArray[np.bool_]) -> None:
        """Start the wealths of some variants anew."""
        for wealths in self.against:
            wealths.restart(chosen)
        self.bet_on[:, chosen] = False
