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
        cluster: What it has in common with others, e.g. the document that it is a question about; None stands alone.
        further_references: Other good answers, where its reference column holds a list.
    """

    id: str
    input: str
    reference: str | None
    fields: Row
    line: int = 0
    cluster: str | None = None
    further_references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns play which part; the default names are used where a column of that name exists."""

    id: str = "id"
    input: str = "input"
    reference: str = "reference"
    cluster: str = "cluster"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of one file.

    Attributes:
        hash: Content hash of the samples taken and of the parts their columns play.
        columns: Names of all columns, in file order.
        reference_column: The column that templates must not see, if there is one.
        input_column: The column that is the input; None where all columns together are.
    """

    path: Path
    samples: tuple[Sample, ...]
    columns: tuple[str, ...]
    reference_column: str | None
    language: str | None = None
    input_column: str | None = None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        parts = (
            [s.id, s.input, s.reference, dict(s.fields), *([] if s.cluster is None else [s.cluster])]
            for s in self.samples
        )
        encode, total = json.JSONEncoder(sort_keys=True, default=str).encode, hashlib.sha256()
        for i, part in enumerate(parts):
            total.update((f"\n{encode(part)}" if i else encode(part)).encode())
        object.__setattr__(self, "hash", total.hexdigest()[:16])

    @property
    def clusters(self) -> dict[str, str] | None:
        """Cluster by sample id; None where no sample names one."""
        if all(sample.cluster is None for sample in self.samples):
            return None
        return {s.id: f"sample/{s.id}" if s.cluster is None else s.cluster for s in self.samples}

    @property
    def template_variables(self) -> frozenset[str]:
        """What a prompt template may use: every column but the reference, and `input`."""
        return frozenset(self.columns) - {self.reference_column} | {"input"}

    @property
    def input_variables(self) -> frozenset[str]:
        """Variables that stand for a sample's input, or a part of it."""
        return self.template_variables if self.input_column is None else frozenset({"input", self.input_column})

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
        fields: Columns by part (`id`, `input`, `reference`, `cluster`), where they are not called so.
        take: Use a seeded random subset of this many samples, kept in file order.
        seed: Seed of the subset.
        language: Language of the texts, e.g. `en` or `zh`.

    Raises:
        SpecError: The file is missing, empty or broken (with the line), an id is duplicate, a named column is absent,
            a sample has no id or input.
    """
    if take is not None and take < 1:
        raise SpecError(f"{take} samples are too few.", fix="Take at least one.", file=path)
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
        id_ = _required(row, parts.id, path, line) if parts.id in columns else str(number)
        if id_ in first_line:
            raise SpecError(f"duplicate sample id {id_!r}, first used in line {first_line[id_]}.",
                            fix="Give every sample an id of its own.", file=path, line=line)  # fmt: skip
        first_line[id_] = line
        texts = _texts(row.get(reference) if reference else None)
        input_ = (
            _required(row, parts.input, path, line) if parts.input in columns else _joined(row, parts.id, reference)
        )
        group = row.get(parts.cluster)
        samples.append(
            Sample(
                id_, input_, texts[0] if texts else None, row, line, None if group in (None, "") else str(group),
                texts[1:],
            )
        )  # fmt: skip
    if take is not None and take < len(samples):
        chosen = sorted(random.Random(f"take/{seed}").sample(range(len(samples)), take))  # noqa: S311 - not a secret
        samples = [samples[i] for i in chosen]
    return Dataset(path, tuple(samples), columns, reference, language, parts.input if parts.input in columns else None)


def _required(row: Row, column: str, path: Path, line: int) -> str:
    value = row.get(column)
    if value is None:
        raise SpecError(f"this sample has no {column!r}.", fix="Give it one, or take the sample out.", file=path,
                        line=line)  # fmt: skip
    return str(value)


def _texts(value: object) -> tuple[str, ...]:
    """References in a cell: one, or a list of them."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(text) for text in values if text not in (None, ""))


def _joined(row: Row, *left_out: str | None) -> str:
    return "\n".join(f"{name}: {value}" for name, value in row.items() if name not in left_out and value is not None)


def _read(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows with their line numbers."""
    if not path.is_file():
        raise SpecError("the file does not exist.", fix="Paths are relative to the spec.", file=path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix)
    if reader is None:
        raise SpecError(f"unknown dataset format {path.suffix!r}.", fix="Use .jsonl, .csv or .parquet.", file=path)
    return reader(path)


def _lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SpecError("this line is not UTF-8 text.", fix="Save the file as UTF-8.", file=path,
                            line=number) from error  # fmt: skip


def _read_jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=lambda name: None if name == "NaN" else float(name))
        except json.JSONDecodeError as error:
            raise SpecError(f"broken JSON: {error.msg} at column {error.colno}.", fix="One object a line.",
                            file=path, line=number) from error  # fmt: skip
        if not isinstance(row, dict):
            raise SpecError("this line is not a JSON object.", fix="One object a line.", file=path, line=number)
        yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        names = reader.fieldnames or ()
        if len(set(names)) < len(names):
            raise SpecError("two columns have one name.", fix="Rename one of them.", file=path, line=1)
        for row in reader:
            if None in row or None in row.values():
                raise SpecError("this line has another number of fields than the header.", file=path,
                                line=reader.line_num)  # fmt: skip
            yield reader.line_num, row
    except csv.Error as error:
        raise SpecError(f"broken CSV in the row that begins here: {error}.", file=path,
                        line=reader.line_num + 1) from error  # fmt: skip


def _read_parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except (ValueError, OSError) as error:
        raise SpecError(f"this is no Parquet file: {error}", file=path) from error
    frame = frame.astype(object).where(frame.notna(), None)
    for number, row in enumerate(frame.to_dict("records"), start=1):
        yield number, {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}
