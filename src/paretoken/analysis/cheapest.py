"""The cheapest of many variants whose quality is within a margin of the best, from a part of the cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.contest import Contest, Decision
from paretoken.analysis.duels import Goal, Limit, Stakes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Fate

INDIFFERENCE = 0.5
"""Share of the margin by which a variant must be worse than the best to be rejected: between it and the margin either
answer is right."""


class CheapestRace(Contest):
    """Looks for the cheapest variant that is good enough.

    A variant is good enough when every rival is shown not to be better by the margin, and it keeps the limits. It is
    rejected when a rival is shown to be better by more than half of the margin. The winner is good enough, and no
    variant that is not rejected is cheaper, beyond the tolerance. Only variants that may still be the cheapest are
    looked into, so that dear ones are asked no more than comparing with the best needs.

    Args:
        quality: What must be good enough.
        cost: What is to be small.
        total: Samples of the dataset.
        family: Variants.
        within: Loss against the best that is good enough, in the unit of quality; None if only limits say what is.
        alpha: Probability at most that the winner is not good enough, or that a variant is cheaper which is within half
            of the margin.
        limits: Bounds that the winner must keep.
        reference: Number of the variant that stands for the best, today's for instance; None is the best of all. It is
            compared with to the end, even if it breaks a limit.

    Attributes:
        winner: Number of the variant that was looked for; None while it is not known, or if none keeps the limits.
    """

    def __init__(
        self,
        quality: Goal,
        cost: Goal,
        total: int,
        family: int,
        *,
        within: float | None,
        alpha: float = 0.05,
        limits: Sequence[Limit] = (),
        reference: int | None = None,
    ) -> None:
        stakes = Stakes((INDIFFERENCE * (within or 0.0),), (1.0,), within or 0.0, any_rival=True)
        super().__init__((quality, cost), total, family, alpha=alpha, limits=limits, stakes=stakes)
        self._within, self._reference = within, reference
        self.winner: int | None = None

    def add(self, ends: Sequence[tuple[float, float]], given: Sequence[float | None] = ()) -> int:
        """As for every contest; of the reference the others are to be compared with."""
        arm = super().add(ends, given)
        if arm == self._reference:
            self._duels.only = self._slots[arm]
        return arm

    @property
    def chosen(self) -> list[int]:
        """The winner, if there is one."""
        return [] if self.winner is None else [self.winner]

    def _judge(self) -> None:
        self._reject()
        settled, before = self._settled(), self._comes_before()
        good = [arm for arm in self.open if self._is_good(self._slots[arm], settled)]
        for arm in self.open:
            left = set(good) - set(self.decisions)
            if by := tuple(sorted(other for other in left if before[self._slots[other], self._slots[arm]])):
                self.decisions[arm] = Decision("dearer", self.length(arm), by)
        if self.open and self.open == [arm for arm in good if arm in self.open][:1]:
            self.winner = self.open[0]
            self.decisions[self.winner] = Decision("kept", self.length(self.winner))
        self._wanted = self._unsettled(settled, before)

    def _is_good(self, slot: int, settled: NDArray[np.bool_]) -> bool:
        return bool(settled[:, slot].all()) and bool(self._keeps_limits[slot])

    def _drop(self, arm: int, fate: Fate, rivals: Iterable[int] = (), limits: Sequence[Limit] = ()) -> None:
        if arm == self._reference:
            names = tuple(limit.name for limit in limits)
            self.decisions[arm] = Decision(fate, self.length(arm), limits=names)
        else:
            super()._drop(arm, fate, rivals, limits)

    def _reject(self) -> None:
        """Drop what is shown to be too far from the best, unless it was shown to be good enough: both may be right."""
        duels = self._duels
        if self._within is None:
            return
        ends = self._ended
        exact = ends[:, None] & ends[None, :] & duels.used[:, None] & (self._leads() > self._within)
        np.fill_diagonal(exact, val=False)
        settled = self._settled()
        for arm, slot in [(arm, self._slots[arm]) for arm in self.open]:
            if settled[:, slot].all():
                continue
            at = math.log(max(self._family - self._n_dropped - 1, 1) / (self._alpha / 2))
            beaten = duels.against[0].best[slot] >= at
            rivals = np.flatnonzero(duels.bet_on[:, slot] if beaten else exact[:, slot] & self._rivals)
            if len(rivals):
                self._drop(arm, "beaten", rivals)
                duels.inherit(slot, rivals)

    @property
    def _rivals(self) -> NDArray[np.bool_]:
        """Variants that may be the best."""
        if self._reference is None and self._within is not None:
            return self._duels.used
        rivals = np.zeros_like(self._duels.used)
        if self._reference in self._slots:
            rivals[self._slots[self._reference]] = True
        return rivals

    def _leads(self) -> NDArray[np.float64]:
        """Leads of rows over columns, without end over those that have answered everything and have no value.

        Of a reference without values nothing is known.
        """
        leads = self._duels.leads()
        mute = {arm: slot for arm, slot in self._slots.items() if self._at_end(slot) and not self._has_value(slot)}
        leads[:, list(mute.values())] = math.inf
        for arm, slot in mute.items():
            leads[slot] = math.nan if arm == self._reference else -math.inf
        return leads

    def _has_value(self, slot: int) -> bool:
        return not math.isnan(self._duels.means(slot)[0])

    def _settled(self) -> NDArray[np.bool_]:
        """Pairs whose row is not better than the column by the margin, shape `(n_slots, n_slots)`."""
        duels = self._duels
        ends = self._ended
        settled = duels.harmless(math.log(self._family / (self._alpha / 2)), first=True)
        settled |= ends[:, None] & ends[None, :] & (self._leads() <= (self._within or 0.0))
        settled[~self._rivals] = True
        np.fill_diagonal(settled, val=True)
        return settled

    def _comes_before(self) -> NDArray[np.bool_]:
        """Pairs whose row is preferred: it is shown to cost no more, and of two alike it is the cheaper one so far."""
        duels = self._duels
        no_dearer, leads = duels.no_worse, duels.leads(1)
        ends = self._ended
        no_dearer |= ends[:, None] & ends[None, :] & (leads >= 0)
        first = (leads > 0) | ((leads == 0) & np.tri(len(leads), k=-1, dtype=np.bool_).T)
        return np.asarray(no_dearer & (~no_dearer.T | first))

    def _unsettled(self, settled: NDArray[np.bool_], before: NDArray[np.bool_]) -> set[int]:
        """Variants that must answer more: what may be the cheapest, and the rivals that may speak against it."""
        duels, k = self._duels, len(settled)
        open_ = np.zeros(k, np.bool_)
        open_[[self._slots[arm] for arm in self.open]] = True
        focus = open_ & ~(before & open_[:, None]).any(axis=0)
        focus = focus if focus.any() else open_
        rivals = self._rivals[:, None] & ~np.eye(k, dtype=np.bool_)
        looks = np.where(rivals, duels.leads(), -math.inf)
        best = rivals & (looks >= looks.max(axis=0, keepdims=True))
        rated = focus[:, None] & focus[None, :] & ~(before | before.T)
        meets = (focus[None, :] & (~settled | (best & (looks > 0))) & rivals) | rated
        np.fill_diagonal(meets, val=False)
        return self._behind(meets, focus & ~duels.fits)
