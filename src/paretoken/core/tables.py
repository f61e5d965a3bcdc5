"""The one door for tables of text: rows of CSV and JSONL files with their lines, or an error that names the line."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import SpecError
from paretoken.core.files import read_text
from paretoken.core.text import comparable, well_formed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DELIMITERS = ",;\t|"
MAX_DEPTH = 64
"""Levels of lists and objects in a cell; deeper ones exhaust Python's stack somewhere on their way."""
_SAMPLED = 50
"""Rows that tell which delimiter a file has."""
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*\Z', re.IGNORECASE)
_UNSEEN = " \t\r\n\v\f\xa0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_EDGES = re.compile(f"^[{_UNSEEN}]+|[{_UNSEEN}]+$")


def column_name(name: str) -> str:
    """A column's name without blanks and invisible marks around it, in the one form in which names are compared."""
    return comparable(_EDGES.sub("", well_formed(name)))


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Rows of a file with one JSON object a line, with their line numbers.

    Raises:
        SpecError: A line is broken, names a key twice, is nested too deeply, or holds a number beyond 64 bits.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_constant, parse_int=_integer, object_pairs_hook=_unique)
            if not isinstance(row, dict):
                raise ValueError("this line is not a JSON object")
            if "\\u" in line or line.count("[") + line.count("{") > MAX_DEPTH:
                row = {name: _checked(value) for name, value in row.items()}
        except json.JSONDecodeError as error:
            raise SpecError(f"broken JSON: {error.msg} at column {error.colno}.", fix="One object a line.", file=path,
                            line=number) from error  # fmt: skip
        except RecursionError:
            raise SpecError("this line is nested too deeply.", fix=f"Nest at most {MAX_DEPTH} levels.", file=path,
                            line=number) from None  # fmt: skip
        except ValueError as error:
            raise SpecError(f"{error}.", fix="One object a line, each key once, numbers beyond 64 bits in quotes.",
                            file=path, line=number) from error  # fmt: skip
        yield number, {comparable(name): value for name, value in row.items()}


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= (number := int(digits)) < 2**64:
        raise ValueError(f"the number {digits[:12]}… has {len(digits.lstrip('-'))} digits, which no table holds")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [comparable(well_formed(name)) for name, _ in pairs]
    if len(set(names)) < len(names):
        name, _ = Counter(names).most_common(1)[0]
        raise ValueError(f"the key {name!r} stands here twice")
    return {well_formed(name): value for name, value in pairs}


def _checked(value: object, depth: int = 1) -> object:
    """A value with every text in it well-formed."""
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {name: _checked(item, depth + 1) for name, item in value.items()}
    return value


def read_csv(path: Path) -> list[tuple[int, dict[str, object]]]:
    """Rows of a file whose first line names the columns, each with the number of its last line.

    The delimiter is the one that the header and the rows agree on, or that a first line `sep=;` names, as Excel writes
    it. Names of columns lose the blanks around them.

    Raises:
        SpecError: A row has another number of fields than the header, a quote is not closed, a name stands twice, or
            the delimiter is in doubt.
    """
    lines = list(io.StringIO(read_text(path, keep_line_ends=True), newline=""))
    told = _SEPARATOR.match(lines[0]) if lines else None
    skipped = 1 if told else 0
    with _of_any_length():
        delimiter = told[1] if told else _delimiter(lines, path)
        first: list[str] = next(csv.reader(lines[skipped:], delimiter=delimiter), [])
        spaced = len(first) > 1 and all(name.startswith(" ") for name in first[1:])
        reader = csv.reader(lines[skipped:], delimiter=delimiter, skipinitialspace=spaced, strict=True)
        rows: list[tuple[int, dict[str, object]]] = []
        names: list[str] = []
        line = skipped
        try:
            for cells in reader:
                line = skipped + reader.line_num
                if cells and not names:
                    names = _names(cells, path, line)
                elif cells and len(cells) != len(names):
                    raise SpecError(f"this line has another number of fields than the header: {len(cells)}, not "
                                    f"{len(names)}.", file=path, line=line)  # fmt: skip
                elif cells:
                    rows.append((line, dict(zip(names, cells, strict=True))))
        except csv.Error as error:
            raise SpecError(f"broken CSV in the row that begins here: {error}.", file=path, line=line + 1) from error
    return rows


@contextmanager
def _of_any_length() -> Iterator[None]:
    """Lift the limit of 131,072 characters a cell, which belongs to the whole process."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _names(cells: Sequence[str], path: Path, line: int) -> list[str]:
    names = [column_name(cell) for cell in cells]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        said = f"two columns have one name, {name!r}" if name else "two columns have no name"
        raise SpecError(f"{said}.", fix="Rename one of them, or take it out.", file=path, line=line)
    return names


def _delimiter(lines: Sequence[str], path: Path) -> str:
    counts = {delimiter: _count_fields(lines, delimiter) for delimiter in DELIMITERS}
    several = [delimiter for delimiter, fields in counts.items() if fields and fields[0] > 1]
    agreed = [delimiter for delimiter in several if len(counts[delimiter]) > 1 and len({*counts[delimiter]}) == 1]
    if len(agreed) > 1:
        raise SpecError(f"the columns may be parted by {' or by '.join(map(repr, agreed))}.", fix="Say which in a line "
                        f"of its own above the header, e.g. sep={agreed[-1]}", file=path, line=1)  # fmt: skip
    return max(agreed or several, key=lambda delimiter: counts[delimiter][0], default=",")


def _count_fields(lines: Sequence[str], delimiter: str) -> list[int]:
    """Numbers of fields of the header and the first rows."""
    found = (len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells)
    return list(islice(found, _SAMPLED))
