"""From a run's records to its selection matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from paretoken.analysis.features import level_of, tags_of
from paretoken.analysis.matrix import weigh
from paretoken.analysis.panel import drawn
from paretoken.analysis.scorecard import Outcomes, Terms
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.matrix import Selection
    from paretoken.analysis.results import Results

_PICO = 1e-12


def select(
    results: Results,
    *,
    by: Literal["variant", "model"] = "variant",
    weights: Mapping[str, float] | None = None,
    metric: str | None = None,
    sla_s: float | None = None,
    floor: float | None = None,
    seed: int | None = None,
) -> Selection:
    """Weigh the variants or the models of a run by quality, latency, cost, stability and coverage.

    Args:
        results: The run.
        by: What a candidate is.
        weights: By dimension; those that are not given share what is left as the defaults would.
        metric: What quality is; by default the first metric that the run maximises.
        sla_s: Latency that a call should not exceed [s]; without it stability counts errors alone.
        floor: Quality from which an answer is usable and a scenario passed; by default the run's own limit.
        seed: For the resamples; by default the run's.

    Raises:
        SpecError: The run goes on, has fewer than two candidates, or something is asked that it does not have.
    """
    if by not in ("variant", "model"):
        raise SpecError(f"{by!r} is nothing to choose from.", fix=suggest(by, ("variant", "model")))
    if results.run.status == "running":
        raise SpecError(f"{results.run.id} is not finished: a winner that is picked on the way is picked by chance.",
                        fix="Run its spec to the end.")  # fmt: skip
    if sla_s is not None and not 0 < sla_s < math.inf:
        raise SpecError(f"a latency limit of {sla_s:g} s cannot be kept.", fix="Give one above 0 s.")
    metric = _metric(results, metric)
    terms = _terms(results, metric, floor, sla_s)
    outcomes, tags, notes = _outcomes(results, by, metric)
    return weigh(
        outcomes, terms, weights or {}, run=results.run.id, by=by, metric=metric, tags=tags, notes=notes,
        seed=int(str(results.run.lock["seed"])) % 2**32 if seed is None else seed,
    )  # fmt: skip


def _metric(results: Results, metric: str | None) -> str | None:
    """The metric that is named, or the first that is maximised.

    Raises:
        SpecError: There is none of this name, or a smaller value of it is better.
    """
    if metric is None:
        return results.objectives.quality(results.metrics)
    if metric not in results.metrics:
        fix = suggest(metric, results.metrics) if results.metrics else "Its spec names no scorers."
        raise SpecError(f"{metric!r} is no metric of {results.run.id}.", fix=fix)
    if metric in results.objectives.minimize:
        raise SpecError(f"{results.run.id} minimises {metric}: less of it is better, so it is no quality.")
    return metric


def _terms(results: Results, metric: str | None, floor: float | None, sla_s: float | None) -> Terms:
    """What is good enough.

    Raises:
        SpecError: The floor lies outside of the metric's scale, or there is no metric.
    """
    scorers = cast("list[dict[str, Any]]", results.run.lock["scorers"])
    scales = {name: (float(low), float(high)) for s in scorers for name, (low, high) in s.get("ranges", {}).items()}
    scale = scales.get(metric or "")
    if scale is not None and not (math.isfinite(scale[0]) and math.isfinite(scale[1])):
        scale = None
    if floor is None:
        sign, bound = results.objectives.subject_to.get(metric or "", ("", 0.0))
        return Terms(bound if sign == ">=" else None, sla_s, scale)
    if metric is None:
        raise SpecError(f"{results.run.id} has no metric that could reach a floor: its spec names no scorers.")
    if not math.isfinite(floor) or (scale is not None and not scale[0] <= floor <= scale[1]):
        ends = "" if scale is None else f" Its scale goes from {scale[0]:g} to {scale[1]:g}."
        raise SpecError(f"{floor:g} is no floor for {metric}.", fix=ends.strip())
    return Terms(floor, sla_s, scale)


def _outcomes(
    results: Results, by: Literal["variant", "model"], metric: str | None
) -> tuple[Outcomes, list[str], list[str]]:
    """The records of all candidates on the samples that each was asked, the scenarios' columns, and the cautions.

    Raises:
        SpecError: There are fewer than two candidates, no sample that all were asked, or no answer.
    """
    variants, notes = _variants(results)
    names = {id_: results.labels[id_] if by == "variant" else results.variants[id_].model for id_ in variants}
    candidates = list(dict.fromkeys(names.values()))
    if len(candidates) < 2:
        told = f"one {by} to choose from, {candidates[0]}" if candidates else f"no {by} to choose from"
        why = "" if results.race is None else ": the others left the race"
        raise SpecError(f"{results.run.id} has {told}{why}.", fix="It takes two.")
    table = results.table
    numbers = [table.variant_ids.index(id_) for id_ in variants]
    met = np.zeros((len(table.variant_ids), len(table.sample_ids)), np.bool_)
    met[table.variant, table.sample] = True
    shared = np.asarray(met[numbers].all(axis=0))
    if not shared.any():
        raise SpecError(f"no sample of {results.run.id} was put to all its candidates.", fix="Run its spec to the end.")
    if left_out := int(met[numbers].any(axis=0).sum() - shared.sum()):
        notes.append(f"{left_out} samples that not all candidates were asked are left out")
    ids = [id_ for id_, common in zip(table.sample_ids, shared, strict=True) if common]
    clusters = {id_: str(results.clusters.get(id_) or f"sample/{id_}") for id_ in ids}
    order, unit = drawn(ids, int(cast("int", results.run.lock["seed"])), clusters)
    place = {id_: i for i, id_ in enumerate(order)}
    sample = np.array([place.get(id_, -1) for id_ in table.sample_ids])[table.sample]
    variant = np.array([variants.index(id_) if id_ in variants else -1 for id_ in table.variant_ids])[table.variant]
    rows = np.lexsort((table.repeat, sample, variant))  # sums do not depend on the order in which calls came back
    rows = rows[(sample[rows] >= 0) & (variant[rows] >= 0)]
    if table.failed[rows].all():
        raise SpecError(f"{results.run.id} has no answers yet: there is nothing to choose from.")
    unknown = np.full(len(table), np.nan)
    tags = results.plan.get("segments") or tags_of((body for _, body in results.read_samples(ids)), len(ids))
    outcomes = Outcomes(
        candidates=candidates,
        candidate=np.array([candidates.index(names[id_]) for id_ in variants])[variant[rows]],
        sample=sample[rows],
        failed=table.failed[rows],
        list_usd=table.list_pico[rows].astype(np.float64) * _PICO,
        latency_s=table.values["latency_s"][rows],
        quality=table.values.get(metric or "", unknown)[rows],
        unit=unit,
        scenarios=_scenarios(results, place, tags),
    )
    return outcomes, tags, notes


def _variants(results: Results) -> tuple[list[str], list[str]]:
    """Ids of the variants to choose from, in the order of the spec, and the cautions about that choice."""
    notes = []
    if results.run.status != "finished":
        notes.append(f"{results.run.id} is {results.run.status}: this is what is recorded so far")
    asked = {results.table.variant_ids[v] for v in np.unique(results.table.variant)}
    left = {} if results.race is None else results.race.departures
    kept = [id_ for id_ in results.labels if id_ in asked and (id_ not in left or left[id_].fate in ("kept", "open"))]
    if gone := len(asked) - len(kept):
        notes.append(f"{gone} variants that left the race are no candidates")
    if results.race is not None or (results.test is not None and results.test.continuous):
        notes.append("the run could end by what it showed, which the shares of resamples do not allow for")
    return kept, notes


def _scenarios(results: Results, place: Mapping[str, int], tags: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which samples have each value of each tag, by `tag=value`."""
    columns = {tag: [level_of(None)] * len(place) for tag in tags}
    for id_, body in results.read_samples(place) if tags else ():
        fields = cast("Mapping[str, object]", body.get("fields") or {})
        for tag, levels in columns.items():
            levels[place[id_]] = level_of(fields.get(tag))
    found: dict[str, NDArray[np.bool_]] = {}
    for tag, levels in columns.items():
        found |= {f"{tag}={level}": np.array([own == level for own in levels]) for level in sorted(set(levels))}
    return found
