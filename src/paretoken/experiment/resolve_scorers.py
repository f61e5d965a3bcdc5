"""From the scorers of a spec to objects that score."""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.calls import NUMBERS
from paretoken.core.errors import SpecError
from paretoken.core.protocols import Comparing
from paretoken.core.registry import load, suggest
from paretoken.experiment.spec import ReplaySpec
from paretoken.scoring.function import is_metric, load_metric, make_scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from paretoken.core.protocols import Scorer
    from paretoken.core.trials import Variant
    from paretoken.datasets import Dataset
    from paretoken.experiment.source import Source
    from paretoken.experiment.spec import ModelSpec, Spec


def resolve_scorers(spec: Spec, dataset: Dataset, source: Source) -> tuple[Scorer, ...]:
    """The scorers of a spec, in its order.

    Raises:
        SpecError: One is unknown, cannot be made as written, or has nothing to compare with.
    """
    told = {
        "language": dataset.language,
        "references": tuple(t for s in dataset.samples for t in (s.reference, *s.further_references) if t is not None),
        "folder": source.path.resolve().parent,
        "on_disk": spec.store.content == "full",
    }
    scorers: list[Scorer] = []
    seen: dict[str, str] = {}
    for i, entry in _with_facts(spec.scorers):
        if not entry:
            raise source.error("this scorer has no name.", "scorers", i)
        try:
            scorer = _scorer(entry, told)
        except SpecError as error:
            raise source.error(error.problem, "scorers", i, fix=error.fix) from error
        if scorer.needs_reference:
            lacking = next((sample for sample in dataset.samples if sample.reference is None), None)
            if dataset.reference_column is None:
                raise source.error(f"{scorer.name!r} compares with references, and the dataset has none.", "scorers", i,
                                   fix="Name their column: dataset: {fields: {reference: COLUMN}}.")  # fmt: skip
            if lacking is not None:
                raise SpecError(f"sample {lacking.id!r} has no reference, which {scorer.name!r} needs.",
                                file=dataset.path, line=lacking.line)  # fmt: skip
        for metric in scorer.metrics:
            if metric in (*NUMBERS, "error_rate"):
                raise source.error(f"{metric!r} is a number that every answer has.", "scorers", i,
                                   fix="Call the metric something else.")  # fmt: skip
            if metric in seen:
                raise source.error(f"two scorers give the metric {metric!r}.", "scorers", i)
            seen[metric] = scorer.name
        scorers.append(scorer)
    return tuple(scorers)


def places_of_scorers(entries: Sequence[str | dict[str, Any]]) -> list[int]:
    """For every scorer that `resolve_scorers` makes, the place of its entry in the spec."""
    return [i for i, _ in _with_facts(entries)]


def _with_facts(entries: Sequence[str | dict[str, Any]]) -> list[tuple[int, str | dict[str, Any]]]:
    """The entries with their places in the spec, and `facts` beside BERTScore, which is blind to what they see.

    `{bertscore: {facts: false}}` leaves it out.
    """
    names = {entry if isinstance(entry, str) else next(iter(entry), "") for entry in entries}
    found: list[tuple[int, str | dict[str, Any]]] = []
    for i, entry in enumerate(entries):
        name, *_ = (entry,) if isinstance(entry, str) else (*entry, "")
        options = entry.get(name) if isinstance(entry, dict) else None
        wanted = name == "bertscore" and not names & {"facts", "quality"}
        if name == "bertscore" and isinstance(options, dict) and isinstance(options.get("facts"), bool):
            wanted = wanted and options["facts"]
            entry = {name: {key: value for key, value in options.items() if key != "facts"}}
        found += [(i, entry), *([(i, "facts")] if wanted else [])]
    return found


