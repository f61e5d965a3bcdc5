"""The selection matrix: candidates weighed by five dimensions, how sure their ranking is, and what would change it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paretoken.analysis.scorecard import DIMENSIONS, Outcomes, Terms, failed_scenarios, measure, score
from paretoken.analysis.weights import TIE, Flip, add_up, find_flips, resolve_weights, reweighted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

RESAMPLES = 2_000
CHUNK = 4_000_000
"""Most numbers that a part of the resamples takes at once."""
FEW_CALLS, FEW_UNITS = 100, 20
CHANCE = 0.05
"""Share of resamples from which a candidate is named as one that may be first."""
_EQUAL = 1e-12
"""Scores that differ by less are the same, summed in another order."""
_TAIL = 0.025
_EVEN = 1e-6
"""A weight so near to a round one, in units of its last digit, is that one."""


class Reading(NamedTuple):
    """One candidate in one dimension.

    Attributes:
        value: What was measured, in the dimension's unit; None with a reason among the row's remarks.
        low, high: Where it lies in 95 % of the resamples.
        score: From 0 to 1.
        contribution: The score times the dimension's weight.
    """

    value: float | None
    low: float | None
    high: float | None
    score: float
    contribution: float


class Row(NamedTuple):
    """One candidate.

    Attributes:
        label: A variant's label, or a model's id.
        rank: 1 is first; those that tie share a rank.
        total: Sum of the contributions, 0 to 1.
        first_rate: Share of the resamples in which it is first; where several tie, each has its part.
        rank_low, rank_high: Where its rank lies in 95 % of the resamples.
        readings: By dimension.
        n: Calls.
        error_rate: Share of calls without an answer.
        sla_rate: Share of calls that were answered in time; None where no limit or no latency is known.
        usable_rate: Share of calls that gave a usable answer.
        failed_scenarios: Names of those that it does not pass.
        dominated_by: Labels of those that score no lower in any dimension and higher in one.
        remarks: Why a number is missing.
    """

    label: str
    rank: int
    total: float
    first_rate: float
    rank_low: int
    rank_high: int
    readings: Mapping[str, Reading]
    n: int
    error_rate: float
    sla_rate: float | None
    usable_rate: float
    failed_scenarios: tuple[str, ...]
    dominated_by: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Selection:
    """Candidates weighed against each other.

    Attributes:
        run: Id of the run.
        by: What a candidate is, `variant` or `model`.
        metric: What quality is; None where it is not measured.
        terms: What is good enough.
        weights: Of the measured dimensions, with sum 1.
        dropped: Why a dimension is not measured.
        rows: The first one first; those that tie in the order of the spec.
        flips: For each dimension whose weight may decide: what change makes another candidate first.
        n_samples, n_units: Samples, and clusters of them.
        tags: Columns whose values are the scenarios.
        notes: What else is to be known, one sentence each.
    """

    run: str
    by: str
    metric: str | None
    terms: Terms
    weights: Mapping[str, float]
    dropped: Mapping[str, str]
    rows: tuple[Row, ...]
    flips: tuple[Flip, ...]
    n_samples: int
    n_units: int
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> tuple[Row, ...]:
        """The candidate that is first, or those that are."""
        return tuple(row for row in self.rows if row.rank == 1)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Shape `(n_candidates, n_dimensions)`, in the order of rows and weights."""
        return np.array([[row.readings[name].score for name in self.weights] for row in self.rows])

    @cached_property
    def sentences(self) -> list[str]:
        """What is to be said, the answer first."""
        told = [self._first_sentence]
        if rivals := [row for row in self.rows if row.rank > 1 and row.first_rate >= CHANCE]:
            close = max(row.first_rate for row in rivals) >= self.rows[0].first_rate
            shares = ", ".join(f'"{row.label}" is first in {percent(row.first_rate)}' for row in rivals)
            told.append(
                f"{'the totals are too close to tell' if close else 'the noise leaves others a chance'}: {shares}"
            )
        told += [self._flip_sentence, self.rule]
        told += [f"{name} is not measured: {why}; its weight goes to the others" for name, why in self.dropped.items()]
        told += [f'"{row.label}": {remark}' for row in self.rows for remark in row.remarks]
        return [*told, *self.notes]

    @property
    def _first_sentence(self) -> str:
        unit = f"{self.n_samples} samples" if self.n_units == self.n_samples else f"{self.n_units} clusters"
        unit = "one cluster" if self.n_units == 1 else unit
        first, others = self.first, [row for row in self.rows if row.rank > 1]
        names = " and ".join(f'"{row.label}"' for row in first)
        told = f"{names} {'is' if len(first) == 1 else 'are'} first with {first[0].total:.2f}"
        told += f', before "{others[0].label}" with {others[0].total:.2f}' if others else ""
        sure = percent(sum(row.first_rate for row in first))
        return f"{told}; first in {sure} of {RESAMPLES:,} resamples of the {unit}"

    @property
    def _flip_sentence(self) -> str:
        if not self.flips:
            return f'"{self.rows[0].label}" stays first whatever a single weight is'
        nearest = sorted(self.flips, key=lambda flip: abs(flip.at - flip.weight))
        told = []
        for winner in dict.fromkeys(flip.winner for flip in nearest):
            changes = [f"{flip.dimension} weighed {self.beyond(flip)} instead of {flip.weight:.2f}"
                       for flip in nearest if flip.winner == winner]  # fmt: skip
            told.append(f'"{self.rows[winner].label}" would be first if {", or ".join(changes)}')
        return "; ".join(told)

    @property
    def rule(self) -> str:
        """How numbers become scores, in one sentence."""
        terms, told = self.terms, {"latency": "latency p99: the best over its own"}
        if self.metric is not None:
            told["quality"] = f"{self.metric} over the best" if terms.scale is None else (
                f"{self.metric} on its scale, {terms.scale[0]:g} to {terms.scale[1]:g}"
            )  # fmt: skip
        good = "" if terms.floor is None else f" of {terms.floor:g} or more"
        told["cost"] = f"cost of a usable answer (no error{good and f', {self.metric}{good}'}): the best over its own"
        within = "" if terms.sla_s is None else f" within {terms.sla_s:g} s"
        told["stability"] = f"stability: calls answered{within}"
        told["coverage"] = f"coverage: values of {' and '.join(self.tags)} with a mean {self.metric}{good}"
        return f"scores: {'; '.join(told[name] for name in self.weights)}"

    def beyond(self, flip: Flip) -> str:
        """A round weight beyond a flip, as near as may be, at which its winner is first.

        Args:
            flip: One of `flips`.
        """
        way, index = (1 if flip.at >= flip.weight else -1), list(self.weights).index(flip.dimension)
        weights, scores = np.array(list(self.weights.values())), self.scores
        for digits in range(2, 9):
            weight = way * (math.floor(way * flip.at * 10**digits + _EVEN) + 1) / 10**digits
            totals = add_up(scores, reweighted(weights, index, min(max(weight, 0.0), 1.0)))
            if 0 <= weight <= 1 and totals[flip.winner] > max(totals[0], totals.max() - 2 * TIE) + TIE:
                return f"{weight:.{digits}f}"
        return f"{flip.at:.9f}"

    def table(self) -> pd.DataFrame:
        """One row per candidate: rank, total, share of resamples in which it is first, and its numbers and scores."""
        import pandas as pd

        rows = []
        for row in self.rows:
            told: dict[str, object] = {"rank": row.rank, "total": row.total, "first_rate": row.first_rate}
            for name, reading in row.readings.items():
                told |= {name: reading.value, f"{name}_score": reading.score}
            rows.append(told)
        return pd.DataFrame(rows, index=pd.Index([row.label for row in self.rows], name="candidate"))

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return said + str(self.table().to_html(float_format=lambda x: f"{x:.3g}", na_rep="–"))


