"""From a spec file to a design: every name bound, every file read, every complaint made before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.objectives import LATENCY_QUANTILES, Objectives, is_quantile, split_quantile
from paretoken.core.calls import NUMBERS
from paretoken.core.errors import PriceError, SpecError
from paretoken.core.protocols import ProviderConfig, Scorer
from paretoken.core.registry import load, registered, suggest
from paretoken.core.trials import Variant, label_variants
from paretoken.core.usage import ZERO
from paretoken.datasets import Dataset, load_dataset
from paretoken.experiment.archive import find_root
from paretoken.experiment.budgets import load_caps
from paretoken.experiment.design import Design
from paretoken.experiment.model_design import ModelDesign
from paretoken.experiment.names import check_names
from paretoken.experiment.own_temperature import fit_temperature
from paretoken.experiment.resolve_judges import check_judges, judge_entries, judging
from paretoken.experiment.resolve_race import QUANTILE, enumerate_space, raced, resolve_race
from paretoken.experiment.resolve_scorers import check_columns, check_comparing, resolve_scorers
from paretoken.experiment.resolve_segments import leave_out, segments_plan
from paretoken.experiment.space import Interval, Space, parse_space
from paretoken.experiment.spec import MAX_TOKENS, MAX_USD, AbTestSpec, ModelSpec, ReplaySpec, Spec, load_spec
from paretoken.pricing import PriceBook, free, parse_price
from paretoken.prompts import load_prompts
from paretoken.prompts.edits import n_examples, parse_edits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoken.core.calls import Scalar
    from paretoken.core.protocols import Clock
    from paretoken.core.usage import Price
    from paretoken.experiment.source import Source


def load_design(
    path: Path,
    clock: Clock,
    *,
    limit: int | None = None,
    aa: bool = False,
    instead: Mapping[str, object] | None = None,
) -> Design:
    """Resolve a spec.

    Args:
        path: The spec file or its folder.
        clock: Dates the price rows.
        limit: Use at most this many samples.
        aa: Test the A/B test: make its two arms alike.
        instead: A plan to take in place of the spec's.

    Raises:
        SpecError: Anything in it cannot be used; nothing was spent.
        PriceError: A model has no price.
    """
    spec, entries, source = load_spec(path, instead)
    folder = source.path.resolve().parent
    take = min((n for n in (spec.dataset.take, limit) if n is not None), default=None)
    prompts = {prompt.id: prompt for prompt in load_prompts(folder / path for path in spec.prompts)}
    dataset = load_dataset(
        folder / spec.dataset.path,
        fields=cast("dict[str, str | None]", spec.dataset.fields),
        take=take,
        seed=spec.seed,
        language=spec.dataset.language,
        named=frozenset[str]().union(*(prompt.variables for prompt in prompts.values())),
    )
    for prompt in prompts.values():
        prompt.check(dataset.template_variables)
    left_out = None if spec.plan.segments is None else leave_out(spec.plan.segments, prompts, dataset, source)
    prompts = prompts if left_out is None else left_out.prompts
    for name in spec.track:
        if name not in (known := registered("paretoken.trackers")):
            raise source.error(f"unknown tracker {name!r}.", "track", name, fix=suggest(name, known))
    scorers = resolve_scorers(spec, dataset, source)
    models = _models([(("models", i), entry) for i, entry in enumerate(entries)], folder, source, clock)
    judges = _models(judge_entries(scorers, models, source), folder, source, clock)
    judges |= {scorer.model: models[scorer.model] for scorer in judging(scorers).values() if scorer.model in models}
    check_columns(spec, scorers, entries, dataset, folder, source)
    check_judges(scorers, judges, entries, dataset, spec, folder, source)
    own = {entry.id: entry.params for entry in entries if isinstance(entry, ModelSpec) and entry.params}
    space = parse_space(spec.space, list(prompts), list(models), source, own)
    space, cautions = fit_temperature(space, models, source)
    _check_bound(space, models, source)
    check_names(spec, scorers, prompts, source)
    objectives, dropped = _objectives(spec, scorers, models, source)
    if raced(spec) is not None:
        plan, tried = resolve_race(spec, space, objectives, scorers, dataset, source)
    else:
        tried, test = enumerate_space(space, source), spec.plan.abtest
        if left_out is None:
            plan, tried = _plan(spec, tried, source)
        else:
            test, plan = segments_plan(left_out, tried, models, source)
        if test is not None:
            _check_test(test, "abtest" if left_out is None else "segments", objectives, scorers, dataset, source)
    check_comparing(scorers, tried, plan, spec, source)
    if aa:
        plan, tried = _make_alike(plan, tried, models, spec.seed, source)
    _check_edits(space.choices("edits"), dataset, models, source)
    root = find_root(folder)
    caps = load_caps(root, spec.experiment, spec.tags)
    design = Design(
        source.path, root, spec, dataset, prompts, models, scorers, tuple(tried), plan, objectives, dropped, caps,
        space, judges, cautions,
    )  # fmt: skip
    for prompt in prompts.values():
        prompt.render(dataset.template_values(dataset.samples[0]))
    return design


def _check_bound(space: Space, models: Mapping[str, ModelDesign], source: Source) -> None:
    """The longest answer costs no more than the ledger can hold."""
    d = next((d for d in space.dimensions if d.name == "max_tokens"), None)
    most = MAX_TOKENS if d is None else d.values.high if isinstance(d.values, Interval) else max(map(int, d.values))  # type: ignore[arg-type]
    for id_, model in models.items():
        if model.price.bound(input_tokens=0, output_tokens=int(most), compute_s=ZERO) > MAX_USD:
            raise source.error(f"an answer of {id_!r} with {most} tokens could cost more than ${MAX_USD:,}.", "space",
                               "max_tokens", fix="Lower max_tokens, or correct the price.")  # fmt: skip


def _check_edits(edits: Sequence[Scalar], dataset: Dataset, models: Mapping[str, ModelDesign], source: Source) -> None:
    asked = [parse_edits(str(text)) for text in edits]
    recorded = next((id_ for id_, model in models.items() if model.provider.recorded), None)
    if any(asked) and recorded is not None:
        raise source.error(f"answers of {recorded!r} are recorded: editing the prompt cannot change them.", "space",
                           "edits", fix="Leave edits out, or ask a model that answers.")  # fmt: skip
    wanted = max((n_examples(chain) for chain in asked), default=0)
    known = sum(sample.reference is not None for sample in dataset.samples)
    if wanted >= known and wanted:
        raise source.error(f"few_shot={wanted} needs {wanted + 1} samples with a reference; the dataset has {known}.",
                           "space", "edits", fix="Name the column: dataset: {fields: {reference: COLUMN}}, or ask for "
                           "fewer.")  # fmt: skip


def _models(
    entries: Sequence[tuple[tuple[str | int, ...], ModelSpec | ReplaySpec]], folder: Path, source: Source, clock: Clock
) -> dict[str, ModelDesign]:
    """Models by id, of entries with their place in the file."""
    models: dict[str, ModelDesign] = {}
    for place, entry in entries:
        try:
            configs = _configs(entry, folder)
        except SpecError as error:
            raise source.error(error.problem, *place, error.field or "replay", fix=error.fix) from error
        for config, price_spec in configs:
            if config.id in models:
                raise source.error(f"model {config.id!r} is listed twice.", *place)
            if price_spec is None and config.base_url:
                raise source.error(f"{config.id!r} at an endpoint of your own has no known price.", *place,
                                   "base_url", fix='State it: price: {input_per_mtok: "...", output_per_mtok: "..."}, '
                                   "or price: free.")  # fmt: skip
            price = _price(config.id, price_spec, source, clock, *place)
            try:
                provider = load("paretoken.models", config.id.partition("/")[0])(config, clock)
            except SpecError as error:
                field = error.field.split(".")[-1] or "id"
                where = "model" if field == "id" and place[0] == "scorers" else field  # as a judge calls it
                raise source.error(error.problem, *place, where, fix=error.fix) from error
            models[config.id] = ModelDesign(provider, price, price_spec is not None, entry, config.base_url)
    return models


def _configs(entry: ModelSpec | ReplaySpec, folder: Path) -> list[tuple[ProviderConfig, Any]]:
    """Provider configurations of one entry of `models`, each with what the spec says of its price."""
    if isinstance(entry, ModelSpec):
        config = ProviderConfig(
            id=entry.id,
            name=entry.id.partition("/")[2],
            base_url=entry.base_url,
            api_key_env=entry.api_key_env,
            timeout_s=entry.timeout_s,
            options=entry.model_extra or {},
            root=folder,
        )
        return [(config, entry.price)]
    from paretoken.models.replay import replay_values

    file = folder / entry.replay
    recorded = replay_values(file, entry.by)
    values = recorded if entry.only is None else entry.only
    for name, where in [(v, "only") for v in values] + [(p, "prices") for p in entry.prices]:
        if name not in recorded:
            raise SpecError(f"{name!r} is not recorded in {entry.replay}.", fix=suggest(name, recorded), field=where)
    usage = entry.usage if isinstance(entry.usage, str) else tuple(entry.usage)
    options = {"file": entry.replay, "by": entry.by, "key": entry.key, "output": entry.output, "usage": usage,
               "latency": entry.latency}  # fmt: skip
    return [
        (
            ProviderConfig(id=f"replay/{value}", name=value, options={**options, "value": value}, root=folder),
            entry.prices.get(value),
        )
        for value in values
    ]


def _price(model: str, stated: Any, source: Source, clock: Clock, *location: str | int) -> Price:
    """The price the spec states, or the price book's."""
    try:
        if stated == "free":
            return free(f"spec:{model}")
        if stated is not None:
            return parse_price(stated, row=f"spec:{model}")
        return PriceBook().price(model, clock.now())
    except SpecError as error:
        field = error.field.removeprefix("price").lstrip(".")
        raise source.error(error.problem, *location, "price", *([field] if field else []), fix=error.fix) from error
    except PriceError as error:
        raise source.error(str(error), *location) from error


