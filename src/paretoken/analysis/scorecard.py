"""Five numbers of every candidate, from records of the same samples, and their scores from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.objectives import LATENCY_QUANTILES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

DIMENSIONS = ("quality", "latency", "cost", "stability", "coverage")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Outcomes:
    """What came of putting the same samples to every candidate; one row per record, arrays of shape `(n,)`.

    Attributes:
        candidates: Names.
        candidate, sample: Index of each record's candidate and sample.
        failed: True where there is no answer.
        list_usd: List cost, 0 where there is no answer [USD].
        latency_s: NaN where it is not known [s].
        quality: The metric; NaN where there is none.
        unit: Cluster of each sample, or its own number, counted from 0, shape `(n_samples,)`.
        scenarios: By name, which samples belong to it, shape `(n_samples,)`.
    """

    candidates: Sequence[str]
    candidate: NDArray[np.int64]
    sample: NDArray[np.int64]
    failed: NDArray[np.bool_]
    list_usd: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    quality: NDArray[np.float64]
    unit: NDArray[np.int64]
    scenarios: Mapping[str, NDArray[np.bool_]]

    @property
    def n_units(self) -> int:
        """Clusters, or samples where they stand alone."""
        return int(self.unit.max()) + 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What is good enough.

    Attributes:
        floor: Quality from which an answer is usable and a scenario passed; None where every answer is usable.
        sla_s: Latency that a call should not exceed; None where none is promised [s].
        scale: Least and largest value of the metric; None where it states none.
    """

    floor: float | None = None
    sla_s: float | None = None
    scale: tuple[float, float] | None = (0.0, 1.0)


def measure(outcomes: Outcomes, draws: NDArray[np.float64], terms: Terms) -> dict[str, NDArray[np.float64]]:
    """The dimensions of every candidate, for every draw of samples.

    Args:
        outcomes: The records.
        draws: How often each unit was drawn, shape `(n_draws, n_units)`; a row of ones is the run as it is.
        terms: What is good enough.

    Returns:
        Arrays of shape `(n_draws, n_candidates)`, NaN where there is no such number: `quality`, the mean over samples;
        `latency`, the 99th percentile [s]; `cost`, of a usable answer [USD]; `stability`, the share of calls that were
        answered, in time where `sla_s` says what that is; `coverage`, the share of scenarios that were passed; and
        what they are made of, `error_rate`, `sla_rate` (in time, of all whose time is known) and `usable_rate`.
    """
    met = [draws @ np.bincount(outcomes.unit, samples, outcomes.n_units) > 0 for samples in outcomes.scenarios.values()]
    rows = [_measure_one(outcomes, v, draws, met, terms) for v in range(len(outcomes.candidates))]
    return {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}


def _measure_one(
    outcomes: Outcomes, candidate: int, draws: NDArray[np.float64], met: Sequence[NDArray[np.bool_]], terms: Terms
) -> dict[str, NDArray[np.float64]]:
    """One candidate's numbers; `met` says for each scenario whether a draw has any sample of it."""
    mine = outcomes.candidate == candidate
    failed, latency_s, quality = outcomes.failed[mine], outcomes.latency_s[mine], outcomes.quality[mine]
    has = ~np.isnan(latency_s)
    of_calls = {
        "n": np.ones(len(failed)),
        "failed": failed,
        "usable": ~failed if terms.floor is None else ~failed & _meets(quality, terms.floor),
        "timed": failed | has,
        "in_time": ~failed & (latency_s <= (terms.sla_s or 0.0)),
        "usd": outcomes.list_usd[mine],
    }
    unit = outcomes.unit[outcomes.sample[mine]]
    means, scored = _sample_means(outcomes, mine)
    parts = [np.ones(len(scored)), *(outcomes.scenarios.values() if terms.floor is not None else ())]
    sums = [np.bincount(unit, values, outcomes.n_units) for values in of_calls.values()]
    sums += [
        np.bincount(outcomes.unit, part * values, outcomes.n_units) for part in parts for values in (means, scored)
    ]
    totals = (draws @ np.stack(sums, axis=1)).T
    drawn = dict(zip(of_calls, totals, strict=False))
    quality_means = [
        _ratio(*pair) for pair in zip(totals[len(of_calls) :: 2], totals[len(of_calls) + 1 :: 2], strict=True)
    ]
    found = {
        "quality": quality_means[0],
        "latency": quantiles(latency_s[has], draws[:, unit[has]], LATENCY_QUANTILES["p99"]),
        "cost": _ratio(drawn["usd"], drawn["usable"]),
        "stability": 1 - _ratio(drawn["failed"], drawn["n"]),
        "coverage": np.full(len(draws), np.nan),
        "error_rate": _ratio(drawn["failed"], drawn["n"]),
        "sla_rate": np.full(len(draws), np.nan),
        "usable_rate": _ratio(drawn["usable"], drawn["n"]),
    }
    if terms.sla_s is not None:
        found["stability"] = found["sla_rate"] = _ratio(drawn["in_time"], drawn["timed"])
    if terms.floor is not None and met:
        passed = [_meets(mean, terms.floor) for mean in quality_means[1:]]
        found["coverage"] = _ratio(np.sum(passed, axis=0, dtype=float), np.sum(met, axis=0))
    return found


