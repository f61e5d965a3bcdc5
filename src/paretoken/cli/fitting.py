"""Which columns of a table fit a screen, and how wide each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BETWEEN, AROUND = 3, 2
"""Blanks between two columns, and around them all."""
LEAST_LABEL = 16
"""Cells to which a name may be cut, in its middle."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table's columns as they fit.

    Attributes:
        widths: Cells by name of those that are shown, in the table's order.
        hidden: Names of the others.
    """

    widths: Mapping[str, int]
    hidden: tuple[str, ...]


def fit(rows: Sequence[Mapping[str, str]], screen: int, first: Sequence[str] = ()) -> Fitted:
    """Choose columns for a screen: the leftmost, those that decide, then the others, as long as no word breaks.

    Args:
        rows: Cells by column name; all rows have the same names.
        screen: Its width [cells].
        first: Columns that decide, the most important first.
    """
    names = list(rows[0])
    natural = {name: max(cell_len(name), *(_longest_line(row[name]) for row in rows)) for name in names}
    least = {name: max(_longest_word(name), *(_longest_word(row[name]) for row in rows)) for name in names}
    least = {name: min(width, max(screen // 3, LEAST_LABEL)) for name, width in least.items()}  # a path may be folded
    least[names[0]] = min(natural[names[0]], LEAST_LABEL)
    order = dict.fromkeys([names[0], *(name for name in first if name in natural), *names])
    left = screen - AROUND + BETWEEN
    chosen: set[str] = set()
    for name in order:
        if least[name] + BETWEEN <= left or not chosen:
            chosen.add(name)
            left -= least[name] + BETWEEN
    widths = {name: least[name] for name in names if name in chosen}
    for name in sorted(widths, key=lambda name: natural[name] - least[name]):  # those that lack least are made whole
        more = max(min(natural[name] - least[name], left), 0)
        widths[name] += more
        left -= more
    return Fitted(widths, tuple(name for name in names if name not in chosen))


def cut_middle(text: str, width: int) -> str:
    """A name in at most so many cells: its beginning and its end, which tell names apart."""
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(text, width - 1 - cell_len(end)).rstrip() + "…" + end


def _longest_line(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)
