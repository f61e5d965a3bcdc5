"""Parts of a Markdown text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from paretoken.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """A text that ends no cell and begins no HTML."""
    text = " ".join(printable(text).splitlines())
    return re.sub(r"\||<(?=[A-Za-z/!?])", r"\\\g<0>", text)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1) -> str:
    """A table whose first columns are texts, and whose others are numbers."""
    marks = ["---"] * n_texts + ["---:"] * (len(heads) - n_texts)
    return "\n".join([line(heads), line(marks), *map(line, rows)])


def picture(name: str, said: str) -> str:
    """A picture that lies beside the text."""
    return f"![{said}]({name})"
