"""A race as a run's lock declares it: its goals, limits and bounds, and what it decided."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.analysis.cheapest import CheapestRace
from paretoken.analysis.contest import Unraced
from paretoken.analysis.duels import Goal, Limit
from paretoken.analysis.objectives import is_quantile
from paretoken.analysis.race import Race
from paretoken.analysis.sequences import Betting
from paretoken.core.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Contest

ERROR_RATE = "error_rate"
END_ERROR = 0.025
"""Error of each end of a variant's interval."""


@dataclass(frozen=True)
class RacePlan:
    """What was declared before the run.

    Attributes:
        kind: `race`, `cheapest` or `search`.
        goals: What decides; the first is bet on.
        limits: Bounds of means.
        alpha: Error rate of all decisions together.
        family: Variants that will be let in at most.
        confirm: Share of the samples, the last drawn, that is held out to confirm what was chosen.
        within: Of `cheapest`: loss against the best that is good enough.
        reference: Of `cheapest`: id of the variant that stands for the best; empty for the best of all.
        ranges: Least and largest value of metrics, and of other quantities where it is declared, by name.
        races: Whether variants may leave early.
    """

    kind: str
    goals: tuple[Goal, ...]
    limits: tuple[Limit, ...]
    alpha: float
    family: int
    confirm: float = 0.0
    within: float | None = None
    reference: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    races: bool = True

    @classmethod
    def of(cls, lock: Mapping[str, object]) -> RacePlan:
        """The race that a run's lock declares."""
        body = cast("dict[str, Any]", lock)
        plan, wanted = body["plan"], body["objectives"]
        epsilon, tolerance = plan.get("epsilon") or {}, plan.get("tolerance") or {}
        goals = [
            Goal(name, up, slack=epsilon.get(name, 0.0), tolerance=0.0 if up else tolerance.get(name, 0.0))
            for up, names in ((True, wanted["maximize"]), (False, wanted["minimize"]))
            for name in names
            if not is_quantile(name)
        ]
        if plan["kind"] == "cheapest":
            floor = next((name for name, (sign, _) in wanted["subject_to"].items() if sign == ">="), "")
            cost = Goal("list_usd", larger_is_better=False, tolerance=tolerance.get("list_usd", 0.0))
            goals = [Goal(plan["metric"] or floor), cost]
        limits = [
            Limit(name, sign == ">=", float(bound))
            for name, (sign, bound) in wanted["subject_to"].items()
            if not is_quantile(name)
        ]
        ranges = {name: tuple(ends) for scorer in body["scorers"] for name, ends in scorer["ranges"].items()}
        ranges |= {name: tuple(ends) for name, ends in (plan.get("range") or {}).items()}
        return cls(
            kind=plan["kind"],
            goals=tuple(goals),
            limits=tuple(limits),
            alpha=plan["alpha"],
            family=plan["family"],
            confirm=plan.get("confirm") or 0.0,
            within=plan.get("within"),
            reference=plan.get("reference", ""),
            ranges={**ranges, ERROR_RATE: (0.0, 1.0)},
            races=plan.get("race", True),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What is measured of every sample: goals, then limited quantities."""
        return (*(goal.name for goal in self.goals), *(limit.name for limit in self.limits))

    def parts(self, samples: Sequence[str]) -> tuple[list[str], list[str]]:
        """Samples to race on, and those held out, of all in drawn order."""
        n = round((1 - self.confirm) * len(samples))
        return list(samples[:n]), list(samples[n:])

    def contest(self, total: int, variants: Sequence[str] = ()) -> Contest:
        """A contest that nobody has entered.

        Args:
            total: Samples to race on.
            variants: Ids in the order in which they will be let in, where that is known.
        """
        if not self.races:
            return Unraced(self.goals, total, self.family, alpha=self.alpha, limits=self.limits)
        if self.kind == "cheapest":
            quality, cost = self.goals
            reference = variants.index(self.reference) if self.reference else None
            return CheapestRace(quality, cost, total, self.family, within=self.within, alpha=self.alpha,
                                limits=self.limits, reference=reference)  # fmt: skip
        return Race(self.goals, total, self.family, alpha=self.alpha, limits=self.limits)

    def ends(self, calls: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
        """Least and largest value of everything that is measured.

        Args:
            calls: Those of the numbers of one variant's calls, by name.
        """
        return [self.ranges[name] if name in self.ranges else calls.get(name, (0.0, math.inf)) for name in self.names]

    def values(
        self, samples: Sequence[Mapping[str, float]], ends: Sequence[tuple[float, float]]
    ) -> NDArray[np.float64]:
        """What a contest takes of some samples.

        Args:
            samples: Values by name; a name is missing where there is no value.
            ends: As `ends` gives them.

        Returns:
            Shape `(n_goals + n_limits, n)`.

        Raises:
            ScoreError: A value lies outside its declared bounds, on which the race rests.
        """
        rows = np.array([[sample.get(name, math.nan) for sample in samples] for name in self.names])
        for name, row, (low, high) in zip(self.names, rows, ends, strict=True):
            slack = 1e-9 * (1 + abs(high - low))
            outside = row[(row < low - slack) | (row > high + slack)]
            if len(outside):
                raise ScoreError(
                    f"{name} = {outside[0]:g} lies outside [{low:g}, {high:g}], on which the race rests: "
                    "correct the scorer, or declare `range` in the plan; if a cached answer was more "
                    "expensive or slower than one of today can be, say cache: {mode: refresh}"
                )
        return rows.reshape(len(self.names), len(samples))


def interval(values: NDArray[np.float64], ends: tuple[float, float], total: int) -> tuple[float, float] | None:
    """95 % bounds of the mean over a finite number of samples, that hold at every look.

    Args:
        values: Of the samples seen so far, in drawn order, shape `(n,)`.
        ends: Least and largest value; where they are not finite, or not kept, there are no bounds.
        total: All samples.
    """
    low, high = ends
    if not len(values) or not math.isfinite(high - low) or values.min() < low or values.max() > high:
        return None
    return Betting(values, np.ones(len(values)), low, high, horizon=total, total=total).interval(END_ERROR)
