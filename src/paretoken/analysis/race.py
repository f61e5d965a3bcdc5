"""Racing: the Pareto front of many variants on one dataset, from a part of the cells, with a guarantee."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.contest import Contest, Decision
from paretoken.analysis.duels import Goal, Limit, Stakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LATER_SHARE = 0.1
"""Share of a variant's error rate for evidence that is gathered anew, because what it rested on fell."""


class Race(Contest):
    """Drops variants that another one covers, and stops asking those that no other will cover.

    A variant is covered by one that is no worse on every goal, beyond the goal's slack and tolerance. The first goal is
    bet on by one wealth a variant, Holm's method corrects for the number of variants; further goals are claims of every
    pair that share a part of the error rate, as are limits. Rivals that dropped another variant within slack or
    tolerance may be dropped themselves only without: no chain of small losses adds up. Variants may come while others
    race; the guarantee is over all `family` of them, as if they and the time of their coming had been fixed before:
    that they are chosen by what was seen of the same samples is not counted.

    Args:
        goals: What decides, the first maximised metric first.
        total: Samples of the dataset.
        family: Variants that will ever be let in.
        alpha: Probability at most that a variant is dropped which none that is left covers.
        limits: Bounds that a variant must keep.

    Attributes:
        decisions: What became of variants, by number; those that are missing are open. One that was kept may be beaten
            by a variant that comes later.

    Source: `Duels`; Holm (1979), Scandinavian Journal of Statistics 6.
    """

    def __init__(
        self, goals: Sequence[Goal], total: int, family: int, *, alpha: float = 0.05, limits: Sequence[Limit] = ()
    ) -> None:
        first = goals[0]
        stakes = Stakes((-first.slack, 0.0), (first.ratio, 1.0), first.slack)
        super().__init__(goals, total, family, alpha=alpha, limits=limits, stakes=stakes)
        self._alpha_keep = alpha
        self._barred: set[int] = set()
        self._restarts: dict[int, int] = {}

    @property
    def chosen(self) -> list[int]:
        """The front: variants that are not dropped."""
        return sorted(self._slots)

    def _judge(self) -> None:
        self._drop_beaten()
        self._drop_at_end()
        settled = self._settled()
        keeps = settled.all(axis=0) & self._keeps_limits
        for arm, slot in self._slots.items():
            if not keeps[slot]:
                self.decisions.pop(arm, None)
            elif arm not in self.decisions:
                self.decisions[arm] = Decision("kept", self.length(arm))
        self._wanted = self._unsettled(settled)

    def _drop_beaten(self) -> None:
        """Drop what the rivals cover on which a wealth has grown large."""
        duels = self._duels
        weak, strict = (wealths.best for wealths in duels.against)
        self._forget(np.asarray((duels.bet_on & duels.shown_worse).any(axis=0)))
        grown, open_ = np.maximum(weak, strict), self.open
        least = math.log(max(self._family - self._n_dropped - len(open_), 1) / self._alpha)
        open_ = [arm for arm in open_ if grown[self._slots[arm]] >= least]
        if not open_:
            return
        no_worse, never_worse = duels.no_worse, duels.never_worse
        for arm, slot in [(arm, self._slots[arm]) for arm in open_]:
            left = max(self._family - self._n_dropped - 1, 1)
            at = math.log(left / (self._alpha * _share(self._restarts.get(arm, 0))))
            rivals = np.flatnonzero(duels.bet_on[:, slot])
            sure = strict[slot] >= at and never_worse[rivals, slot].all()
            loose = max(strict[slot], weak[slot]) >= at and no_worse[rivals, slot].all() and arm not in self._barred
            if not len(rivals) or not (sure or loose):
                continue
            arms = {other: name for name, other in self._slots.items()}
            self._drop(arm, "beaten", rivals)
            if sure:
                duels.inherit(slot, rivals)
            else:
                self._barred |= {arms[int(rival)] for rival in rivals}
                self._forget(duels.bet_on[slot])

    def _forget(self, misled: NDArray[np.bool_]) -> None:
        """Start anew where evidence rests on a rival that does not cover all that it seemed to."""
        for arm, slot in self._slots.items():
            if misled[slot]:
                self._restarts[arm] = self._restarts.get(arm, 0) + 1
        super()._forget(misled)

    def _drop_at_end(self) -> None:
        """Drop what another dominates at the means over all samples."""
        for arm, better in self._dominated().items():
            slot = self._slots[arm]
            self._drop(arm, "beaten", [self._slots[other] for other in better if other in self._slots])
            self._forget(self._duels.bet_on[slot])

    def _settled(self) -> NDArray[np.bool_]:
        """Pairs whose row does not speak against the column, shape `(n_slots, n_slots)`."""
        duels = self._duels
        kept = sum(decision.fate == "kept" for decision in self.decisions.values())
        left = max(self._family - self._n_dropped - kept, 1)
        end = self._ended
        settled = duels.harmless(math.log(left / self._alpha_keep)) | (end[:, None] & end[None, :])
        settled[~duels.used] = True
        np.fill_diagonal(settled, val=True)
        return settled

    def _unsettled(self, settled: NDArray[np.bool_]) -> set[int]:
        """Variants that must answer more: the open ones, and those that may cover one or look best beside one."""
        duels = self._duels
        open_ = np.zeros(len(duels.used), np.bool_)
        open_[[self._slots[arm] for arm in self.open]] = True
        rivals = duels.used[:, None] & duels.used[None, :] & ~np.eye(len(open_), dtype=np.bool_) & ~duels.shown_worse
        looks = np.where(rivals, duels.leads(), -math.inf)
        best = rivals & (looks >= looks.max(axis=0, keepdims=True))
        meets = open_[None, :] & (~settled | best) & rivals
        return self._behind(meets, open_ & ~duels.fits)


def _share(restart: int) -> float:
    """Part of an error rate that is spent on evidence gathered after so many restarts; the parts add up to 1."""
    return 1 - LATER_SHARE if restart == 0 else LATER_SHARE / 2**restart


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
