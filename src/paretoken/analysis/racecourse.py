"""How a race came about: what was known of its variants after ever more cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.estimate import Estimate
from paretoken.analysis.sequences import Betting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.hypervolume import Box
    from paretoken.records.table import RecordTable

N_LOOKS = 40
"""Most looks at a race."""
N_VARIANT_LOOKS = 20
"""Most looks at one variant."""
REACH = 3.0
"""Decades of distances from the mean among which the ends of intervals are looked for."""
N_DISTANCES = 28
STEEP = 6.0
"""How far beyond what is wanted a wealth is from which on nothing is read between it and the next one."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a race stood after some of its cells.

    Attributes:
        cells: Cells answered.
        usd: Their list cost [USD].
        entered: Variants that had an answer.
        alive: Those of them that had not left.
        on_front: Those that none of these dominated, as they were estimated then.
        hypervolume: Share of the box that the variants on that front dominate, at their final estimates; those that
            break a limit in the end add nothing.
    """

    cells: int
    usd: float
    entered: int
    alive: int
    on_front: int
    hypervolume: float


def race_course(
    table: RecordTable,
    final: Mapping[str, Sequence[float]],
    leaves_after: Mapping[str, float],
    goals: Sequence[tuple[str, float]],
    limits: Mapping[str, tuple[str, float]],
    box: Box,
) -> list[Look]:
    """Follow a race from its first cells to its last, in the order in which they were answered.

    Args:
        table: The records it rests on.
        final: Final estimates of variants, by id, smaller is better; those that are missing add nothing to a front.
        leaves_after: Samples after which a variant has left, by id; infinite where it stayed.
        goals: Names of the objectives with their signs: 1 where smaller is better, else -1.
        limits: Limits by name, as in `Objectives`.
        box: In which fronts are measured.

    Returns:
        At most `N_LOOKS` looks, evenly over the cells; none without cells.
    """
    from moocore import is_nondominated

    ids = table.variant_ids
    ends = np.array([final.get(id_, [math.nan] * len(goals)) for id_ in ids], dtype=float).reshape(len(ids), len(goals))
    last = np.array([leaves_after.get(id_, math.inf) for id_ in ids])
    order = np.argsort(table.at_s, kind="stable")
    repeats = int(table.repeat.max()) + 1 if len(table) else 1
    looks = []
    for n in np.unique(np.linspace(min(len(ids), len(table)), len(table), N_LOOKS).astype(int)) if len(table) else ():
        seen = order[:n]
        counts = np.bincount(table.variant[seen], minlength=len(ids))
        stays = (counts > 0) & (counts < last * repeats)
        means = {name: _means(table, name, seen) for name in {*(name for name, _ in goals), *limits}}
        fits = stays.copy()
        for name, (sign, bound) in limits.items():
            fits &= means[name] >= bound if sign == ">=" else means[name] <= bound
        then = np.stack([sign * means[name] for name, sign in goals], axis=1)
        ranked = np.flatnonzero(fits & ~np.isnan(then).any(axis=1))
        front = ranked[is_nondominated(then[ranked], keep_weakly=True)] if len(ranked) else ranked
        looks.append(
            Look(
                cells=int(n),
                usd=float(table.list_pico[seen].sum()) * 1e-12,
                entered=int((counts > 0).sum()),
                alive=int(stays.sum()),
                on_front=len(front),
                hypervolume=box.hypervolume(ends[front][~np.isnan(ends[front]).any(axis=1)]),
            )
        )
    return looks


def _means(table: RecordTable, name: str, seen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of a quantity by variant over some records; NaN where there is none, shape `(n_variants,)`."""
    column = table.values.get(name, np.full(len(table), math.nan))[seen]
    known = ~np.isnan(column)
    variant = table.variant[seen][known]
    n = np.bincount(variant, minlength=len(table.variant_ids))
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.bincount(variant, column[known], minlength=len(n)) / n
    return means


def variant_course(
    values: NDArray[np.float64], ends: tuple[float, float] | None, total: int, error: float
) -> list[tuple[int, Estimate]]:
    """How the mean of a variant's values, and the interval that holds at every look, came about.

    Args:
        values: In the order drawn, shape `(n,)`.
        ends: Least and largest value there can be; without them there are no intervals.
        total: Samples of which the values are drawn.
        error: Of each end of the interval.

    Returns:
        `(samples, estimate)`, at most `N_VARIANT_LOOKS` of them. The ends of intervals are read between means that
        were tried, for the root of a wealth is about linear there: they are exact to the eye.
    """
    n = len(values)
    looks = np.unique(np.linspace(min(8, n), n, N_VARIANT_LOOKS).astype(int)) if n else np.empty(0, int)
    means = [float(values[:k].mean()) for k in looks]
    low = high = np.full(len(looks), math.nan)
    if ends is not None and ends[0] < ends[1] < math.inf and n and ends[0] <= values.min() <= values.max() <= ends[1]:
        betting = Betting(values, np.ones(n), *ends, horizon=total, total=total)
        low, high = (_ends(betting, sign, looks - 1, error) for sign in (1, -1))
    return [
        (int(k), Estimate(m, *((m, m) if k >= total else (_known(a), _known(b))), int(k)))
        for k, m, a, b in zip(looks, means, low, high, strict=True)
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _ends(betting: Betting, sign: int, at: NDArray[np.int64], error: float) -> NDArray[np.float64]:
    """Ends of the interval below (+1) or above (-1) the mean after some observations, shape `(n_looks,)`."""
    outer = betting.low if sign > 0 else betting.high
    width = abs(betting.estimate - outer)
    tried = betting.estimate - sign * width * 10.0 ** np.linspace(0, -REACH, N_DISTANCES)
    tried[0] += sign * 1e-9 * width
    wealth = np.array([np.maximum.accumulate(betting.log_wealth(m, sign))[at] for m in tried])
    wanted = -math.log(error)
    found = np.full(len(at), outer)
    for look in np.flatnonzero(wealth[0] > wanted):
        refuted = wealth[:, look] > wanted
        i = len(tried) - 1 if refuted.all() else int(refuted.argmin())
        outside, inside = wealth[i - 1, look], max(wealth[i, look], 0.0)
        steep = outside > STEEP * wanted or outside <= inside
        share = 0.0 if steep else (outside**0.5 - wanted**0.5) / (outside**0.5 - inside**0.5)
        found[look] = tried[i - 1] + min(share, 1.0) * (tried[i] - tried[i - 1])
    return found