def failed_scenarios(outcomes: Outcomes, candidate: int, terms: Terms) -> tuple[str, ...]:
    """Names of the scenarios that a candidate does not pass; none without a floor."""
    if terms.floor is None:
        return ()
    means, scored = _sample_means(outcomes, outcomes.candidate == candidate)
    return tuple(
        name
        for name, samples in outcomes.scenarios.items()
        if not ((chosen := samples & scored).any() and _meets(means[chosen].mean(), terms.floor))
    )


def _meets(values: NDArray[np.float64], floor: float) -> NDArray[np.bool_]:
    """Whether values reach the floor, but for rounding."""
    return np.asarray(values >= floor - _ROUNDING)


def _sample_means(outcomes: Outcomes, mine: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean quality of each sample over repeats, 0 where none is scored, and whether one is, shape `(n_samples,)`."""
    known = mine & ~np.isnan(outcomes.quality)
    sample, n_samples = outcomes.sample[known], len(outcomes.unit)
    counts = np.bincount(sample, minlength=n_samples)
    return np.bincount(sample, outcomes.quality[known], n_samples) / np.maximum(counts, 1), counts > 0


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where nothing is divided by."""
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0))


def quantiles(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """The quantile of values that each row of weights says how often to count.

    Args:
        values: Shape `(n,)`.
        weights: Whole numbers, shape `(n_rows, n)`.
        q: From 0 to 1; where it is near 1 only the largest values are looked at.

    Returns:
        Shape `(n_rows,)`, as `numpy.quantile` of the repeated values; NaN where all weights are zero.
    """
    n = weights.sum(axis=1)
    if not n.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-values, kind="stable")
    place = q * np.maximum(n - 1, 0)
    low = np.floor(place)
    above_low = n - 1 - low  # how many of the repeated values come before the lower neighbour, from the largest on
    some = int(2 * above_low.max()) + 64
    ends = np.cumsum(weights[:, order[:some]], axis=1)
    while some < len(values) and (ends[:, -1] <= above_low).any():
        some *= 2
        ends = np.cumsum(weights[:, order[:some]], axis=1)
    ordered = values[order[:some]]
    below, above = (ordered[(ends > np.maximum(k, 0)[:, None]).argmax(axis=1)] for k in (above_low, above_low - 1))
    return np.where(n > 0, below + (place - low) * (above - below), np.nan)


def score(measured: Mapping[str, NDArray[np.float64]], names: Sequence[str], terms: Terms) -> NDArray[np.float64]:
    """Scores from 0 to 1, larger is better; 0 where there is no number.

    Rates stand as they are, quality on the scale that its metric states. Latency and cost have no scale of their own:
    they score the best candidate's number over their own, and so does quality without a scale, the other way round. A
    candidate that is best in none of these changes nobody else's score, so one that another beats in all dimensions
    never changes the winner, as it may where the worst candidate defines the zero.

    Args:
        measured: As `measure` gives it.
        names: Dimensions, in the order wanted.
        terms: What is good enough.

    Returns:
        Shape `(n_draws, n_candidates, n_names)`.
    """
    found = []
    for name in names:
        values = measured[name]
        if name in ("latency", "cost"):
            found.append(_relative(np.min(values, axis=1, keepdims=True, initial=np.inf, where=~np.isnan(values)),
                                   values))  # fmt: skip
        elif name != "quality":
            found.append(values)
        elif terms.scale is None:
            best = np.max(values, axis=1, keepdims=True, initial=0.0, where=~np.isnan(values))
            found.append(_relative(values, np.broadcast_to(best, values.shape)))
        else:
            low, high = terms.scale
            found.append(np.clip((values - low) / (high - low), 0, 1))
    return np.asarray(np.nan_to_num(np.stack(found, axis=2)))


def _relative(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio, 1 where both are the same, even 0."""
    return np.divide(top, bottom, out=np.ones(bottom.shape), where=bottom != top)