def weigh(
    outcomes: Outcomes,
    terms: Terms,
    weights: Mapping[str, float] | None = None,
    *,
    run: str = "",
    by: str = "variant",
    metric: str | None = "quality",
    tags: Sequence[str] = (),
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Selection:
    """Rank candidates, now and in resamples of their samples, which are the same for all of them in each.

    Args:
        outcomes: The records.
        terms: What is good enough.
        weights: As `resolve_weights` takes them.
        run: Id of the run.
        by: What a candidate is.
        metric: What quality is; None where there is none.
        tags: Columns whose values are the scenarios.
        notes: Further sentences.
        seed: For the resamples.

    Raises:
        SpecError: The weights cannot be used.
    """
    dropped = _dropped(outcomes, terms, metric)
    if untimed := "latency" in dropped and terms.sla_s is not None:
        terms = replace(terms, sla_s=None)
    now = measure(outcomes, np.ones((1, outcomes.n_units)), terms)
    chosen = resolve_weights(weights or {}, [name for name in DIMENSIONS if name not in dropped])
    names, by_weight = list(chosen), np.array(list(chosen.values()))
    scores = score(now, names, terms)[0]
    totals = add_up(scores, by_weight)
    drawn, drawn_totals = _resample(outcomes, terms, names, by_weight, seed)
    ranks, first_rate = _ranks(totals[None])[0], _first(drawn_totals).mean(axis=0)
    drawn_ranks = np.quantile(_ranks(drawn_totals), (_TAIL, 1 - _TAIL), axis=0, method="closest_observation")
    order = sorted(range(len(totals)), key=lambda v: (ranks[v], v))
    ends = {name: _ends(drawn[name]) for name in names}

    def reading(v: int, i: int, name: str) -> Reading:
        value, (low, high) = _number(now[name][0, v]), ends[name]
        return Reading(
            value, _number(low[v]), _number(high[v]), float(scores[v, i]), float(scores[v, i] * by_weight[i])
        )

    rows = tuple(
        Row(
            label=outcomes.candidates[v],
            rank=int(ranks[v]),
            total=float(totals[v]),
            first_rate=float(first_rate[v]),
            rank_low=int(drawn_ranks[0, v]),
            rank_high=int(drawn_ranks[1, v]),
            readings={name: reading(v, i, name) for i, name in enumerate(names)},
            n=int((outcomes.candidate == v).sum()),
            error_rate=float(now["error_rate"][0, v]),
            sla_rate=_number(now["sla_rate"][0, v]),
            usable_rate=float(now["usable_rate"][0, v]),
            failed_scenarios=failed_scenarios(outcomes, v, terms),
            dominated_by=tuple(outcomes.candidates[u] for u in order if _dominates(scores[u], scores[v])),
            remarks=tuple(_lacks(name) for name in names if np.isnan(now[name][0, v])),
        )
        for v in order
    )  # fmt: skip
    told = [*notes, *_cautions(outcomes, names)]
    if untimed:
        told.append("without latencies no time limit can be held: stability counts errors alone")
    flips = tuple(find_flips(scores[order], chosen))
    return Selection(run, by, metric, terms, chosen, dropped, rows, flips, len(outcomes.unit), outcomes.n_units,
                     tuple(tags), tuple(told))  # fmt: skip


def _resample(
    outcomes: Outcomes, terms: Terms, names: Sequence[str], weights: NDArray[np.float64], seed: int
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Dimensions by name, and totals, of units drawn with replacement; arrays of shape `(RESAMPLES, n_candidates)`."""
    rng, n = np.random.default_rng(seed), outcomes.n_units
    most = max(np.bincount(outcomes.candidate).max(), n)
    found, left = [], RESAMPLES
    while left:
        some = min(left, max(CHUNK // int(most), 1))
        found.append(measure(outcomes, rng.multinomial(n, np.full(n, 1 / n), some).astype(float), terms))
        left -= some
    measured = {name: np.concatenate([part[name] for part in found]) for name in names}
    return measured, add_up(score(measured, names, terms), weights)


def _ranks(totals: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 for the largest of each row; those that tie share a rank."""
    n = totals.shape[1]
    return np.array([1 + n - np.searchsorted(np.sort(row), row + TIE, side="right") for row in totals])


def _first(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a candidate is first in a row, less where several share it."""
    leads = totals >= totals.max(axis=1, keepdims=True) - TIE
    return np.asarray(leads / leads.sum(axis=1, keepdims=True))


def _ends(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where 95 % of the values of each column lie that are there, shape `(2, n_columns)`; NaN where none is."""
    columns = (column[~np.isnan(column)] for column in values.T)
    return np.array([np.quantile(c, (_TAIL, 1 - _TAIL)) if len(c) else (np.nan, np.nan) for c in columns]).T


def _dominates(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    beyond = one - other
    return bool(np.all(beyond >= -_EQUAL) and np.any(beyond > _EQUAL))


def _dropped(outcomes: Outcomes, terms: Terms, metric: str | None) -> dict[str, str]:
    """Why dimensions cannot be measured; a candidate that answered nothing is no reason."""
    found = {}
    if metric is None:
        found["quality"] = "the run has no metric"
    elif np.isnan(outcomes.quality).all():
        found["quality"] = f"no answer has a value of {metric}"
    elif terms.scale is None and np.nanmin(outcomes.quality) < 0:
        found["quality"] = f"{metric} can be negative and states no range"
    answered, timed = ({*outcomes.candidate[has].tolist()} for has in (~outcomes.failed, ~np.isnan(outcomes.latency_s)))
    if not timed:
        found["latency"] = "no call has one"
    elif lacking := sorted(answered - timed):
        found["latency"] = f"no call of {' and '.join(outcomes.candidates[v] for v in lacking)} has one"
    if terms.floor is None:
        found["coverage"] = "no floor says which scenario is passed"
    elif not outcomes.scenarios:
        found["coverage"] = "no column of the data set sorts its samples"
    return found


def _lacks(dimension: str) -> str:
    what = {"quality": "no answer has a score", "latency": "no call was answered", "cost": "no answer is usable"}
    return f"{what[dimension]}, so its {dimension} is unknown and scores 0"


def _cautions(outcomes: Outcomes, names: Sequence[str]) -> list[str]:
    found = []
    if "latency" in names and (n := int(np.bincount(outcomes.candidate).min())) < FEW_CALLS:
        found.append(f"the p99 of {n} calls lies beside their slowest: it takes some hundreds to tell it")
    if outcomes.n_units < FEW_UNITS:
        word = "samples" if outcomes.n_units == len(outcomes.unit) else "clusters"
        found.append(f"{outcomes.n_units} {word} are few to resample: shares and intervals are rough")
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def percent(rate: float) -> str:
    """Whole percents, or one decimal where they would make none or all of what is neither."""
    return f"{100 * rate:.0f} %" if 0.005 <= rate < 0.995 or rate in (0, 1) else f"{100 * rate:.2g} %" if (
        rate < 0.5) else f"{100 * rate:.1f} %"  # fmt: skip
