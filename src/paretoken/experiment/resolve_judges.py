"""From the judges of a spec to the models that they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import Judging
from paretoken.core.registry import suggest
from paretoken.experiment.spec import ModelSpec, ReplaySpec, complaint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from paretoken.core.protocols import Scorer
    from paretoken.datasets import Dataset
    from paretoken.experiment.model_design import ModelDesign
    from paretoken.experiment.source import Source
    from paretoken.experiment.spec import Spec


def judging(scorers: Iterable[Scorer]) -> dict[int, Judging]:
    """The scorers that ask a model, by their place in the spec."""
    return {i: scorer for i, scorer in enumerate(scorers) if isinstance(scorer, Judging)}


def judge_entries(
    scorers: Iterable[Scorer], models: Mapping[str, ModelDesign], source: Source
) -> list[tuple[tuple[str | int, ...], ModelSpec]]:
    """Models that judges ask and that `models` does not list, each once, with their place in the file.

    Raises:
        SpecError: What a judge says of its model cannot be used, or contradicts what is said elsewhere.
    """
    found: dict[str, tuple[tuple[str | int, ...], ModelSpec]] = {}
    for i, judge in sorted(judging(scorers).items(), key=lambda item: not item[1].options):
        place: tuple[str | int, ...] = ("scorers", i, judge.name)
        given: dict[str, Any] = {**judge.options, "id": judge.model}
        try:
            entry = ModelSpec.model_validate(given)
        except ValidationError as error:
            raise complaint(source, error, *place) from error
        known = models[judge.model].entry if judge.model in models else found.get(judge.model, (place, entry))[1]
        if judge.options and known != entry:
            where = "`models`" if judge.model in models else "another judge"
            raise source.error(f"{judge.model!r} is set up by {where} already, in another way.", *place, "model",
                               fix="Say once what it costs and how it is reached.")  # fmt: skip
        if judge.model not in models:
            found.setdefault(judge.model, (place, entry))
    return list(found.values())


def check_judges(
    scorers: Sequence[Scorer],
    judges: Mapping[str, ModelDesign],
    entries: Sequence[ModelSpec | ReplaySpec],
    dataset: Dataset,
    spec: Spec,
    folder: Path,
    source: Source,
) -> None:
    """A judge must be able to answer, find its columns, and not be told what people said.

    Raises:
        SpecError: It cannot judge as the spec says.
    """
    from paretoken.models.replay import replay_columns

    files = [folder / entry.replay for entry in entries if isinstance(entry, ReplaySpec)]
    known = [*dataset.columns, *(column for file in files for column in replay_columns(file))]
    for i, judge in judging(scorers).items():
        if judges[judge.model].provider.recorded:
            raise source.error(f"answers of {judge.model!r} are recorded, so it cannot judge.", "scorers", i)
        if not dataset.shown:
            raise source.error("no column is the input, which a judge is shown.", "scorers", i,
                               fix="Name it: dataset: {fields: {input: COLUMN}}.")  # fmt: skip
        for column in judge.columns:
            if column not in known:
                raise source.error(f"no column {column!r} is recorded.", "scorers", i,
                                   fix=suggest(column, dict.fromkeys(known)))  # fmt: skip
            if dataset.input_column is None and column in dataset.shown:
                raise source.error(f"the judge would be shown column {column!r}: without a column of its own the "
                                   "input is made of those that templates name.", "dataset", "fields",
                                   fix="Name it: dataset: {fields: {input: COLUMN}}.")  # fmt: skip
        for sample in dataset.samples:
            try:
                judge.check(sample.fields)
            except ScoreError as error:
                raise SpecError(f"sample {sample.id!r}: {error}.", fix="Correct it, or the judge's scale.",
                                file=dataset.path, line=sample.line) from error  # fmt: skip
