"""Which installed fonts can draw a text, so that a figure never shows empty boxes, and where its lines end."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

if TYPE_CHECKING:
    from collections.abc import Iterable

BASE = "DejaVu Sans"
"""Comes with matplotlib."""

_HINTS = (
    *("CJK", "Source Han", "PingFang", "YaHei", "Hei", "WenQuanYi", "Hiragino", "Song", "Ming", "Fang", "IPA"),
    *("Nanum", "Malgun", "Arial Unicode", "Droid Sans Fallback", "LXGW", "Sarasa", "Noto Sans", "Emoji"),
)
"""Parts of the names of fonts that have what the base font lacks, best first."""


def families_for(texts: Iterable[str]) -> list[str]:
    """Font families that together draw as much of the texts as can be drawn, the base font first."""
    families = [BASE]
    missing = {c for text in texts for c in text if not c.isspace()} - _characters(BASE)
    for name in _candidates() if missing else ():
        if found := missing & _characters(name):
            families.append(name)
            missing -= found
        if not missing:
            break
    return families


def can_draw(text: str, families: Iterable[str]) -> bool:
    """Whether the families have every character of the text."""
    return drawable(text, families) == text


def drawable(text: str, families: Iterable[str]) -> str:
    """The text without the characters that no family has."""
    known = frozenset[str]().union(*(_characters(name) for name in families))
    return "".join(c for c in text if c.isspace() or c in known)


def strong_weight(families: Iterable[str]) -> str:
    """`bold` where every family has it, else `normal`."""
    bold = {entry.name for entry in font_manager.fontManager.ttflist if entry.weight in ("bold", 700)}
    return "bold" if bold.issuperset(families) else "normal"


def lines(text: str, columns: int, most: int) -> list[str]:
    """The text in lines that are about equally wide in every script; what does not fit is cut off.

    Args:
        text: Words with spaces between them, or Chinese, which may break anywhere.
        columns: Width of a line in Latin letters.
        most: Most lines.
    """
    found: list[list[str]] = [[]]
    for part in re.findall(r"\s+|[\u2e80-\uffef]|[^\s\u2e80-\uffef]{1,40}", text.strip()):
        if columns_of("".join(found[-1]) + part.rstrip()) > columns:
            found.append([])
        if found[-1] or not part.isspace():
            found[-1].append(part)
    if len(found) > most:
        found = found[:most]
        while columns_of("".join(found[-1])) > columns - 2:
            found[-1].pop()
        found[-1] = ["".join(found[-1]).rstrip(), " …"]
    return ["".join(line).rstrip() for line in found]


def shortened(text: str, columns: int) -> str:
    """The text, or as much of its beginning as fits in a line.

    Args:
        text: A name.
        columns: Width of the line in Latin letters.
    """
    if columns_of(text) <= columns:
        return text
    while text and columns_of(text) > columns - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def columns_of(text: str) -> float:
    """How wide a text is in Latin letters."""
    return sum(1.85 if east_asian_width(c) in "WF" else 1.0 for c in text)


@cache
def _candidates() -> tuple[str, ...]:
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    ranked = [(rank, name) for name in names for rank, hint in enumerate(_HINTS) if hint in name]
    return tuple(dict.fromkeys(name for _, name in sorted(ranked)))


@cache
def _characters(family: str) -> frozenset[str]:
    path = font_manager.findfont(font_manager.FontProperties(family=family))
    return frozenset(map(chr, FT2Font(path).get_charmap()))
