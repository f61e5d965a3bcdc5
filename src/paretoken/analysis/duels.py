"""What samples tell of every pair of variants: evidence that one is no worse than the other, goal by goal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.bets import Wealths, padded
from paretoken.analysis.stretch import Stretch, Sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BURN_IN = 4
"""Samples before which no rival is chosen."""
AT_ONCE = 500_000
"""Pairs times samples that are bet on at once, at most."""


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
        self._sums = [Sums() for _ in self.goals]
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
        while (fresh := self.used & (self._clock < self.length)).any():
            start = int(self._clock[fresh].min())
            live = np.flatnonzero(self.used & (self.length > start))
            new = live[self._clock[live] == start]
            later = self._clock[live][self._clock[live] > start]
            room = max(AT_ONCE // (2 * len(live) * len(new)), 1)
            self._play(live, new, start, min(int(self.length[live].min()), *later.tolist(), start + room))

    def _play(self, live: NDArray[np.int64], new: NDArray[np.int64], start: int, stop: int) -> None:
        """All bets on some samples of new variants with all that have answered them."""
        old = live[~np.isin(live, new)]
        rows = np.concatenate([np.repeat(live, len(new)), np.repeat(new, len(old))])
        columns = np.concatenate([np.tile(new, len(live)), np.tile(old, len(new))])
        pair, meets = (rows, columns), np.broadcast_to(rows != columns, (stop - start, len(rows)))
        fits = self._play_limits(live, new, start, stop)
        facing = len(live) * len(new)
        rivals = np.repeat(fits, len(new), axis=1) & meets[:, :facing]
        for i, (no_worse, worse) in enumerate(zip(self._no_worse, self._worse, strict=True), start=1):
            goal = self.goals[i]
            if goal.given:
                rivals &= self.stakes.any_rival | (no_worse.best[pair][:facing] >= self._claim_at)
                continue
            stretch = self._stretch(i, pair, start, stop)
            shown = stretch.bet(no_worse, pair, meets, 1.0, -goal.ratio, goal.slack) >= self._claim_at
            stretch.bet(worse, pair, meets, -1.0, 1.0, 0.0, or_zero=False)
            rivals &= self.stakes.any_rival | shown[:, :facing]
        stretch = self._stretch(0, pair, start, stop)
        stretch.bet(self._harmless, pair, meets, -1.0, 1.0, self.stakes.keep)
        rivals[: max(BURN_IN - start, 0)] = False
        self._follow(stretch, live, new, rivals)
        self._clock[new] = stop

    def _stretch(self, i: int, pair: tuple[NDArray[np.int64], NDArray[np.int64]], start: int, stop: int) -> Stretch:
        """What pairs see of a goal, which is then added to their sums."""
        sums, (rows, columns) = self._sums[i], pair
        u, v = (self._values[i, side, start:stop].T for side in pair)
        on = ~np.isnan(u) & ~np.isnan(v) & (rows != columns)
        u, v = np.where(on, u, 0.0), np.where(on, v, 0.0)
        totals = []
        for array, seen in ((sums.row, u), (sums.column, v), (sums.n, on), (sums.squares, (u - v) ** 2)):
            total = np.cumsum(np.concatenate([array[pair][None], seen]), axis=0)
            array[pair] = total[-1]
            totals.append(total[:-1])
        row_sum, column_sum, n, squares = totals
        row_ends, column_ends = self._ends[i, rows].T, self._ends[i, columns].T
        widest = row_ends[1] - row_ends[0] + column_ends[1] - column_ends[0]
        squares = np.maximum(squares - (row_sum - column_sum) ** 2 / np.maximum(n, 1), 0.0)
        spread = np.sqrt(((widest / (4 if i == 0 else 8)) ** 2 + squares) / (n + 1))
        left = (self.total - np.arange(start, stop, dtype=np.float64))[:, None]
        return Stretch(u, v, row_sum, column_sum, n, row_ends, column_ends, spread, left, on)

    def _follow(
        self, stretch: Stretch, live: NDArray[np.int64], new: NDArray[np.int64], rivals: NDArray[np.bool_]
    ) -> None:
        """Bet, for every new variant and sample, that the rival that looks best before it beats the variant."""
        facing, shape = rivals.shape[1], (len(rivals), len(live), len(new))
        leads = (stretch.row_sum - stretch.column_sum) / np.maximum(stretch.n, 1)
        looks = np.where(rivals, leads[:, :facing], -math.inf).reshape(shape)
        rival = looks.argmax(axis=1)
        bets = np.take_along_axis(looks, rival[:, None], axis=1)[:, 0] > -math.inf
        chosen = stretch.follow(rival * len(new) + np.arange(len(new)))
        for wealths, lead, ratio in zip(self.against, self.stakes.drop, self.stakes.ratio, strict=True):
            chosen.bet(wealths, new, bets, 1.0, -ratio, -lead)
        arms = np.broadcast_to(new, rival.shape)
        self.bet_on[live[rival[bets]], arms[bets]] = True

    def _play_limits(self, live: NDArray[np.int64], new: NDArray[np.int64], start: int, stop: int) -> NDArray[np.bool_]:
        """Bets on and against the limits of new variants.

        Returns:
            Who may be bet on as a rival before each sample, shape `(n_samples, n_live)`.
        """
        may, fresh = self.fits[live] if self.only is None else live == self.only, np.isin(live, new)
        fits = np.repeat((may | (fresh & (self.only is None)))[None], stop - start, axis=0)
        left = self.total - np.arange(start, stop)[:, None]
        for i, (limit, keeps, breaks) in enumerate(zip(self.limits, self._keeps, self._breaks, strict=True)):
            sign, of = 1.0 if limit.at_least else -1.0, len(self.goals) + i
            margins = sign * (self._values[of, new, :stop].T - limit.bound)
            low, high = np.sort(sign * (self._ends[of, new] - limit.bound), axis=1).T
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)  # 0 is a missing value
            known, margins = ~np.isnan(margins), np.nan_to_num(margins)
            n, total, squares = (np.cumsum(x, axis=0)[start:] - x[start:] for x in (known, margins, margins**2))
            squares = np.maximum(squares - total**2 / np.maximum(n, 1), 0.0)
            spread = np.sqrt((((high - low) / 2) ** 2 + squares) / (n + 1))
            expected, on = -total / left, np.ones(total.shape, np.bool_)
            gain = margins[start:] - expected
            shown = keeps.bet(new, gain, expected - low, spread, on) >= self._fit_at
            breaks.bet(new, -gain, high - expected, spread, on)
            if self.only is None:
                fits[:, fresh] &= shown
        return fits

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
        return self._sums[goal].leads()

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
