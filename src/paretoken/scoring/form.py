"""The form of an answer: its length beside the reference's, and faults that every reader sees."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, ClassVar

from paretoken.core.protocols import Scored, ScoreItem
from paretoken.core.text import comparable, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MARK_END = re.compile(r"[.!?…。！？；）)\]】}》」”\"'’`*_~|\U0001f000-\U0001faff❤✅]\s*$")
_LIST_LINE = re.compile(r"^\s*(?:[-*•·#>|]|\d+[.)、]|[（(]?[一二三四五六七八九十]+[)）、.])")
_PLACEHOLDER = re.compile(
    r"\[(?:your|insert|name|product|company|date|brand|address|price)\b[^\]\n]{0,40}\]|\{\{[^{}\n]{0,60}\}\}"
    r"|<(?:insert|your)\b[^>\n]{0,40}>|[【\[][^】\]\n]{0,20}(?:待填|填写|此处|在此|公司名称|产品名称|您的姓名|你的名字)[^】\]\n]{0,20}[】\]]"
    r"|\bXX+\b|\bTODO\b|lorem ipsum",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    r"^\W*(?:(?:sure|certainly|of course|absolutely)(?:[!.:]|[, ].{0,40}?\bhere(?:'s| is| are)\b)"
    r"|here(?:'s| is| are)\b[^.\n]{0,60}:"
    r"|as an ai\b|i'?m (?:unable|(?:sorry|afraid)\b.{0,60}\b(?:can(?:'t|not)|unable))"
    r"|i (?:can ?not|can't) (?:assist|help|provide|fulfil)"
    r"|(?:好的|当然|没问题)[，,！!：:。]|以下是|这是一(?:个|段|份)|作为(?:一个|一名)?\s?(?:ai|人工智能|语言模型)|(?:很)?抱歉|对不起，我)",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_UNFINISHED = re.compile(
    r"\b(?:the|an?|and|or|of|with|for|from|as|is|are|was|which|its|your|our|their|but|because|into|than|in|to)$|[的和与及或但把被]$",
    re.IGNORECASE,
)
"""Words that no sentence ends with."""
_LETTERS = re.compile(r"[A-Za-z\u00c0-\u024f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
MOST_REPEATED = 0.5
"""Share of an answer that may be made of phrases it has said before."""


class Length:
    """Whether an answer is about as long as the reference, in characters, from 0 to 1.

    1 from the reference's length to twice it; below, their ratio; above, twice the reference by the answer: what is too
    long costs, and is measured there. White space and invisible characters do not count; of several references the
    one counts that fits best.
    """

    name = "length"
    metrics = ("length",)
    needs_reference = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"length": (0.0, 1.0)}

    @property
    def provenance(self) -> str:
        """The rule."""
        return "length 2: characters without white space, once to twice the reference's"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Measure a batch, shape `(n, 1)`."""
        return [[self._measure(item)] for item in items]

    def _measure(self, item: ScoreItem) -> Scored:
        if not item.references:
            return Scored("length", None, "the sample has no reference")
        own = _n_characters(item.answer)
        wanted = [n for reference in item.references if (n := _n_characters(reference))]
        if not wanted:
            return Scored("length", None, "the reference has no visible character")
        return Scored("length", max(min(1.0, own / n, 2 * n / max(1, own)) for n in wanted))


class Format:
    """Share of the faults that an answer does not have, from 0 to 1; which ones it has stands in the note.

    An answer without a visible character scores 0. The faults: it ends in the middle of a sentence, says the same
    phrases over and over, leaves a placeholder to fill in, talks about itself ("Sure! Here is", 好的，以下是)
    or declines, is written in another script.

    Args:
        language: The dataset's; of `zh` and `en` the script is checked.
    """

    name = "format"
    metrics = ("format",)
    needs_reference = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"format": (0.0, 1.0)}

    def __init__(self, language: str | None = None) -> None:
        self._language = (language or "")[:2].lower()

    @property
    def provenance(self) -> str:
        """The version of the rules, and the script."""
        script = f", script of {self._language}" if self._language in ("zh", "en") else ""
        return f"format 3: end, repetition, placeholder, preamble{script}"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 has no fault."""
        return [[self._check(item.answer)] for item in items]

    def _check(self, answer: str) -> Scored:
        answer = visible(comparable(answer))
        text = unicodedata.normalize("NFKC", answer).strip()
        if not text:
            return Scored("format", 0.0, "blank")
        faults = {
            "cut off": _is_cut_off(answer),
            "repeats itself": repeated_share(text) > MOST_REPEATED,
            "leaves a placeholder": _PLACEHOLDER.search(_CODE.sub(" ", answer)) is not None,
            "talks about itself": _PREAMBLE.search(answer) is not None,
        }
        if self._language in ("zh", "en"):
            faults["in another script"] = self._is_foreign(text)
        found = [fault for fault, has in faults.items() if has]
        return Scored("format", 1 - len(found) / len(faults), ", ".join(found) or None)

    def _is_foreign(self, text: str) -> bool:
        """Most letters are of another script; a Chinese character is about two letters long."""
        han, latin = 2 * len(_HAN.findall(text)), len(_LETTERS.findall(text))
        letters = sum(1 for c in text if unicodedata.category(c).startswith("L")) + han // 2
        own = han if self._language == "zh" else latin
        return 2 * own < letters


def _n_characters(text: str) -> int:
    return len("".join(visible(comparable(text)).split()))


def _is_cut_off(text: str) -> bool:
    """Prose of a sentence or more that ends without a mark; titles, lists, tables and code have none."""
    last = text.rsplit("\n", 1)[-1].strip()
    if _MARK_END.search(text) or _LIST_LINE.match(last) or (text.count("```") % 2 == 0 and "```" in text):
        return text.count("```") % 2 == 1
    if len(last.split()) > 3 and _UNFINISHED.search(last):
        return True
    return len(_HAN.findall(last)) > 15 or len(last.split()) > 8 or last.endswith((",", "，", "、", ":", "："))


def repeated_share(text: str) -> float:
    """Share of a text's four-word phrases (eight characters of Chinese) that it has said before."""
    units = re.findall(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3400-\u4dbf\u4e00-\u9fff]+", text.casefold())
    size = 8 if 2 * len(_HAN.findall(text)) > len(_LETTERS.findall(text)) else 4
    phrases = [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0