def _scorer(entry: str | dict[str, Any], told: Mapping[str, Any]) -> Scorer:
    """`name`, `{name: argument}`, `{name: {keyword: value}}` or `{name: argument, keyword: value}`.

    Args:
        entry: As the spec has it.
        told: What scorers that take it are told of the experiment.
    """
    given: dict[str, Any] = {entry: None} if isinstance(entry, str) else entry
    (name, argument), *rest = given.items()
    keywords: dict[str, Any] = dict(rest)
    if re.search(r"\.py:\w+$", name):
        return load_metric(name, told["folder"], told, **_by_name(name, argument, keywords))
    factory = load("paretoken.scorers", name)
    if is_metric(factory):
        return make_scorer(factory, _by_name(name, argument, keywords))
    accepted = inspect.signature(factory).parameters
    if isinstance(argument, dict) and (not argument or set(argument) & set(accepted)):
        keywords = {**argument, **keywords}
        argument = None
    elif isinstance(argument, dict) and all(near := [_near(key, accepted) for key in argument]):
        raise SpecError(f"scorer {name!r} has no option {next(iter(argument))!r}.", fix=f"Did you mean {near[0]!r}?")
    keywords = {**{name: value for name, value in told.items() if name in accepted}, **keywords}
    positional = [] if argument is None else [argument]
    try:
        inspect.signature(factory).bind(*positional, **keywords)
    except TypeError as error:
        takes = ", ".join(p for p in accepted if p not in told)
        fix = f"It takes: {takes}." if takes else "It takes no arguments."
        raise SpecError(f"scorer {name!r}: {error}.", fix=fix) from error
    return cast("Scorer", factory(*positional, **keywords))


def _near(key: str, accepted: Iterable[str]) -> str:
    """The option that a key may mean; empty for none, and for a key that cannot be an option, as $schema."""
    return next(iter(get_close_matches(key, accepted, n=1)), "") if key.isidentifier() else ""


def _by_name(name: str, argument: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an own metric, which takes them by name only."""
    if not isinstance(argument, dict | None):
        raise SpecError(f"metric {name!r} is given {argument!r} without a name.",
                        fix=f"Say what it is: {{{name}: {{ARGUMENT: {argument!r}}}}}.")  # fmt: skip
    return {**{str(key): value for key, value in (argument or {}).items()}, **keywords}


def check_comparing(
    scorers: Sequence[Scorer], variants: Sequence[Variant], plan: Mapping[str, Any], spec: Spec, source: Source
) -> None:
    """A scorer that compares models needs several, their texts, and a plan that waits for the end."""
    for i, scorer in enumerate(scorers):
        if not isinstance(scorer, Comparing):
            continue
        n_models = len({variant.model for variant in variants})
        if n_models < 3:
            raise source.error(f"{scorer.name!r} compares models, and {n_models} would agree with each other alike.",
                               "scorers", i, fix="Ask three models or more.")  # fmt: skip
        if spec.store.content != "full":
            raise source.error(f"{scorer.name!r} compares answers at the end, and they are not kept.", "scorers", i,
                               fix="Say store: {content: full}.")  # fmt: skip
        if plan["kind"] not in ("grid", "abtest") or plan.get("mode") == "continuous" or plan.get("confirm"):
            raise source.error(f"{scorer.name!r} scores at the end, and this plan decides by scores as they come.",
                               "scorers", i, fix="Use plan: grid, or an A/B test of fixed size.")  # fmt: skip


def check_columns(
    spec: Spec,
    scorers: tuple[Scorer, ...],
    entries: Sequence[ModelSpec | ReplaySpec],
    dataset: Dataset,
    folder: Path,
    source: Source,
) -> None:
    """What scorers read must stand in a column of the dataset or, if all answers are recorded, beside them."""
    from paretoken.models.replay import replay_columns

    places = places_of_scorers(spec.scorers)

    files = [folder / entry.replay for entry in entries if isinstance(entry, ReplaySpec)]
    known = [*dataset.columns, *(column for file in files for column in replay_columns(file))]
    for i, scorer in zip(places, scorers, strict=True):
        for column in scorer.metrics if scorer.name == "column" else getattr(scorer, "reads", ()):
            if column not in known:
                raise source.error(f"no column {column!r} is recorded.", "scorers", i,
                                   fix=suggest(column, dict.fromkeys(known)))  # fmt: skip