def _plan(spec: Spec, variants: list[Variant], source: Source) -> tuple[dict[str, Any], list[Variant]]:
    """The plan with variant ids for labels, and the variants it tries."""
    if spec.plan.abtest is None:
        return {"kind": "grid"}, variants
    test = spec.plan.abtest
    labels = label_variants(variants)

    def find(reference: str, *location: str | int) -> str:
        meant = [id_ for id_, label in labels.items() if reference in (id_, label)]
        if len(meant) != 1:
            raise source.error(f"no variant is called {reference!r}.", "plan", "abtest", *location,
                               fix=suggest(reference, labels.values()))  # fmt: skip
        return meant[0]

    control = find(test.control, "control")
    treatment = [find(reference, "treatment", i) for i, reference in enumerate(test.treatment)]
    if control in treatment:
        raise source.error("the control is also a treatment.", "plan", "abtest", "treatment",
                           treatment.index(control))  # fmt: skip
    if len(set(treatment)) < len(treatment):
        raise source.error("a treatment is listed twice.", "plan", "abtest", "treatment")
    plan = {"kind": "abtest", **test.model_dump(), "control": control, "treatment": treatment}
    return plan, [variant for variant in variants if variant.id in (control, *treatment)]


def _check_test(
    test: AbTestSpec, kind: str, objectives: Objectives, scorers: tuple[Scorer, ...], dataset: Dataset, source: Source
) -> None:
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    judged = (*metrics, *NUMBERS, *(f"latency_s.{q}" for q in LATENCY_QUANTILES))
    for name in test.margin:
        if name not in judged:
            raise source.error(f"{name!r} is measured by nothing here.", "plan", kind, "margin", name,
                               fix=suggest(name, judged))  # fmt: skip
    for name in test.range:
        if name not in (*metrics, *NUMBERS):
            raise source.error(f"{name!r} is measured by nothing here.", "plan", kind, "range", name,
                               fix=suggest(name, (*metrics, *NUMBERS)))  # fmt: skip
    for i, column in enumerate(test.segments):
        if column not in dataset.columns:
            raise source.error(f"the dataset has no column {column!r}.", "plan", kind, "segments", i,
                               fix=suggest(column, dataset.columns))  # fmt: skip
    ranges = {name: ends for scorer in scorers for name, ends in scorer.ranges.items()} | test.range
    for name, margin in test.margin.items():
        if name in ranges and margin >= ranges[name][1] - ranges[name][0]:
            low, high = ranges[name]
            raise source.error(f"{name!r} lies between {low:g} and {high:g}: no loss could exceed {margin:g}.", "plan",
                               kind, "margin", name, fix="Name a loss that would matter.")  # fmt: skip
    asked = [*([m for m in objectives.maximize if m in metrics] or metrics), *test.margin]
    backwards = [name for name in asked if name in metrics and name in objectives.minimize]
    if backwards:
        raise source.error(f"an A/B test takes more of a metric for better, and {backwards[0]!r} is minimised.",
                           "minimize", fix="Score it the other way round, and maximise it.")  # fmt: skip
    unbounded = [name for name in asked if name in metrics and name not in ranges]
    if test.mode == "continuous" and test.sequence == "betting" and unbounded:
        raise source.error(f"{unbounded[0]!r} has no bounds, on which a test that may stop at any time rests.", "plan",
                           kind, "mode", fix=f"State them, range: {{{unbounded[0]}: [0, 1]}}, or say sequence: "
                           "asymptotic.")  # fmt: skip
    if not (test.confirm or test.sequence == "asymptotic"):
        return
    from paretoken.analysis.difference import MIN_PAIRS  # with numpy, which other specs do not need yet
    from paretoken.analysis.sequences import BURN_IN

    n_units = len(set((dataset.clusters or {s.id: s.id for s in dataset.samples}).values()))
    if test.mode == "continuous" and test.sequence == "asymptotic" and n_units < BURN_IN:
        raise source.error(f"an asymptotic sequence says nothing before {BURN_IN} samples, and {n_units} are planned.",
                           "plan", kind, "sequence", fix="Take more samples, or say mode: fixed.")  # fmt: skip
    held_out = n_units - round((1 - (test.confirm or 0)) * n_units)
    if test.confirm and min(held_out, n_units - held_out) < MIN_PAIRS:
        raise source.error(f"of {n_units} samples this leaves {n_units - held_out} to select a winner and {held_out} "
                           "to confirm it.", "plan", kind, "confirm",
                           fix=f"Both need at least {MIN_PAIRS}.")  # fmt: skip


