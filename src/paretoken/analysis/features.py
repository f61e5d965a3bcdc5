"""What could drive the cost of a call: choices and inputs, never tokens or prices, in which cost is an identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from paretoken.analysis.results import Results
    from paretoken.core.trials import Variant

Kind = Literal["choice", "input"]
Sample = tuple[str, "Mapping[str, object]"]
Lacking = Literal["answers", "values", "differences", "features", "samples"]
MOST_LEVELS = 20
"""Distinct values up to which a column of the data set is a tag."""
MOST_TAG_CHARS = 40
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")


class NothingToExplain(SpecError):
    """A run's numbers cannot be attributed to anything.

    Args:
        lacking: What it would take.
        problem: In one sentence.
        fix: What to do about it.
    """

    def __init__(self, lacking: Lacking, problem: str, *, fix: str = "") -> None:
        self.lacking = lacking
        super().__init__(problem, fix=fix)


@dataclass(frozen=True)
class Features:
    """Choices and inputs of calls; what does not vary is left out.

    Attributes:
        frame: One row per call, one column per feature: numbers, or texts for levels without an order.
        kinds: Whether a column is a choice of the experimenter or came with the input.
        groups: What belongs together and must not be torn apart by a cross-validation: the sample, or its cluster.
        rows: Index of each row's record in the run's table, shape `(n,)`.
        grouped_by: `samples` or `clusters`.
    """

    frame: pd.DataFrame
    kinds: Mapping[str, Kind]
    groups: NDArray[np.int64]
    rows: NDArray[np.int64]
    grouped_by: str = "samples"


def build_features(results: Results) -> Features:
    """Tabulate the choices and inputs of all answered calls, ordered by sample, variant and repeat.

    Raises:
        NothingToExplain: No call was answered.
    """
    import pandas as pd

    table = results.table
    rank = {name: np.argsort(np.argsort(ids)) for name, ids in (("s", table.sample_ids), ("v", table.variant_ids))}
    rows = np.lexsort((table.repeat, rank["v"][table.variant], rank["s"][table.sample]))
    rows = rows[~table.failed[rows]]
    if not len(rows):
        raise NothingToExplain("answers", f"{results.run.id} has no answers yet: there is nothing to explain.")
    variants = pd.DataFrame([_choices(results.variants[id_]) for id_ in table.variant_ids])
    samples = pd.DataFrame(_inputs(table.sample_ids, results.read_samples))
    clusters = [str(results.clusters.get(id_) or f"sample/{id_}") for id_ in table.sample_ids]
    groups = np.unique(clusters, return_inverse=True)[1]
    # an edit that a variant lacks is an edit not made; a parameter that it lacks is a level of its own
    for column in variants:
        if str(column).startswith("edit: "):
            variants[column] = variants[column].fillna(0.0)
    parts = [(part, index[rows]) for part, index in ((variants, table.variant), (samples, table.sample))]
    chosen, given = (_varying(part, index).iloc[index].reset_index(drop=True) for part, index in parts)
    kinds: dict[str, Kind] = {str(c): "choice" if c in chosen else "input" for c in (*chosen, *given)}
    grouped_by = "clusters" if any(results.clusters.values()) else "samples"
    return Features(pd.concat([chosen, given], axis=1), kinds, groups[table.sample[rows]], rows, grouped_by)


def _varying(part: pd.DataFrame, index: NDArray[np.int64]) -> pd.DataFrame:
    """The columns that have several values in the rows that occur."""
    met = part.iloc[np.unique(index)]
    return part[[column for column in part if met[column].nunique(dropna=False) > 1]]


def log_features(rows: pd.DataFrame, choices: Sequence[str], tags: Sequence[str]) -> Features:
    """Tabulate the choices and inputs of calls of a log.

    Args:
        rows: One a call, with the columns of choices and tags, and where there are such `sample`, `input`,
            `input_chars`. Calls of one `sample` belong together.
        choices: Columns that are choices.
        tags: Columns that are tags, of which those with few and short values are taken.
    """
    import pandas as pd

    columns: dict[str, object] = {name: _ordered(rows[name]) for name in choices}
    for name in tags:
        levels = _levels(rows[name])
        if len(set(levels)) <= MOST_LEVELS and max(map(len, levels)) <= MOST_TAG_CHARS:
            columns[f"tag: {name}"] = levels
    if "input_chars" in rows:
        columns["input length"] = _ordered(rows["input_chars"])
    if "input" in rows:
        columns["language"] = [language_of(text) for text in _levels(rows["input"])]
    frame = pd.DataFrame(columns, index=range(len(rows)))
    varying = [str(column) for column in frame if frame[column].nunique(dropna=False) > 1]
    kinds: dict[str, Kind] = {name: "choice" if name in choices else "input" for name in varying}
    own = np.arange(len(rows))
    known = rows["sample"].notna().to_numpy(np.bool_) if "sample" in rows else np.zeros(len(rows), np.bool_)
    groups = own + len(rows)
    groups[known] = np.unique(_levels(rows["sample"][known]), return_inverse=True)[1] if known.any() else 0
    return Features(frame[varying], kinds, groups, own)


def _ordered(values: pd.Series[Any]) -> object:
    """Numbers as they are, all else as levels."""
    return values.to_numpy(np.float64, na_value=np.nan) if values.dtype.kind in "iuf" else _levels(values)


def _levels(values: pd.Series[Any]) -> list[str]:
    return ["(none)" if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]


def _choices(variant: Variant) -> dict[str, object]:
    params = dict(variant.params)
    edits = str(params.pop("edits", "none"))
    flags = {f"edit: {edit}": 1.0 for edit in edits.split("+") if edit != "none"}
    return {"prompt": variant.prompt, "model": variant.model, **flags, **params}


def _inputs(ids: Sequence[str], read_samples: Callable[[], Iterable[Sample]]) -> dict[str, list[object]]:
    """What samples are like, by column, in the order of ids; texts are read and forgotten one by one."""
    place = {id_: i for i, id_ in enumerate(ids)}
    tags = tags_of((body for id_, body in read_samples() if id_ in place), len(place))
    columns: dict[str, list[object]] = {}
    for id_, body in read_samples():
        if id_ not in place:
            continue
        fields = cast("Mapping[str, object]", body.get("fields") or {})
        text = body.get("input")
        told = {} if text is None else {"input length": float(len(str(text))), "language": language_of(str(text))}
        for name, value in (told | {f"tag: {tag}": level_of(fields.get(tag)) for tag in tags}).items():
            columns.setdefault(name, [None] * len(ids))[place[id_]] = value
    return columns


def tags_of(bodies: Iterable[Mapping[str, object]], n: int) -> list[str]:
    """Columns of the data set with few, short values, each of them of several samples.

    Args:
        bodies: Of samples.
        n: How many samples there are, those without a body included.
    """
    counts: dict[str, int] = {}
    levels: dict[str, set[str]] = {}
    for body in bodies:
        texts = {str(body.get(name)) for name in ("input", "reference")}
        for name, value in cast("Mapping[str, object]", body.get("fields") or {}).items():
            if isinstance(value, (str, bool)) and str(value) not in texts:
                counts[name] = counts.get(name, 0) + 1
                known = levels.setdefault(name, set())
                if len(known) <= MOST_LEVELS:
                    known.add(str(value)[: MOST_TAG_CHARS + 1])
    return [
        name
        for name, known in levels.items()
        if 2 * counts[name] > n
        and 1 < len(known) <= min(MOST_LEVELS, counts[name] // 2)
        and max(map(len, known)) <= MOST_TAG_CHARS
    ]


def level_of(value: object) -> str:
    """A tag's value as text; samples without one are a level of their own."""
    return "(none)" if value is None else str(value)


def language_of(text: str) -> str:
    """`cjk`, `latin` for every alphabet, or `mixed`, by the share of Chinese, Japanese and Korean characters."""
    letters = len(_LETTER.findall(text))
    share = len(_CJK.findall(text)) / letters if letters else 0.0
    return "cjk" if share > 0.8 else "mixed" if share > 0.2 else "latin"
