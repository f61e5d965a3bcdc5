"""Racing: the Pareto front of many variants on one dataset, from a part of the cells, with a guarantee."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from paretoken.analysis.duels import Duels, Goal, Limit, Stakes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

CLAIMS_SHARE = 0.2
"""Share of the error rate for claims about goals other than the first, where there are any; likewise about limits."""

LATER_SHARE = 0.1
"""Share of a variant's error rate for evidence that is gathered anew, because what it rested on fell."""

Fate = Literal["kept", "beaten", "infeasible"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a variant.

    Attributes:
        fate: `kept` on the front, `beaten` by rivals, or `infeasible`: it breaks a limit.
        n: Samples it had answered by then.
        by: Numbers of the rivals that beat it.
        limits: Names of the limits that it breaks.
    """

    fate: Fate
    n: int
    by: tuple[int, ...] = ()
    limits: tuple[str, ...] = ()


class Race:
    """Drops variants that another one covers, and stops asking those that no other will cover.

    A variant is covered by one that is no worse on every goal, beyond the goal's slack and tolerance. The first goal is
    bet on by one wealth a variant, Holm's method corrects for the number of variants; further goals are claims of every
    pair that share a part of the error rate, as are limits. Rivals that dropped another variant within the slack may be
    dropped themselves only without it: no chain of small losses adds up. Variants may come while others race; the
    guarantee is over all `family` of them.

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
        self.goals, self.total, self._family = tuple(goals), total, family
        learnt = sum(not goal.given for goal in goals[1:])
        shared = CLAIMS_SHARE * ((learnt > 0) + (len(limits) > 0))
        self._alpha, self._alpha_keep = alpha * (1 - shared), alpha
        pairs, first = family * max(family - 1, 1), goals[0]
        self._duels = Duels(
            goals,
            limits,
            Stakes((-first.slack, 0.0), (first.ratio, 1.0), first.slack),
            total,
            claim_at=math.log(learnt * pairs / (alpha * CLAIMS_SHARE)) if learnt else math.inf,
            fit_at=math.log(len(limits) * family / (alpha * CLAIMS_SHARE)) if limits else math.inf,
        )
        self._transitive = not learnt
        self.decisions: dict[int, Decision] = {}
        self._slots: dict[int, int] = {}
        self._n_added = 0
        self._barred: set[int] = set()
        self._restarts: dict[int, int] = {}
        self._wanted: set[int] = set()

    def add(self, ends: Sequence[tuple[float, float]], given: Sequence[float | None] = ()) -> int:
        """Let a variant in.

        Args:
            ends: Least and largest value of every goal, then of every limited quantity.
            given: Mean of every goal that is given, else None.

        Returns:
            Its number, counted from 0.
        """
        arm = self._n_added
        self._n_added += 1
        self._slots[arm] = self._duels.add(ends, given)
        self._wanted.add(arm)
        return arm

    @property
    def asked(self) -> list[int]:
        """Variants whose next samples are wanted."""
        return sorted(self._wanted)

    @property
    def front(self) -> list[int]:
        """Variants that are not dropped."""
        return sorted(self._slots)

    @property
    def open(self) -> list[int]:
        """Variants of which nothing is decided."""
        return [arm for arm in self.front if arm not in self.decisions]

    def length(self, arm: int) -> int:
        """Samples that a variant which is not dropped has answered."""
        return int(self._duels.length[self._slots[arm]])

    def put(self, arm: int, values: NDArray[np.float64]) -> None:
        """Take a variant's next samples in drawn order.

        Args:
            arm: Its number; one that is dropped already is not looked at.
            values: Of every goal, then of every limited quantity, shape `(n_goals + n_limits, n)`; NaN is missing.
        """
        if arm in self._slots:
            self._duels.put(self._slots[arm], values)

    def decide(self) -> None:
        """Drop, keep, and stop asking, when every variant that was asked has answered."""
        self._duels.play()
        self._drop_infeasible()
        self._drop_beaten()
        self._drop_at_end()
        settled = self._settled()
        for arm, slot in self._slots.items():
            if not (settled[:, slot].all() and self._keeps_limits(slot)):
                self.decisions.pop(arm, None)
            elif arm not in self.decisions:
                self.decisions[arm] = Decision("kept", self.length(arm))
        self._wanted = self._unsettled(settled)

    def _drop(self, arm: int, fate: Fate, rivals: Iterable[int] = (), limits: Sequence[Limit] = ()) -> None:
        arms = {slot: other for other, slot in self._slots.items()}
        by = tuple(sorted(arms[int(rival)] for rival in rivals))
        self.decisions[arm] = Decision(fate, self.length(arm), by, tuple(limit.name for limit in limits))
        self._duels.remove(self._slots.pop(arm))

    def _drop_infeasible(self) -> None:
        broken, limits = self._duels.breaks, self._duels.limits
        for arm, slot in list(self._slots.items()):
            shown = [limit for limit, row in zip(limits, broken, strict=True) if row[slot]]
            if shown := shown or self._broken_at_end(slot):
                self._drop(arm, "infeasible", limits=shown)
                self._forget(self._duels.bet_on[slot])

    def _at_end(self, slot: int) -> bool:
        return bool(self._duels.length[slot] >= self.total)

    def _broken_at_end(self, slot: int) -> list[Limit]:
        """Limits that the mean over all samples breaks, or of which there is no value."""
        if not self._at_end(slot):
            return []
        means = self._duels.means(slot)[len(self.goals) :]
        return [limit for limit, mean in zip(self._duels.limits, means, strict=True) if not limit.holds(mean)]

    def _keeps_limits(self, slot: int) -> bool:
        return bool(self._duels.fits[slot]) or self._at_end(slot)

    def _drop_beaten(self) -> None:
        """Drop what the rivals cover on which a wealth has grown large."""
        duels = self._duels
        weak, strict = (wealths.best for wealths in duels.against)
        no_worse = duels.no_worse
        self._forget(np.asarray((duels.bet_on & duels.shown_worse).any(axis=0)))
        for arm, slot in [(arm, self._slots[arm]) for arm in self.open]:
            left = max(self._family - self._n_dropped - 1, 1)
            at = math.log(left / (self._alpha * _share(self._restarts.get(arm, 0))))
            rivals = np.flatnonzero(duels.bet_on[:, slot])
            sure = strict[slot] >= at
            if not (sure or (weak[slot] >= at and arm not in self._barred)):
                continue
            if not no_worse[rivals, slot].all():
                continue
            arms = {other: name for name, other in self._slots.items()}
            self._drop(arm, "beaten", rivals)
            if sure and self._transitive:
                duels.inherit(slot, rivals)
            else:
                self._barred |= {arms[int(rival)] for rival in rivals}
                self._forget(duels.bet_on[slot])

    @property
    def _n_dropped(self) -> int:
        return self._n_added - len(self._slots)

    def _forget(self, misled: NDArray[np.bool_]) -> None:
        """Start anew where evidence rests on a rival that does not cover all that it seemed to."""
        for arm, slot in self._slots.items():
            if misled[slot]:
                self._restarts[arm] = self._restarts.get(arm, 0) + 1
        self._duels.forget(misled)

    def _drop_at_end(self) -> None:
        """Drop what another dominates at the means over all samples."""
        means = {
            arm: self._duels.means(slot)[: len(self.goals)] for arm, slot in self._slots.items() if self._at_end(slot)
        }
        for arm, own in means.items():
            better = [
                self._slots[other]
                for other, theirs in means.items()
                if other in self._slots and np.all(theirs >= own) and (np.any(theirs > own) or other < arm)
            ]
            if better:
                slot = self._slots[arm]
                self._drop(arm, "beaten", better)
                self._forget(self._duels.bet_on[slot])

    def _settled(self) -> NDArray[np.bool_]:
        """Pairs whose row does not speak against the column, shape `(n_slots, n_slots)`."""
        duels = self._duels
        kept = sum(decision.fate == "kept" for decision in self.decisions.values())
        left = max(self._family - self._n_dropped - kept, 1)
        end = duels.length >= self.total
        settled = duels.harmless(math.log(left / self._alpha_keep)) | (end[:, None] & end[None, :])
        settled[~duels.used] = True
        np.fill_diagonal(settled, val=True)
        return settled

    def _unsettled(self, settled: NDArray[np.bool_]) -> set[int]:
        """Variants that must answer more: the open ones, and those that may cover one or look best beside one.

        Of a pair the one that has answered less goes on, both where they are even.
        """
        duels = self._duels
        open_ = np.zeros(len(duels.used), np.bool_)
        open_[[self._slots[arm] for arm in self.open]] = True
        rivals = duels.used[:, None] & duels.used[None, :] & ~np.eye(len(open_), dtype=np.bool_) & ~duels.shown_worse
        looks = np.where(rivals, duels.leads(), -math.inf)
        best = rivals & (looks >= looks.max(axis=0, keepdims=True))
        meets = open_[None, :] & (~settled | best) & rivals
        ahead = duels.length[:, None] >= duels.length[None, :]
        wanted = (meets & ahead).any(axis=0) | (meets & ahead.T).any(axis=1)
        wanted |= open_ & ~duels.fits
        return {arm for arm, slot in self._slots.items() if wanted[slot] and not self._at_end(slot)}


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
