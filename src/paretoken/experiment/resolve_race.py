"""Plans that race: what a spec must say so that variants can be dropped with confidence."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from paretoken.analysis.objectives import is_quantile, split_quantile
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.trials import label_variants
from paretoken.experiment.spec import CheapestSpec, RaceSpec, SearchSpec, load_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoken.analysis.objectives import Objectives
    from paretoken.core.protocols import Scorer
    from paretoken.core.trials import Variant
    from paretoken.datasets import Dataset
    from paretoken.experiment.source import Source
    from paretoken.experiment.space import Space
    from paretoken.experiment.spec import Spec

BOUNDED = ("list_usd", "input_tokens", "output_tokens", "latency_s", "error_rate")
"""Numbers of an answer that have an upper bound before it is asked for."""
QUANTILE = "a quantile is reported, not raced; a mean would be"
MIN_RACED = 16
"""Samples below which a race has nothing to save."""


def raced(spec: Spec) -> RaceSpec | CheapestSpec | None:
    """The plan that races; None for others."""
    return spec.plan.race or spec.plan.cheapest or spec.plan.search


def resolve_race(
    spec: Spec,
    space: Space,
    objectives: Objectives,
    scorers: Sequence[Scorer],
    dataset: Dataset,
    source: Source,
) -> tuple[dict[str, Any], list[Variant]]:
    """The plan as the lock says it, and the variants it tries; of a search, random ones that stand for them.

    Raises:
        SpecError: It cannot be raced as it is written.
    """
    plan = raced(spec)
    if plan is None:
        raise ValueError("the plan does not race")
    (kind,) = spec.plan.model_fields_set
    if isinstance(plan, SearchSpec):
        variants = _searched(plan, space, spec.seed, source)
    else:
        variants = enumerate_space(space, source)
    if len(variants) < 2:
        raise source.error("there is one variant only: nothing to choose from.", "plan", kind,
                           fix="Name another prompt or model, or more values in space.")  # fmt: skip
    family = len(variants)
    if isinstance(plan, SearchSpec):
        family = plan.trials if space.size is None else min(plan.trials, space.size)
    body = {"kind": kind, **plan.model_dump(mode="json"), "family": family}
    if isinstance(plan, CheapestSpec):
        body["reference"] = _reference(plan, variants, source)
    _check_names(plan, kind, objectives, source)
    if isinstance(plan, SearchSpec) and not plan.race:
        quantiles = [name for name in objectives.names if is_quantile(name)]
        if plan.confirm and quantiles:
            problem = f"{quantiles[0]!r} is a quantile: a part of the samples cannot confirm it."
            raise source.error(problem, "plan", kind, "confirm", fix="Leave confirm out, or take the mean.")
    else:
        _check_bounds(plan, kind, objectives, scorers, source)
    left = round((1 - (plan.confirm or 0.0)) * len(dataset.samples))
    if plan.confirm and (left < MIN_RACED or len(dataset.samples) - left < MIN_RACED):
        raise source.error(f"of {len(dataset.samples)} samples this leaves {left} to race on and "
                           f"{len(dataset.samples) - left} to confirm the front.", "plan", kind, "confirm",
                           fix=f"Both need at least {MIN_RACED}.")  # fmt: skip
    return body, variants


def enumerate_space(space: Space, source: Source) -> list[Variant]:
    """Every variant, for a plan that tries all of them.

    Raises:
        SpecError: A parameter is an interval.
    """
    try:
        return space.enumerate()
    except SpecError as error:
        raise source.error(error.problem, "space", error.field, fix=error.fix) from error


def _searched(plan: SearchSpec, space: Space, seed: int, source: Source) -> list[Variant]:
    if plan.sampler == "grid":
        try:
            space.refuse_endless()
        except SpecError as error:
            raise source.error(error.problem, "space", error.field, fix=error.fix) from error
    return space.draw(random.Random(f"search/{seed}"), plan.trials)  # noqa: S311 - an order, no secret


def _reference(plan: CheapestSpec, variants: Sequence[Variant], source: Source) -> str:
    """Id of the variant that the others are compared with; empty for the best of all."""
    if plan.of == "best":
        return ""
    labels = label_variants(variants)
    meant = [id_ for id_, label in labels.items() if plan.of in (id_, label)]
    if len(meant) != 1:
        raise source.error(f"no variant is called {plan.of!r}.", "plan", "cheapest", "of",
                           fix=suggest(plan.of, ["best", *labels.values()]))  # fmt: skip
    return meant[0]


def _check_names(plan: RaceSpec | CheapestSpec, kind: str, objectives: Objectives, source: Source) -> None:
    known = objectives.names if isinstance(plan, RaceSpec) else ("list_usd",)
    for part, given in (("epsilon", getattr(plan, "epsilon", {})), ("tolerance", plan.tolerance)):
        for name in given:
            if name not in known:
                raise source.error(f"{name!r} is no objective that races.", "plan", kind, part, name,
                                   fix=suggest(name, known))  # fmt: skip
            if part == "tolerance" and name in objectives.maximize:
                raise source.error(f"{name!r} is maximised: a share of it says nothing.", "plan", kind, part, name,
                                   fix=f"Write epsilon: {{{name}: 0.02}}.")  # fmt: skip


def _check_bounds(
    plan: RaceSpec | CheapestSpec,
    kind: str,
    objectives: Objectives,
    scorers: Sequence[Scorer],
    source: Source,
) -> None:
    """Everything that decides needs bounds, and limits must lie within them."""
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    ranges = {name: tuple(ends) for scorer in scorers for name, ends in scorer.ranges.items()}
    ranges |= {name: (ends[0], ends[1]) for name, ends in plan.range.items()}
    bounded = (*ranges, *BOUNDED)
    for name in plan.range:
        if name not in (*metrics, *BOUNDED):
            raise source.error(f"{name!r} is measured by nothing here.", "plan", kind, "range", name,
                               fix=suggest(name, (*metrics, *BOUNDED)))  # fmt: skip
    for name in objectives.subject_to:
        if is_quantile(name):
            raise source.error("a quantile cannot be a limit of a race.", "subject_to", name,
                               fix=f"Limit the mean, {split_quantile(name)[0]}.")  # fmt: skip
    if isinstance(plan, CheapestSpec):
        if plan.metric in objectives.minimize:
            raise source.error(f"the best is the highest, and {plan.metric!r} is minimised.", "plan", kind, "metric",
                               fix="Score it the other way round, and maximise it.")  # fmt: skip
        if plan.metric is not None and plan.metric not in metrics:
            raise source.error(f"no scorer gives {plan.metric!r}.", "plan", kind, "metric",
                               fix=suggest(plan.metric, metrics))  # fmt: skip
        wanted = ["list_usd", *([plan.metric] if plan.metric else [])]
    else:
        wanted = list(objectives.names)
    for name in (*wanted, *(limited for limited in objectives.subject_to if not is_quantile(limited))):
        if name in bounded:
            continue
        raise source.error(f"{name!r} has no bounds, on which a race rests.", "plan", kind,
                           fix=f"State them, range: {{{name}: [lowest, highest]}}.")  # fmt: skip
    for name, (sign, bound) in objectives.subject_to.items():
        low, high = ranges.get(name, (0.0, 1.0 if name == "error_rate" else float("inf")))
        if bound > high if sign == ">=" else bound < low:
            raise source.error(f"no variant can keep {name} {sign} {bound:g}: it lies between {low:g} and {high:g}.",
                               "subject_to", name)  # fmt: skip
    slack = plan.epsilon if isinstance(plan, RaceSpec) else {plan.metric or "": plan.within or 0.0}
    for name, difference in slack.items():
        low, high = ranges.get(name, (0.0, float("inf")))
        if difference >= high - low:
            raise source.error(f"{name!r} lies between {low:g} and {high:g}: no difference could exceed "
                               f"{difference:g}.", "plan", kind,
                               fix="Name a difference that would matter.")  # fmt: skip


def cheapest_plan(path: Path, asked: Mapping[str, object]) -> dict[str, object]:
    """The plan that asks a spec for its cheapest variant.

    Args:
        path: The spec file or its folder.
        asked: Parts of `CheapestSpec`. Others are those of the spec's own plan, where that is `cheapest`; else the
            metric is what the spec maximises, and ranges are those that its plan declares.

    Raises:
        SpecError: Nothing says what is good enough.
    """
    spec, _, source = load_spec(path)
    plan = source.data.get("plan")
    own = next((part for part in plan.values() if isinstance(part, dict)), {}) if isinstance(plan, dict) else {}
    known = own if spec.plan.cheapest is not None else {name: own[name] for name in ("range",) if name in own}
    body = {**known, **asked}
    if "within" in body and "metric" not in body:
        if not spec.maximize:
            raise source.error("the spec maximises nothing.", "maximize",
                               fix="Say what must be good enough: --metric NAME.")  # fmt: skip
        body["metric"] = spec.maximize[0]
    if "within" not in body and not spec.subject_to:
        raise source.error("nothing says what is good enough.", "plan", fix="Add --within 0.02, or floors to the spec: "
                           'subject_to: {NAME: ">= 0.60"}.')  # fmt: skip
    return {"cheapest": body}
