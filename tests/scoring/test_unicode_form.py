"""Texts that are canonically equal score alike, and what no reader sees is no answer."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from paretoken.core.protocols import ScoreItem, Scorer
from paretoken.scoring.consensus import Consensus
from paretoken.scoring.facts import Facts
from paretoken.scoring.form import Format, Length
from paretoken.scoring.overlap import Chrf, RougeL
from paretoken.scoring.rules import Contains, MaxChars, Regex

TEXTS = ("Crème brûlée à Łódź.", "Żółć und Größe", "Điện thoại mới", "물 주전자", "がぎぐげご。")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    "scorer", [Chrf(), RougeL(), Facts(), Length(), Format(), Contains(field="wanted"), Consensus("chrf")],
    ids=lambda scorer: scorer.name,
)  # fmt: skip
def test_composed_and_decomposed_texts_score_alike(scorer: Scorer, text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    items = [ScoreItem(a, "", b, {"wanted": b}, others=(b,)) for a in forms for b in forms]
    scores = asyncio.run(scorer.score(items))
    assert all(row == scores[0] for row in scores)
    assert scores[0][0].value == pytest.approx(1.0)


@pytest.mark.parametrize("text", TEXTS)
def test_rules_count_and_find_composed_characters(text: str) -> None:
    apart = unicodedata.normalize("NFD", text)
    for rule in (Regex(f"^{text}$"), Regex(f"^{apart}$"), MaxChars(len(unicodedata.normalize("NFC", text)))):
        for answer in (text, apart):
            assert asyncio.run(rule.score([ScoreItem(answer, "", None, {})]))[0][0].value == 1.0


@pytest.mark.parametrize("answer", ["", " \n", "\u200b\u200d", "\ufeff \u2060", "\u3164\u00ad", "\x00\x1b"])
def test_an_answer_that_no_reader_sees_scores_0(answer: str) -> None:
    for scorer in (Format(), Length(), Chrf(), RougeL(), Facts()):
        assert asyncio.run(scorer.score([ScoreItem(answer, "", "A lamp.", {})]))[0][0].value == 0.0


@pytest.mark.parametrize(
    ("wanted", "answer", "value"),
    [
        (["oak", "ash"], "ash and oak", 1.0),
        (["oak", "elm"], "ash and oak", 0.0),
        (False, "that is false", 1.0),
        (True, "that is false", 0.0),
        (7.0, "7 of ten", 1.0),
        (7.25, "7.25 of ten", 1.0),
        ([1.0, [True]], "1 is true", 1.0),
        ([], "anything", None),
        ({"a": 1}, "{'a': 1}", None),
        ([None], "None", None),
    ],
)
def test_a_column_is_looked_for_as_json_writes_it(wanted: object, answer: str, value: float | None) -> None:
    ((one,),) = asyncio.run(Contains(field="w").score([ScoreItem(answer, "", None, {"w": wanted})]))
    assert one.value == value
    assert value is not None or "'w'" in (one.reason or "")
