"""Datasets: samples from JSONL, CSV or Parquet, checked before anything is spent."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.tables import read_csv, read_jsonl
from paretoken.core.text import comparable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

Row = Mapping[str, object]
_WORDS = {
    part: frozenset(re.findall(r"\w+", words))
    for part, words in {
        "input": "input question prompt text query source request instruction passage article document problem "
        "utterance 输入 问题 提问 原文 文本 提示 提示词",
        "reference": "reference ref answer target expected output label copy ideal gold golden solution completion "
        "truth response groundtruth translation 参考 答案 参考答案 标准答案 期望 期望输出 输出 标签 译文 回答 参考译文",
    }.items()
}
"""What columns that play a part are called elsewhere."""
_INDEX = re.compile(r"__index_level_\d+__")


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
    """Which columns play which part, None if none does; the default names are used where such a column exists."""

    id: str | None = "id"
    input: str | None = "input"
    reference: str | None = "reference"
    cluster: str | None = "cluster"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples of one file.

    Attributes:
        hash: Content hash of the samples taken and of the parts their columns play.
        columns: Names of all columns, in file order.
        reference_column: The column that templates must not see, if there is one.
        input_column: The column that is the input; None where templates name the columns they need.
        id_column: The column of ids; None where samples are numbered.
        shown: Columns that make up a sample's input: that one, or those that templates name.
    """

    path: Path
    samples: tuple[Sample, ...]
    columns: tuple[str, ...]
    reference_column: str | None
    language: str | None = None
    input_column: str | None = None
    shown: tuple[str, ...] = ()
    id_column: str | None = None
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        parts = (
            [s.id, self._about(s), s.reference, dict(s.fields), *([] if s.cluster is None else [s.cluster])]
            for s in self.samples
        )
        encode, total = json.JSONEncoder(sort_keys=True, default=str).encode, hashlib.sha256()
        for i, part in enumerate(parts):
            total.update((f"\n{encode(part)}" if i else encode(part)).encode())
        object.__setattr__(self, "hash", total.hexdigest()[:16])

    def _about(self, sample: Sample) -> str:
        """What a sample is about, whatever templates name."""
        told = [name for name in sample.fields if name not in (self.id_column, self.reference_column)]
        return sample.input if self.input_column else _joined(sample.fields, told)

    @property
    def clusters(self) -> dict[str, str] | None:
        """Cluster by sample id; None where no sample names one."""
        if all(sample.cluster is None for sample in self.samples):
            return None
        return {s.id: f"sample/{s.id}" if s.cluster is None else s.cluster for s in self.samples}

    @property
    def template_variables(self) -> frozenset[str]:
        """What a prompt template may use: every column but the reference, and `input` where a column is the input."""
        offered = frozenset(self.columns) - {self.reference_column}
        return offered | {"input"} if self.input_column else offered

    @property
    def input_variables(self) -> frozenset[str]:
        """Variables that stand for a sample's input, or a part of it."""
        return self.template_variables if self.input_column is None else frozenset({"input", self.input_column})

    def template_values(self, sample: Sample) -> dict[str, object]:
        """Values of `template_variables` for one sample."""
        values = {k: v for k, v in sample.fields.items() if k != self.reference_column}
        return {**values, "input": sample.input} if self.input_column else values


def load_dataset(
    path: Path,
    *,
    fields: Mapping[str, str | None] | None = None,
    take: int | None = None,
    seed: int = 0,
    language: str | None = None,
    named: Collection[str] = (),
) -> Dataset:
    """Read a dataset.

    Args:
        path: A `.jsonl`, `.csv` or `.parquet` file.
        fields: Columns by part (`id`, `input`, `reference`, `cluster`), where they are not called so; None says that no
            column plays the part.
        take: Use a seeded random subset of this many samples, kept in file order.
        seed: Seed of the subset.
        language: Language of the texts, e.g. `en` or `zh`.
        named: What prompt templates name: without an input column, these columns are what a sample is about.

    Raises:
        SpecError: The file is missing, empty or broken (with the line), an id is duplicate, a named column is absent,
            a sample has no id or input, or a column looks like the reference or the input under another name.
    """
    if take is not None and take < 1:
        raise SpecError(f"{take} samples are too few.", fix="Take at least one.", file=path)
    rows = list(read_rows(path))
    if not rows:
        raise SpecError("the dataset is empty.", fix="Give it at least one sample.", file=path)
    columns = tuple(dict.fromkeys(name for _, row in rows for name in row))
    given = {part: column if column is None else comparable(column) for part, column in (fields or {}).items()}
    for part, column in given.items():
        if column is not None and column not in columns:
            raise SpecError(f"column {column!r} is not in the dataset.", fix=suggest(column, columns), file=path,
                            field=f"dataset.fields.{part}")  # fmt: skip
    parts = {part: column if column in columns else None for part, column in asdict(Fields(**given)).items()}
    _ask(columns, parts, given, {comparable(name) for name in named}, path)
    id_column, reference = parts["id"], parts["reference"]
    shown = tuple(c for c in columns if c in map(comparable, named) and c != reference)
    shown = (parts["input"],) if parts["input"] else shown
    samples: list[Sample] = []
    first_line: dict[str, int] = {}
    for number, (line, row) in enumerate(rows, start=1):
        id_ = _required(row, id_column, path, line) if id_column else str(number)
        if comparable(id_) in first_line:
            raise SpecError(f"duplicate sample id {id_!r}, first used in line {first_line[comparable(id_)]}.",
                            fix="Give every sample an id of its own.", file=path, line=line)  # fmt: skip
        first_line[comparable(id_)] = line
        texts = _texts(row.get(reference) if reference else None)
        input_ = _required(row, parts["input"], path, line) if parts["input"] else _joined(row, shown)
        group = row.get(parts["cluster"]) if parts["cluster"] else None
        samples.append(
            Sample(
                id_, input_, texts[0] if texts else None, row, line, None if group in (None, "") else str(group),
                texts[1:],
            )
        )  # fmt: skip
    if take is not None and take < len(samples):
        chosen = sorted(random.Random(f"take/{seed}").sample(range(len(samples)), take))  # noqa: S311 - not a secret
        samples = [samples[i] for i in chosen]
    return Dataset(path, tuple(samples), columns, reference, language, parts["input"], shown, id_column)