def _make_alike(
    plan: dict[str, Any], variants: list[Variant], models: Mapping[str, ModelDesign], seed: int, source: Source
) -> tuple[dict[str, Any], list[Variant]]:
    """An A/A test: two copies of the control, or, where a copy would answer the same, arms swapped at random."""
    if plan["kind"] != "abtest":
        raise source.error("only an A/B test can be checked by an A/A test.", "plan", fix="Run it without --aa.")
    plan = {**plan, "confirm": None, "segments": []}
    control = next(v for v in variants if v.id == plan["control"])
    if models[control.model].provider.recorded or not dict(control.params).get("temperature", 0.0):
        return {**plan, "aa": "relabelled", "relabel": seed}, variants
    copies = [replace(control, copy=k) for k in (1, 2)]
    return {**plan, "aa": "copies", "control": copies[0].id, "treatment": [copies[1].id]}, copies


def _objectives(
    spec: Spec, scorers: tuple[Scorer, ...], models: Mapping[str, ModelDesign], source: Source
) -> tuple[Objectives, dict[str, str]]:
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    known = [*NUMBERS, *(f"latency_s.{q}" for q in LATENCY_QUANTILES), "error_rate", *metrics]
    for part, names in (("minimize", spec.minimize), ("maximize", spec.maximize), ("subject_to", spec.subject_to)):
        for i, name in enumerate(names):
            if name not in known:
                where = name if part == "subject_to" else i
                raise source.error(f"{name!r} is measured by nothing here.", part, where, fix=suggest(name, known))
    if not (spec.minimize or spec.maximize):
        raise source.error("there is no objective.", "minimize", fix="Name at least one, e.g. list_usd.")
    timeless = all(isinstance(m.entry, ReplaySpec) and m.entry.latency == "none" for m in models.values())
    reason = "the recorded answers have no latency (`latency: none`)"
    timed = [name for name in (*spec.minimize, *spec.subject_to) if split_quantile(name)[0] == "latency_s"]
    dropped = dict.fromkeys(timed, reason) if timeless else {}
    plan = raced(spec)
    if plan is not None and getattr(plan, "race", True):
        quantiles = [n for n in (*spec.minimize, *spec.maximize) if is_quantile(n)]
        dropped |= {name: QUANTILE for name in quantiles if name not in dropped}
    limits = {n: (sign, float(x)) for n, (sign, x) in spec.limits().items() if dropped.get(n) != reason}
    minimize, maximize = (tuple(n for n in names if n not in dropped) for names in (spec.minimize, spec.maximize))
    if not (minimize or maximize):
        raise source.error(f"no objective is left: {next(iter(dropped.values()))}.", "minimize",
                           fix="Name another, e.g. list_usd.")  # fmt: skip
    return Objectives(minimize, maximize, limits), dropped
