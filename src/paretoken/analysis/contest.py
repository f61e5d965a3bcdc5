"""What races have in common: variants that come, answer samples in drawn order, and are decided."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from paretoken.analysis.duels import Duels, Goal, Limit, Stakes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MUTE = 16
"""First samples of which a variant must have answered one: else the others would wait for it to the end."""
NO_ANSWER = "no answer"
CLAIMS_SHARE = 0.3
"""Share of the error rate for claims about goals other than the first, where there are any; likewise about limits."""

Fate = Literal["kept", "beaten", "infeasible", "dearer"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a variant.

    Attributes:
        fate: `kept`: on the front, or the one that was looked for; `beaten` by rivals; `infeasible`: it breaks a limit;
            `dearer` than the one that was looked for.
        n: Samples it had answered by then.
        by: Numbers of the rivals that settled it.
        limits: Names of the limits that it breaks; `no answer` if all of its first calls failed.
    """

    fate: Fate
    n: int
    by: tuple[int, ...] = ()
    limits: tuple[str, ...] = ()


class Contest(ABC):
    """Variants on the samples of one dataset, of which some are dropped before they have answered all.

    Args:
        goals: What decides, the one that is bet on first.
        total: Samples of the dataset.
        family: Variants that will ever be let in.
        alpha: Error rate of all decisions together.
        limits: Bounds that a variant must keep.
        stakes: What is bet on of the first goal.

    Attributes:
        decisions: What became of variants, by number; those that are missing are open.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        total: int,
        family: int,
        *,
        alpha: float,
        limits: Sequence[Limit],
        stakes: Stakes,
    ) -> None:
        self.goals, self.total, self._family = tuple(goals), total, family
        learnt = sum(not goal.given for goal in goals[1:])
        self._alpha = alpha * (1 - CLAIMS_SHARE * ((learnt > 0) + (len(limits) > 0)))
        pairs = family * max(family - 1, 1)
        self._duels = Duels(
            goals,
            limits,
            stakes,
            total,
            claim_at=math.log(learnt * pairs / (alpha * CLAIMS_SHARE)) if learnt else math.inf,
            fit_at=math.log(len(limits) * family / (alpha * CLAIMS_SHARE)) if limits else math.inf,
        )
        self.decisions: dict[int, Decision] = {}
        self._slots: dict[int, int] = {}
        self._n_added = 0
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
    def open(self) -> list[int]:
        """Variants of which nothing is decided."""
        return [arm for arm in sorted(self._slots) if arm not in self.decisions]

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
        """Drop, keep, and choose whom to ask on, when every variant that was asked has answered."""
        self._duels.play()
        self._drop_mute()
        self._drop_infeasible()
        self._judge()

    @property
    @abstractmethod
    def chosen(self) -> list[int]:
        """Numbers of the variants that are worth confirming."""

    @abstractmethod
    def _judge(self) -> None:
        """Decide by the evidence, and say who is wanted."""

    def _drop(self, arm: int, fate: Fate, rivals: Iterable[int] = (), limits: Sequence[Limit] = ()) -> None:
        arms = {slot: other for other, slot in self._slots.items()}
        by = tuple(sorted(arms[int(rival)] for rival in rivals))
        self.decisions[arm] = Decision(fate, self.length(arm), by, tuple(limit.name for limit in limits))
        self._duels.remove(self._slots.pop(arm))

    def _drop_mute(self) -> None:
        """Drop variants whose first calls all failed, without a claim about those that were not made."""
        for arm, slot in [(arm, self._slots[arm]) for arm in self.open]:
            if self._duels.length[slot] >= min(MUTE, self.total) and math.isnan(self._duels.means(slot)[0]):
                self._drop(arm, "infeasible", limits=[Limit(NO_ANSWER, at_least=True, bound=0.0)])
                self._forget(self._duels.bet_on[slot])

    def _drop_infeasible(self) -> None:
        broken, limits = self._duels.breaks, self._duels.limits
        if not limits:
            return
        for arm, slot in list(self._slots.items()):
            if arm in self.decisions and self.decisions[arm].fate == "infeasible":
                continue
            shown = [limit for limit, row in zip(limits, broken, strict=True) if row[slot]]
            if shown := shown or self._broken_at_end(slot):
                self._drop(arm, "infeasible", limits=shown)
                if arm not in self._slots:
                    self._forget(self._duels.bet_on[slot])

    def _at_end(self, slot: int) -> bool:
        return bool(self._duels.length[slot] >= self.total)

    def _broken_at_end(self, slot: int) -> list[Limit]:
        """Limits that the mean over all samples breaks, or of which there is no value."""
        if not self._at_end(slot):
            return []
        means = self._duels.means(slot)[len(self.goals) :]
        return [limit for limit, mean in zip(self._duels.limits, means, strict=True) if not limit.holds(mean)]

    @property
    def _ended(self) -> NDArray[np.bool_]:
        """Slots whose variant has answered everything."""
        return np.asarray(self._duels.length >= self.total)

    @property
    def _keeps_limits(self) -> NDArray[np.bool_]:
        """Slots whose variant is shown to keep every limit; what has answered everything and is left keeps them."""
        return self._duels.fits | self._ended

    def _behind(self, meets: NDArray[np.bool_], alone: NDArray[np.bool_]) -> set[int]:
        """Of pairs that must go on, whoever has answered less, both where they are even; and those that go alone."""
        length = self._duels.length
        ahead = length[:, None] >= length[None, :]
        wanted = ((meets & ahead).any(axis=0) | (meets & ahead.T).any(axis=1) | alone) & ~self._ended
        return {arm for arm, slot in self._slots.items() if wanted[slot]}

    @property
    def _n_dropped(self) -> int:
        return self._n_added - len(self._slots)

    def _forget(self, misled: NDArray[np.bool_]) -> None:
        """Start anew where evidence rests on a rival that does not cover all that it seemed to."""
        self._duels.forget(misled)

    def _dominated(self) -> dict[int, list[int]]:
        """Variants that others dominate at the means over all samples, with those others; of twins the later one.

        No value at all is worse than any.
        """
        means = {
            arm: np.nan_to_num(self._duels.means(slot)[: len(self.goals)], nan=-math.inf)
            for arm, slot in self._slots.items()
            if self._at_end(slot)
        }
        found: dict[int, list[int]] = {}
        for arm, own in means.items():
            better = [
                other
                for other, theirs in means.items()
                if other not in found and np.all(theirs >= own) and (np.any(theirs > own) or other < arm)
            ]
            if better:
                found[arm] = better
        return found


class Unraced(Contest):
    """Asks everything of every variant, and decides at the end; the arguments are those of `Contest`."""

    def __init__(
        self, goals: Sequence[Goal], total: int, family: int, *, alpha: float = 0.05, limits: Sequence[Limit] = ()
    ) -> None:
        super().__init__(goals, total, family, alpha=alpha, limits=limits, stakes=Stakes((), (), 0.0))

    @property
    def chosen(self) -> list[int]:
        """Those that no other dominates."""
        beaten = self._dominated()
        return [arm for arm in sorted(self._slots) if arm not in beaten]

    def decide(self) -> None:
        """Let variants leave that have answered everything."""
        self._judge()

    def _judge(self) -> None:
        for arm, slot in list(self._slots.items()):
            if broken := self._broken_at_end(slot):
                self._drop(arm, "infeasible", limits=broken)
        done = [arm for arm, slot in self._slots.items() if self._at_end(slot)]
        self.decisions |= {arm: Decision("kept", self.total) for arm in done}
        self._wanted = set(self.open)
