"""Datasets: samples from JSONL, CSV or Parquet, checked before anything is spent."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One input.

    Attributes:
        id: Unique in its dataset.
        input: The text the answer is about.
        reference: What a good answer looks like, if known. Templates never see it.
        fields: Every column, for scorers.
        line: Where it stands in its file, counted from 1.
    """

    id: str
    input: str
    reference: str | None
    fields: Row
    line: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns play which part; the default names are used where a column of that name exists."""

    id: str = "id"
    input: str = "input"
    reference: str = "reference"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of one file.

    Attributes:
        hash: Content hash of the samples taken.
        columns: Names of all columns, in file order.
        reference_column: The column that templates must not see, if there is one.
    """

    path: Path
    samples: tuple[Sample, ...]
    columns: tuple[str, ...]
    reference_column: str | None
    language: str | None = None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        text = "\n".join(json.dumps(dict(s.fields), sort_keys=True, default=str) for s in self.samples)
        object.__setattr__(self, "hash", hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def template_variables(self) -> frozenset[str]:
        """What a prompt template may use: every column but the reference, and `input`."""
        return frozenset(self.columns) - {self.reference_column} | {"input"}

    def template_values(self, sample: Sample) -> dict[str, object]:
        """Values of `template_variables` for one sample."""
        values = {k: v for k, v in sample.fields.items() if k != self.reference_column}
        return {**values, "input": sample.input}


def load_dataset(
    path: Path,
    *,
    fields: Mapping[str, str] | None = None,
    take: int | None = None,
    seed: int = 0,
    language: str | None = None,
) -> Dataset:
    """Read a dataset.

    Args:
        path: A `.jsonl`, `.csv` or `.parquet` file.
        fields: Columns by part (`id`, `input`, `reference`), where they are not called so.
        take: Use a seeded random subset of this many samples, kept in file order.
        seed: Seed of the subset.
        language: Language of the texts, e.g. `en` or `zh`.

    Raises:
        SpecError: The file is missing, empty or broken (with the line), an id is duplicate, a named column is absent.
    """
    rows = list(_read(path))
    if not rows:
        raise SpecError("the dataset is empty.", fix="Give it at least one sample.", file=path)
    columns = tuple(dict.fromkeys(name for _, row in rows for name in row))
    parts = Fields(**dict(fields or {}))
    for part, column in (fields or {}).items():
        if column not in columns:
            raise SpecError(f"column {column!r} is not in the dataset.", fix=suggest(column, columns), file=path,
                            field=f"dataset.fields.{part}")  # fmt: skip
    reference = parts.reference if parts.reference in columns else None
    samples: list[Sample] = []
    first_line: dict[str, int] = {}
    for number, (line, row) in enumerate(rows, start=1):
        id_ = str(row.get(parts.id, number)) if parts.id in columns else str(number)
        if id_ in first_line:
            raise SpecError(f"duplicate sample id {id_!r}, first used in line {first_line[id_]}.",
                            fix="Give every sample an id of its own.", file=path, line=line)  # fmt: skip
        first_line[id_] = line
        text = row.get(reference) if reference else None
        samples.append(Sample(id_, _input(row, parts, reference), None if text in (None, "") else str(text), row, line))
    if take is not None and take < len(samples):
        chosen = sorted(random.Random(f"take/{seed}").sample(range(len(samples)), take))  # noqa: S311 - not a secret
        samples = [samples[i] for i in chosen]
    return Dataset(path, tuple(samples), columns, reference, language)


def _input(row: Row, parts: Fields, reference: str | None) -> str:
    if parts.input in row:
        return str(row[parts.input])
    return "\n".join(f"{name}: {value}" for name, value in row.items() if name not in (parts.id, reference))


def _read(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows with their line numbers."""
    if not path.is_file():
        raise SpecError("the file does not exist.", fix="Paths are relative to the spec.", file=path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix)
    if reader is None:
        raise SpecError(f"unknown dataset format {path.suffix!r}.", fix="Use .jsonl, .csv or .parquet.", file=path)
    return reader(path)


def _read_jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise SpecError(f"broken JSON: {error.msg} at column {error.colno}.", fix="One object a line.",
                                file=path, line=number) from error  # fmt: skip
            if not isinstance(row, dict):
                raise SpecError("this line is not a JSON object.", fix="One object a line.", file=path, line=number)
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, restkey="", strict=True)
        for row in reader:
            if "" in row or None in row.values():
                raise SpecError("this line has another number of fields than the header.", file=path,
                                line=reader.line_num)  # fmt: skip
            yield reader.line_num, row


def _read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pandas as pd

    frame = pd.read_parquet(path)
    frame = frame.astype(object).where(frame.notna(), None)
    for number, row in enumerate(frame.to_dict("records"), start=1):
        yield number, {str(column): value for column, value in row.items()}
