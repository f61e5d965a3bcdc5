"""Parts of a Markdown text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1) -> str:
    """A table whose first columns are texts, and whose others are numbers."""
    marks = ["---"] * n_texts + ["---:"] * (len(heads) - n_texts)
    return "\n".join([line(heads), line(marks), *map(line, rows)])


def picture(name: str, said: str) -> str:
    """A picture that lies beside the text."""
    return f"![{said}]({name})"
