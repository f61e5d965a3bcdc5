"""Texts enter well-formed, leave without commands for a terminal, and are compared in one form."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.text import comparable, printable, split_thinking, well_formed, well_formed_json

ANY = st.text(st.characters(exclude_categories=()))


@given(ANY)
def test_every_text_can_be_encoded_once_it_is_well_formed(text):
    once = well_formed(text)
    once.encode("utf-8")
    assert well_formed(once) == once


@given(st.text())
def test_what_is_well_formed_stays_as_it_is(text):
    assert well_formed(text) is text


@given(st.text())
def test_pairs_that_json_wrote_as_two_escapes_are_joined(text):
    halves = json.loads(json.dumps(text))
    split = "".join(chr(unit) for unit in _units(halves))
    assert well_formed(split) == text


def _units(text: str) -> list[int]:
    raw = text.encode("utf-16-le")
    return [raw[i] | raw[i + 1] << 8 for i in range(0, len(raw), 2)]


def test_halves_that_stand_alone_are_replaced():
    assert well_formed("a\ud83db\ude00") == "a\ufffdb\ufffd"
    assert well_formed_json({"a\ud83d": ["\ude00", 1, None, {"b": "\ud83d\ude00"}]}) == {
        "a\ufffd": ["\ufffd", 1, None, {"b": "😀"}]
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jcleared", "cleared"),
        ("a\rb\x08c\x00", "abc"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("dos\r\nline", "dos\nline"),
        ("\u202egnirts", "gnirts"),
        ("cut \x1b[", "cut "),
        ("中文 😀 é", "中文 😀 é"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(text, shown):
    assert printable(text) == shown


@given(ANY)
def test_nothing_that_is_printed_can_command_a_terminal(text):
    assert not {c for c in printable(text) if unicodedata.category(c) == "Cc"} - {"\n", "\t"}


@given(st.text())
def test_canonically_equal_texts_compare_equal(text):
    assert comparable(unicodedata.normalize("NFD", text)) == comparable(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>hm</think>\n\nTwo.", ("hm", "Two.")),
        ("<thinking>hm</thinking>Two.", ("hm", "Two.")),
        ("hm, two or three</think>Two.", ("hm, two or three", "Two.")),
        ("<think></think>\nTwo.", ("", "Two.")),
        ("<think>it never ends", ("<think>it never ends", "")),
        ("I think <b>two</b>.", ("", "I think <b>two</b>.")),
        ("Write <think> like this.", ("", "Write <think> like this.")),
        ("", ("", "")),
    ],
)
def test_thinking_is_told_from_the_answer(text, parts):
    assert split_thinking(text) == parts
