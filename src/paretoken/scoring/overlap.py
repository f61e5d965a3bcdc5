"""Similarity to a reference by shared characters and words; needs no encoder and serves every language."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from paretoken.core.protocols import Scored, ScoreItem
from paretoken.core.text import comparable, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


class Chrf:
    """Sentence chrF2: F-score of character 1- to 6-grams, from 0 to 1. A blank answer scores 0.

    Of several references the one that the answer is most like counts.

    Source: Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015; computed by `sacrebleu`.
    """

    name = "chrf"
    metrics = ("chrf",)
    needs_reference = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"chrf": (0.0, 1.0)}

    @property
    def provenance(self) -> str:
        """Package version and the settings of its signature."""
        return f"sacrebleu {version('sacrebleu')} chrF2 case:mixed nc:6 nw:0 NFC"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch in a worker thread, shape `(n, 1)`; larger is better."""
        return await asyncio.to_thread(self._score, items)

    def _score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        from sacrebleu.metrics.chrf import CHRF

        metric = CHRF()

        def similarity(answer: str, reference: str) -> float:
            return float(metric.sentence_score(answer, [reference]).score) / 100

        return [[_scored("chrf", item, similarity, visible)] for item in items]


class RougeL:
    """ROUGE-L F1: the longest common subsequence of words, from 0 to 1. A blank answer scores 0.

    Tokens are lower-case words without stemming, and single characters where a script puts no spaces between words
    (Chinese, Japanese). On ASCII texts this equals the tokeniser of `rouge-score`, which drops all other letters.
    Of several references the one that the answer is most like counts.

    Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3; computed by `rouge-score`.
    """

    name = "rouge_l"
    metrics = ("rouge_l",)
    needs_reference = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"rouge_l": (0.0, 1.0)}

    @property
    def provenance(self) -> str:
        """Package version and tokens."""
        return f"rouge-score {version('rouge-score')} rougeL F1 words, CJK characters, no stemming, NFC"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch in a worker thread, shape `(n, 1)`; larger is better."""
        return await asyncio.to_thread(self._score, items)

    def _score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        from rouge_score.rouge_scorer import RougeScorer

        metric = RougeScorer(["rougeL"], tokenizer=_Words())

        def similarity(answer: str, reference: str) -> float:
            return float(metric.score(reference, answer)["rougeL"].fmeasure)

        return [[_scored("rouge_l", item, similarity, _Words().tokenize)] for item in items]


class _Words:
    """The tokeniser that `rouge-score` asks."""

    def tokenize(self, text: str) -> list[str]:
        return _TOKEN.findall(text.lower())


def _scored(
    metric: str,
    item: ScoreItem,
    similarity: Callable[[str, str], float],
    content: Callable[[str], Sequence[str]],
) -> Scored:
    """One value, with the cases in which there is nothing to compare settled first."""
    if not item.references:
        return Scored(metric, None, "the sample has no reference")
    answer = comparable(item.answer)
    references = [reference for reference in map(comparable, item.references) if content(reference)]
    if not references:
        return Scored(metric, None, "the reference has no words")
    if not visible(answer):
        return Scored(metric, 0.0)
    return Scored(metric, max(similarity(answer, reference) for reference in references))