def _ask(
    columns: Sequence[str],
    parts: Mapping[str, str | None],
    given: Mapping[str, str | None],
    named: Collection[str],
    path: Path,
) -> None:
    """Ask about a column that looks like the reference, and about the input where a template wants it.

    Raises:
        SpecError: With the `fields:` line to write.
    """
    alike = {part: next((c for c in columns if c not in parts.values() and looks_like(c, part)), None)
             for part in ("input", "reference") if part not in given and parts[part] is None}  # fmt: skip
    line = fields_line({**given, **{part: column for part, column in alike.items() if column}})
    if parts["input"] is not None and parts["input"] == parts["reference"]:
        raise SpecError(f"column {parts['input']!r} is the input and the reference: prompts would show the reference.",
                        fix="Name two columns.", file=path, field="dataset.fields.reference")  # fmt: skip
    if parts["input"] is None and "input" in named:
        which = f"Write fields: {{input: COLUMN}}, one of {', '.join(columns)}."
        fix = f"Write {line}." if alike.get("input") else which
        raise SpecError("a template uses {{ input }}, and no column is the input.", fix=fix, file=path,
                        field="dataset.fields.input")  # fmt: skip
    if column := alike.get("reference"):
        none = fields_line({**given, "reference": None})
        raise SpecError(f"column {column!r} looks like the reference, which no prompt may show.", fix=f"Write {line}, "
                        f"or {none} if it is none.", file=path, field="dataset.fields.reference")  # fmt: skip


def fields_line(parts: Mapping[str, str | None]) -> str:
    """The `fields:` of a spec that says which columns play which part."""

    def quoted(column: str | None) -> str:
        if column is None:
            return "null"
        return column if re.fullmatch(r"[^\W\d][\w-]*", column) else json.dumps(column, ensure_ascii=False)

    return f"fields: {{{', '.join(f'{part}: {quoted(column)}' for part, column in parts.items())}}}"


def looks_like(column: str, part: str) -> bool:
    """Whether a column's name says that it is the input or the reference, whatever its case, blanks and number.

    >>> looks_like("Gold_Answers", "reference"), looks_like("answer_type", "reference")
    (True, False)
    """
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).casefold())
    words = [word if word in _WORDS[part] else word.removesuffix("s") for word in words]
    return bool(words) and (words[-1] in _WORDS[part] or words[0] == part or "".join(words) in _WORDS[part])


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


def _joined(row: Row, columns: Iterable[str]) -> str:
    return "\n".join(f"{name}: {row[name]}" for name in columns if row.get(name) is not None)


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows of a JSONL, CSV, TSV or Parquet file with their line numbers.

    Raises:
        SpecError: The file is missing or broken, or of another format.
    """
    if not path.is_file():
        raise SpecError("the file does not exist.", fix="Paths are relative to the spec.", file=path)
    match path.suffix.lower():
        case ".jsonl":
            yield from read_jsonl(path)
        case ".csv" | ".tsv":
            yield from read_csv(path)
        case ".parquet":
            columns = read_parquet(path)
            for number, cells in enumerate(zip(*columns.values(), strict=True), start=1):
                yield number, dict(zip(columns, cells, strict=True))
        case other:
            raise SpecError(f"unknown format {other!r}.", fix="Use .jsonl, .csv or .parquet.", file=path)


def parquet_columns(path: Path) -> list[str]:
    """Names of the columns of a Parquet file, but for the row numbers that pandas adds.

    Raises:
        SpecError: It is no Parquet file, or has two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = [name for name in pq.read_schema(path).names if not _INDEX.fullmatch(name)]
    except (pa.ArrowException, OSError) as error:
        raise SpecError(f"this is no Parquet file: {error}.", fix="Write it again.", file=path) from error
    if len({comparable(name) for name in names}) < len(names):
        raise SpecError("two columns have one name.", fix="Rename one of them.", file=path)
    return names


def read_parquet(path: Path) -> dict[str, list[object]]:
    """Cells of a Parquet file by column; what is missing, NaN too, is None.

    Raises:
        SpecError: It is no Parquet file, or holds bytes that are no text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = parquet_columns(path)
    columns: dict[str, list[object]] = {}
    try:
        table = pq.read_table(path, columns=names)
        for name in names:
            column = table.column(name)
            if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # finer than Python's times
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            columns[comparable(name)] = [_cell(value) for value in column.to_pylist()]
    except UnicodeDecodeError as error:
        raise SpecError(f"column {name!r} holds bytes that are not UTF-8 text.", fix="Write it again as "
                        "texts, or leave the column out.", file=path) from error  # fmt: skip
    except (pa.ArrowException, ValueError, OverflowError, OSError) as error:
        raise SpecError(f"this Parquet file cannot be read: {error}.", fix="Write it again.", file=path) from error
    return columns


def _cell(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, float) and math.isnan(value) else value
