"""The Pareto front: variants that no other variant beats on every objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.hypervolume import Box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.objectives import Objectives
    from paretoken.analysis.raced import Departure
    from paretoken.analysis.summary import VariantSummary


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one variant stands.

    Attributes:
        on_front: No other feasible variant is at least as good on every objective and better on one.
        broken: Constraints it violates, in words.
        unknown: Objectives that have no value for it; such a variant is not ranked.
        dominated_by: Labels of the variants that beat it.
        rank: Fronts that lie before it at the estimated values: 0 is the front itself; None where it is not ranked.
        departure: What became of it in a race; None without one.
    """

    summary: VariantSummary
    on_front: bool
    broken: tuple[str, ...]
    unknown: tuple[str, ...]
    dominated_by: tuple[str, ...]
    rank: int | None = None
    departure: Departure | None = None


@dataclass(frozen=True, slots=True)
class FrontVolume:
    """How good a front is at the estimated values.

    Attributes:
        hypervolume: Share of the box around all ranked variants that the front dominates.
        added: What each ranked variant adds to it alone, by id; 0 for those that others cover.
    """

    hypervolume: float
    added: Mapping[str, float]


def measure_front(standings: Sequence[Standing], objectives: Objectives) -> FrontVolume | None:
    """The hypervolume of a front; None where no variant is ranked."""
    ranked = [s for s in standings if s.rank is not None]
    if not ranked:
        return None
    points = _points([s.summary for s in ranked], objectives)
    box, front = Box.around(points), np.array([s.on_front for s in ranked])
    whole = box.hypervolume(points[front])
    added = {s.summary.variant: 0.0 for s in ranked}
    for i in np.flatnonzero(front):
        others = front & (np.arange(len(ranked)) != i)
        added[ranked[i].summary.variant] = whole - box.hypervolume(points[others])
    return FrontVolume(whole, added)


def with_departures(standings: Sequence[Standing], departures: Mapping[str, Departure]) -> list[Standing]:
    """Standings by what a race decided; on a front that is not known yet they stand as their values have it."""
    found = []
    for standing in standings:
        left = departures[standing.summary.variant]
        so_far = left.fate == "open" and left.kept_as == "front" and standing.on_front
        on_front = left.fate == "kept" or so_far
        found.append(replace(standing, on_front=on_front and not standing.broken, departure=left))
    return found


def find_front(summaries: Sequence[VariantSummary], objectives: Objectives) -> list[Standing]:
    """Which variants are non-dominated at their estimated values.

    Args:
        summaries: All variants of a run.
        objectives: Objectives and constraints.

    Returns:
        One standing per summary, in order.
    """
    from moocore import pareto_rank

    broken = [_broken(summary, objectives) for summary in summaries]
    unknown = [tuple(name for name in objectives.names if s.value(name) is None) for s in summaries]
    ranked = [i for i in range(len(summaries)) if not broken[i] and not unknown[i]]
    points = _points([summaries[i] for i in ranked], objectives)
    ranks = dict(zip(ranked, map(int, pareto_rank(points)), strict=True)) if ranked else {}

    def beaten_by(i: int) -> tuple[str, ...]:
        if i not in ranked:
            return ()
        own = points[ranked.index(i)]
        better = np.all(points <= own, axis=1) & np.any(points < own, axis=1)
        return tuple(summaries[j].label for j, wins in zip(ranked, better, strict=True) if wins)

    return [
        Standing(summary, ranks.get(i) == 0, broken[i], unknown[i], beaten_by(i), ranks.get(i))
        for i, summary in enumerate(summaries)
    ]


def _points(summaries: Sequence[VariantSummary], objectives: Objectives) -> NDArray[np.float64]:
    """The objectives' values, shape `(n, n_objectives)`, smaller is better."""
    sign = [1.0] * len(objectives.minimize) + [-1.0] * len(objectives.maximize)
    values = np.array([[s.value(name) for name in objectives.names] for s in summaries], dtype=float)
    return np.asarray(values.reshape(len(summaries), len(sign)) * sign)


def _broken(summary: VariantSummary, objectives: Objectives) -> tuple[str, ...]:
    out = []
    for name, (sign, bound) in objectives.subject_to.items():
        value = summary.value(name)
        if value is None or (value < bound if sign == ">=" else value > bound):
            out.append(f"{name} {'unknown' if value is None else f'{value:.4g}'}, wanted {sign} {bound:g}")
    return tuple(out)
