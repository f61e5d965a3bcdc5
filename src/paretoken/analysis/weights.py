"""Weights of dimensions: what is said of them, and which change of one makes another candidate first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WEIGHTS = {"quality": 0.30, "latency": 0.20, "cost": 0.25, "stability": 0.15, "coverage": 0.10}
TIE = 1e-12
"""Difference of totals that is none."""


class Flip(NamedTuple):
    """The smallest change of one weight that makes another candidate first; the other weights keep their proportions.

    Attributes:
        dimension: Whose weight.
        weight: What it is.
        at: Where the first and the other have the same total; beyond it the other has more.
        winner: Index of the other.
    """

    dimension: str
    weight: float
    at: float
    winner: int


def resolve_weights(given: Mapping[str, float], measured: Sequence[str]) -> dict[str, float]:
    """Weights of the measured dimensions, with sum 1.

    A weight that is given stands as it is, and the others share what it leaves in proportion to their defaults; where
    all are given, only their proportions count. What is not measured has no weight.

    Args:
        given: By dimension.
        measured: Dimensions, at least one.

    Raises:
        SpecError: A name is unknown, a weight is negative or no number, all are zero, or some leave nothing to others.
    """
    for name, weight in given.items():
        if name not in WEIGHTS:
            raise SpecError(f"{name!r} is no dimension.", fix=suggest(name, WEIGHTS))
        if not (math.isfinite(weight) and weight >= 0):
            raise SpecError(f"the weight of {name} is {weight:g}.", fix="Give a number that is not negative.")
    if given.keys() == WEIGHTS.keys() and not any(given.values()):
        raise SpecError("all weights are zero.", fix="Give one of them at least a weight.")
    own = {name: given[name] for name in measured if name in given}
    rest = {name: WEIGHTS[name] for name in measured if name not in own}
    total = sum(own.values())
    if not rest and not total:
        raise SpecError(f"all that is measured has no weight: {', '.join(measured)}.", fix="Give one of them a weight.")
    if rest and total > 1:
        raise SpecError(f"the weights of {', '.join(own)} add up to {total:g}, which leaves less than nothing to "
                        f"{', '.join(rest)}.", fix="Give them 1 together at most, or weigh all.")  # fmt: skip
    share = (1 - total) / sum(rest.values()) if rest else 0.0
    weights = own | {name: share * weight for name, weight in rest.items()}
    return {name: weights[name] / (total if not rest else 1.0) for name in measured}


def reweighted(weights: NDArray[np.float64], index: int, weight: float) -> NDArray[np.float64]:
    """Weights with one of them changed and the others rescaled in proportion, so that they still add up to 1.

    Args:
        weights: With sum 1, shape `(n_dimensions,)`; not all of it on the one.
        index: Which one.
        weight: What it shall be, 0 to 1.
    """
    others: NDArray[np.float64] = weights * (1 - weight) / (1 - weights[index])
    others[index] = weight
    return others


def add_up(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Totals, the same to the last digit whichever candidates stand beside one another.

    Args:
        scores: Shape `(..., n_dimensions)`.
        weights: Shape `(n_dimensions,)`.
    """
    return np.asarray((scores * weights).sum(axis=-1))


def find_flips(scores: NDArray[np.float64], weights: Mapping[str, float]) -> list[Flip]:
    """For each dimension the smallest change of its weight that makes another candidate first.

    As one weight moves and the others keep their proportions, every total is a straight line in it: the first one is
    overtaken where it meets the next line. No search is needed, and none is made.

    Args:
        scores: Shape `(n_candidates, n_dimensions)`; the candidate that is first stands first.
        weights: With sum 1, in the order of the scores' dimensions.

    Returns:
        One flip for each dimension that has any.
    """
    now = np.array(list(weights.values()))
    behind = scores[0] - scores
    lead = np.maximum(add_up(behind, now), 0)
    found = []
    for i, (name, weight) in enumerate(weights.items()):
        if weight > 1 - TIE:
            continue  # nothing is left whose proportions could be kept
        flips = []
        for end in (0.0, 1.0):
            if (met := _first_met(lead, add_up(behind, reweighted(now, i, end)))) is not None:
                step, winner = met
                flips.append(Flip(name, weight, weight + step * (end - weight), winner))
        found += sorted(flips, key=lambda flip: abs(flip.at - weight))[:1]
    return found


def _first_met(lead: NDArray[np.float64], at_end: NDArray[np.float64]) -> tuple[float, int] | None:
    """Who overtakes first on the way to an end, and after which part of the way; None if nobody does."""
    ahead = np.flatnonzero(at_end < -TIE)
    if not len(ahead):
        return None
    steps = lead[ahead] / (lead[ahead] - at_end[ahead])
    met = ahead[steps <= steps.min() + TIE]  # of those that are met together, the steepest is first afterwards
    return float(steps.min()), int(met[np.argmin(at_end[met])])
