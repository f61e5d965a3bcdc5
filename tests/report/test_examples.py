"""Answers side by side: which samples are shown, what is marked, and what is taken out."""

from __future__ import annotations

import json
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.experiment.api import run
from paretoken.report.examples import examples_of, mark
from paretoken.report.page import render_page
from paretoken.report.redaction import HIDDEN, redact

REPLAY = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {plain: {input_per_mtok: "1", output_per_mtok: "4"}, rich: {input_per_mtok: "5", output_per_mtok: "20"}}}
"""
WORDS = st.lists(
    st.sampled_from(["the", "kettle", " ", "1.5", "水", "壶", "，", "\n", "don't", "!", "Kettle"]), max_size=30
)


@given(WORDS, WORDS)
def test_pieces_make_up_the_texts_and_what_is_not_marked_is_common(a, b):
    texts = "".join(a), "".join(b)
    pieces, alike = mark(*texts)
    assert tuple("".join(piece.text for piece in side) for side in pieces) == texts
    common = ["".join(piece.text for piece in side if not piece.marked) for side in pieces]
    assert common[0].casefold() == common[1].casefold()
    assert 0 <= alike <= 1
    if texts[0] == texts[1]:
        assert not any(piece.marked for side in pieces for piece in side)
        assert alike == 1


@pytest.mark.parametrize(
    ("a", "b", "lost", "new"),
    [
        ("The red lamp is warm and small.", "The lamp is warm, bright and small.", [" red"], [", bright"]),
        ("The lamp weighs 1.5 kg in all.", "The lamp weighs 2.5 kg in all.", ["1.5"], ["2.5"]),
        ("这款水壶容量1.5升，三分钟烧开。", "这款水壶容量2升，三分钟就能烧开。", ["1.5"], ["2", "就能"]),
        ("same words here", "Same Words here", [], []),
        ("", "all of it is new", [], ["all of it is new"]),
    ],
)
def test_words_are_marked_in_english_and_characters_in_chinese(a, b, lost, new):
    marked = [[piece.text for piece in side if piece.marked] for side in mark(a, b)[0]]
    assert marked == [lost, new]


def test_a_single_common_word_between_differences_is_part_of_them():
    (first, _), _ = mark("one two three and four five six", "seven eight nine and ten eleven twelve")
    assert [piece.marked for piece in first] == [True]


@pytest.fixture
def duel(lab):
    """Two recorded models; `texts` and `grades` say what they answered and what it is worth."""

    def make(texts, grades):
        n = len(texts)
        rows = [{"id": f"s{i:02}", "product": f"lamp {i}", "features": "warm <b>light</b>", "copy": f"Lamp {i} & co."}
                for i in range(n)]  # fmt: skip
        answers = [
            {"model": model, "id": f"s{i:02}", "text": texts[i][k], "tokens_in": 20, "tokens_out": 10 + i, "grade":
             grades[i][k]}
            for i in range(n)
            for k, model in enumerate(("rich", "plain"))
        ]  # fmt: skip
        lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
        lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
        lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
        lab.edit("  - contains: free\n  - max_chars: 90", "  - {column: grade, range: [0, 10]}")
        lab.edit("maximize: [contains]", "maximize: [grade]")
        lab.edit("control: long\n    treatment: [terse]", "control: rich\n    treatment: [plain]")
        return run(lab.folder).results

    return make


def test_largest_loss_largest_gain_and_a_difference_like_most(duel):
    before, after = [5] * 12, [5, 9, 1, 5, 6, 5, 4, 7, 5, 5, 6, 6]
    results = duel([(f"rich {i}", f"plain {i}") for i in range(12)], list(zip(before, after, strict=True)))
    rich, plain = (results.variant_id(label) for label in ("rich", "plain"))
    found = examples_of(results, rich, plain, "grade")
    assert [(e.why, e.sample) for e in found[:2]] == [("loss", "s02"), ("gain", "s01")]
    typical = int(found[2].sample[1:])
    assert abs(after[typical] - before[typical] - median(b - a for a, b in zip(before, after, strict=True))) <= 0.5
    assert [side.label for side in found[0].sides] == ["rich", "plain"]
    assert [side.value for side in found[0].sides] == pytest.approx([0.5, 0.1])
    assert found[0].sides[0].list_usd == pytest.approx(5e-6 * 20 + 20e-6 * 12)
    by_cost = examples_of(results, rich, plain, "list_usd")
    assert (by_cost[0].why, by_cost[0].sample) == ("gain", "s11")


HOSTILE = '<script>alert(1)</script></style><img src=x onerror="alert(2)">{{ 7 * 7 }} \'"&amp;'


def test_answers_cannot_do_anything(duel):
    results = duel([(f"{HOSTILE} and more of it {i}", f"{HOSTILE} and less of it {i}") for i in range(9)],
                   [(5, 4 + i % 3) for i in range(9)])  # fmt: skip
    results.run.lock["question"] = f"{HOSTILE}?"
    results.labels |= dict.fromkeys([results.variant_id("rich")], f"rich{HOSTILE}")
    for language in ("en", "zh"):
        page = render_page(results, language)
        assert "<script" not in page
        assert "<img" not in page
        assert page.count("</style>") == 1
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{ 7 * 7 }}" in page
        assert "49 " not in page.split("alert(2)")[1][:20]
        assert "warm &lt;b&gt;light&lt;/b&gt;" in page
        assert "Lamp 0 &amp; co." in page
        assert "<ins>" in page
        assert "<del>" in page


def test_keys_that_an_answer_quotes_are_hidden(duel, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "quite-long-and-secret")
    leak = "the key quite-long-and-secret, sk-abcdefghijklmnop0123 and postgresql://me:hunter2@host/db"
    page = render_page(duel([(f"{leak} {i}", f"{leak} or {i}") for i in range(9)], [(5, 5)] * 9))
    assert "quite-long" not in page
    assert "abcdefghijklmnop" not in page
    assert "hunter2" not in page
    assert HIDDEN in page


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {HIDDEN}"),
        ("ghp_0123456789abcdefghij0123", HIDDEN),
        ("AKIAABCDEFGHIJKLMNOP", HIDDEN),
        ("see http://localhost:8080/v1 at noon @home", "see http://localhost:8080/v1 at noon @home"),
        ("a task-oriented, risk-averse answer", "a task-oriented, risk-averse answer"),
    ],
)
def test_what_has_the_form_of_a_key_is_hidden_and_nothing_else(text, left):
    assert redact(text) == left


def test_texts_are_said_to_be_in_the_language_of_the_data(duel, lab):
    texts = [(f"这款水壶第{i}号，三分钟烧开。", f"这款水壶第{i}号，三分钟就能烧开。") for i in range(9)]
    lab.edit("language: en", "language: zh")
    page = render_page(duel(texts, [(5, 5)] * 9))
    assert '<html lang="en">' in page
    assert '<div class="text" lang="zh" tabindex="0">这款水壶第' in page
    assert "<ins>就能</ins>" in page
