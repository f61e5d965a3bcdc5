"""The cheapest of many variants whose quality is within a margin of the best, from a part of the cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.contest import Contest, Decision
from paretoken.analysis.duels import Goal, Limit, Stakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
        reference: Number of the variant that stands for the best, today's for instance; None is the best of all.

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

    @property
    def chosen(self) -> list[int]:
        """The winner, if there is one."""
        return [] if self.winner is None else [self.winner]

    def _judge(self) -> None:
        self._reject()
        settled, before = self._settled(), self._comes_before()
        good = [arm for arm in self.open if settled[:, self._slots[arm]].all() and self._keeps_limits(self._slots[arm])]
        for arm in self.open:
            by = tuple(other for other in good if before[self._slots[other], self._slots[arm]])
            if by:
                self.decisions[arm] = Decision("dearer", self.length(arm), by)
        if self.open and self.open == [arm for arm in good if arm in self.open][:1]:
            self.winner = self.open[0]
            self.decisions[self.winner] = Decision("kept", self.length(self.winner))
        self._wanted = self._unsettled(settled, before)

    def _reject(self) -> None:
        """Drop what is shown to be too far from the best."""
        duels = self._duels
        if self._within is None:
            return
        ends = duels.length >= self.total
        exact = ends[:, None] & ends[None, :] & duels.used[:, None] & (duels.leads() >= self._within)
        np.fill_diagonal(exact, val=False)
        for arm, slot in [(arm, self._slots[arm]) for arm in self.open]:
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

    def _settled(self) -> NDArray[np.bool_]:
        """Pairs whose row is not better than the column by the margin, shape `(n_slots, n_slots)`."""
        duels = self._duels
        ends = duels.length >= self.total
        settled = duels.harmless(math.log(self._family / (self._alpha / 2)), first=True)
        settled |= ends[:, None] & ends[None, :] & (duels.leads() < (self._within or 0.0))
        settled[~self._rivals] = True
        np.fill_diagonal(settled, val=True)
        return settled

    def _comes_before(self) -> NDArray[np.bool_]:
        """Pairs whose row is preferred: it is shown to cost no more, and of two alike it is the cheaper one so far."""
        duels = self._duels
        no_dearer, leads = duels.no_worse, duels.leads(1)
        ends = duels.length >= self.total
        no_dearer |= ends[:, None] & ends[None, :] & (leads >= 0)
        first = (leads > 0) | ((leads == 0) & np.tri(len(leads), k=-1, dtype=np.bool_).T)
        return np.asarray(no_dearer & (~no_dearer.T | first))

    def _unsettled(self, settled: NDArray[np.bool_], before: NDArray[np.bool_]) -> set[int]:
        """Variants that must answer more: what may be the cheapest, and the rivals that may speak against it."""
        duels, k = self._duels, len(settled)
        open_ = np.zeros(k, np.bool_)
        open_[[self._slots[arm] for arm in self.open]] = True
        focus = open_ & ~(before & open_[:, None]).any(axis=0)
        rivals = self._rivals[:, None] & ~np.eye(k, dtype=np.bool_)
        looks = np.where(rivals, duels.leads(), -math.inf)
        best = rivals & (looks >= looks.max(axis=0, keepdims=True))
        rated = focus[:, None] & focus[None, :] & ~(before | before.T)
        meets = (focus[None, :] & (~settled | (best & (looks > 0))) & rivals) | rated
        np.fill_diagonal(meets, val=False)
        return self._behind(meets, focus & ~duels.fits)
