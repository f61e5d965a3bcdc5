"""Numbers that a compatible form of Unicode would change, written out before it is made: 1½ would become 11/2."""

from __future__ import annotations

import re
from fractions import Fraction

_FRACTIONS = "\u00bc-\u00be\u2150-\u215f\u2189"
_MIXED = re.compile(rf"(?<=\d)(?=[{_FRACTIONS}])")
_POWER = re.compile(r"(?<![\d.,])(\d{1,9})(\u207b?)\u207a?([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]{1,2})(?!\w)")
_FOOTNOTE = re.compile(r"(?<=\d)[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}([\u00a0\u2007\u2009\u202f'\u2019])\d{3}(?:\1\d{3})*(?!\d)")
_SPACED = re.compile(r"(?<![\d.,])\d{1,3}(?= [\d ]*(?<= )0)(?: \d{3})+(?![\d.,]*\d)")
"""Groups with plain spaces between them, one of which begins with 0 as no number does; 2 500 ml may be two bottles."""
_MINUS = re.compile(r"(?<![\d%])(?<![\d%]\s)(?<![^\s(~:,\u3001])[\u2010-\u2013\u2212](?=\d)")
_MARKS = re.compile("[\"\u201c\u201d\u2033'\u2018\u2019\u2032\n]")
_IS_NUMBER = re.compile(rf"[0-9{_FRACTIONS}]")


def spell_numbers(text: str) -> str:
    """A text with its mixed fractions, powers, grouped digits, signs and lengths in plain characters.

    >>> spell_numbers('1\u00bd l, 10\u00b3 m, \u20135 \u00b0C, 1\u202f000 W, 55" wide')
    '1 \u00bd l, 1000 m, -5 \u00b0C, 1000 W, 55 inch  wide'
    """
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), text)
    if text.isascii() and '"' not in text and "'" not in text:
        return text
    text = _POWER.sub(_power, _MIXED.sub(" ", text))
    text = _GROUPED.sub(lambda match: match[0].replace(match[1], ""), _FOOTNOTE.sub(" ", text))
    return _lengths(_MINUS.sub("-", text))


def _power(match: re.Match[str]) -> str:
    base, exponent = int(match[1]), int(match[3].translate(_SUPERSCRIPTS))
    if exponent > 30 or not base:
        return match[0]
    value = Fraction(base) ** (-exponent if match[2] else exponent)
    return str(value)  # with a negative exponent 1/1000, which is read as a fraction


def _lengths(text: str) -> str:
    """Inch and foot marks after a number as words, but not the marks that close a quotation, nor minutes of arc."""
    opened: set[str] = set()

    def read(match: re.Match[str]) -> str:
        mark, start = match[0], match.start()
        if mark == "\n":
            opened.clear()
            return mark
        kind = "inch" if mark in '"\u201c\u201d\u2033' else "ft"
        before, after = text[max(0, start - 1) : start], text[match.end() : match.end() + 1]
        if mark in "\u201c\u2018":
            opened.add(kind)
            return mark
        ends = not after.isalpha() or after in "x\u00d7"
        free = mark in "\u2032\u2033" or kind not in opened
        if _IS_NUMBER.match(before) and ends and free and "\u00b0" not in text[max(0, start - 8) : start]:
            return f" {kind} "
        if kind in opened:
            opened.discard(kind)
        elif not before.isalnum():
            opened.add(kind)
        return mark

    return _MARKS.sub(read, text)
