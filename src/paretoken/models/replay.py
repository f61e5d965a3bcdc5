"""Answers that were recorded earlier, from a Parquet, JSONL or CSV file that holds a whole fleet of models."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from paretoken.core.calls import Request, Response
from paretoken.core.errors import Refused, SpecError
from paretoken.core.registry import suggest
from paretoken.core.text import comparable
from paretoken.core.usage import Usage
from paretoken.datasets import parquet_columns, read_parquet, read_rows
from paretoken.models.estimate import estimate_usage
from paretoken.models.options import read_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoken.core.protocols import Clock, Provider, ProviderConfig


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Which recorded answers are this model's.

    Attributes:
        file: Parquet, JSONL or CSV file, relative to the spec.
        by: Column that tells the models apart.
        value: This model's value in it.
        key: Column that holds the sample's id.
        output: Column that holds the answer.
        usage: Columns of input and output tokens, or `estimate`.
        latency: Column of seconds, or `none`.
    """

    file: str
    by: str
    value: str
    key: str
    output: str
    usage: str | list[str] | tuple[str, ...] = "estimate"
    latency: str = "none"


class Replay:
    """One model of a recording. The request's sample picks the row, its repeat number one of several such rows."""

    slots: int | None = None
    recorded = True

    def __init__(self, config: ProviderConfig, options: ReplayOptions) -> None:
        named = {name: comparable(getattr(options, name)) for name in ("by", "value", "key", "output", "latency")}
        self._id, self._options = config.id, (options := replace(options, **named))
        self._path = config.root / options.file
        self._counts = () if isinstance(options.usage, str) else tuple(map(comparable, options.usage))
        if (not self._counts and options.usage != "estimate") or len(self._counts) not in (0, 2):
            raise SpecError(
                f"{options.usage!r} names no two columns.",
                fix="Write [input column, output column] or estimate.",
                field="usage",
            )
        self._latency = None if options.latency == "none" else options.latency
        self._read: tuple[Mapping[str, Sequence[object]], Mapping[tuple[str, str], Sequence[int]]] | None = None
        known = replay_columns(self._path)
        for column in (options.by, options.key, options.output, *self._counts, self._latency):
            if column is not None and column not in known:
                raise SpecError(f"there is no column {column!r}.", fix=suggest(column, known), file=self._path)

    async def generate(self, request: Request) -> Response:
        """The recorded answer to the request's sample.

        Raises:
            Refused: There is none.
        """
        if self._read is None:
            version = _version(self._path)
            self._read = _columns(*version), _rows(*version, self._options.by, self._options.key)
        columns, rows = self._read
        value, sample = self._options.value, request.origin.sample
        found = rows.get((value, comparable(sample))) or rows.get((value, _whole(sample)), ())
        row = found[request.repeat if request.repeat < len(found) else 0] if found else None
        text = None if row is None else columns[self._options.output][row]
        if row is None or text is None:
            raise Refused(f"no recorded answer of {value!r} to {sample!r} in {self._path.name}")
        counts = [_number(columns[name][row]) for name in self._counts]
        match counts:
            case [float(given), float(written)]:
                usage = Usage(input_tokens=int(given), output_tokens=int(written))
            case _:
                usage = estimate_usage(request.messages, str(text))
        return Response(
            text=str(text),
            usage=usage,
            latency_s=None if self._latency is None else _number(columns[self._latency][row]),
            model_version=value,
            fields={name: values[row] for name, values in columns.items() if name != self._options.output},
        )

    async def count_tokens(self, request: Request) -> int | None:
        """Unknown: the tokeniser is elsewhere."""
        return None

    async def aclose(self) -> None:
        """Nothing to give back: the file's contents are shared by the whole fleet."""


def replay_columns(path: Path) -> list[str]:
    """Names of the columns of a recording.

    Raises:
        SpecError: The file is missing or cannot be read.
    """
    version = _version(path)
    return parquet_columns(version[0]) if version[0].suffix.lower() == ".parquet" else list(_columns(*version))


def replay_values(path: Path, by: str) -> list[str]:
    """Distinct values of a column of a recording, sorted.

    Raises:
        SpecError: The file is missing or cannot be read, or has no such column.
    """
    columns, by = _columns(*_version(path)), comparable(by)
    if by not in columns:
        raise SpecError(f"there is no column {by!r}.", fix=suggest(by, columns), file=path)
    return sorted({_text(value) for value in columns[by] if value is not None})


def _version(path: Path) -> tuple[Path, int]:
    """What the contents of a file are kept by."""
    try:
        return path.resolve(), path.stat().st_mtime_ns
    except OSError:
        raise SpecError("there is no such file.", fix="Correct the path of the recording.", file=path) from None


@cache
def _columns(path: Path, modified_ns: int) -> Mapping[str, Sequence[object]]:
    """A whole recording, column by column; absent values are None."""
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    rows = [row for _, row in read_rows(path)]
    names = dict.fromkeys(name for row in rows for name in row)
    cells = {name: [row.get(name) for row in rows] for name in names}
    if path.suffix.lower() == ".jsonl":
        return cells
    return {name: [cell or None for cell in column] for name, column in cells.items()}


@cache
def _rows(path: Path, modified_ns: int, by: str, key: str) -> Mapping[tuple[str, str], Sequence[int]]:
    """Row numbers of every model's answers to every sample, in order of the file."""
    columns = _columns(path, modified_ns)
    rows: dict[tuple[str, str], list[int]] = {}
    for row, (value, sample) in enumerate(zip(columns[by], columns[key], strict=True)):
        rows.setdefault((comparable(_text(value)), comparable(_text(sample))), []).append(row)
    for (value, sample), found in list(rows.items()):
        rows.setdefault((value, _whole(sample)), found)
    return rows


def _text(value: object) -> str:
    """A cell as the spec would write it; a whole number keeps no decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _whole(id_: str) -> str:
    """An id that was a number with a decimal point, as tables with gaps write it, without the point."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", comparable(id_))


def _number(value: object) -> float | None:
    """A count or a duration; None where the recording has none."""
    try:
        number = float(value) if isinstance(value, int | float | str | Decimal) else -1.0
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None


def make(config: ProviderConfig, clock: Clock) -> Provider:
    """Make one model of a recording.

    Raises:
        SpecError: The file is missing, or it lacks a column.
    """
    return Replay(config, read_options(config, ReplayOptions))
