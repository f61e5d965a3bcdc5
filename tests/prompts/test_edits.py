"""Edits save tokens and leave data, variables and commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Message
from paretoken.core.errors import SpecError
from paretoken.prompts import Prompt
from paretoken.prompts.edits import DEFAULTS, edit_prompt, n_examples, parse_edits, with_examples

ENGLISH = Prompt(
    "en",
    (
        ("system", "You write for a shop that is very old. The weather is often fine there. Never invent a product.\n"
                   "Our readers buy lamps and like short texts about lamps."),
        ("user", "Please make sure that you read {{ note }} in order to write a text.\n\nKindly write about the lamp "
                 "{{ product }}, please. Name its colour."),
    ),
    Path("en.md"),
)  # fmt: skip
CHINESE = Prompt(
    "zh",
    (
        ("system", "我们的店开了很多年。今天天气不错。不要编造产品特点。读者喜欢简短的台灯介绍。"),
        ("user", "请你务必根据{{ features }}进行介绍。\n\n请为台灯{{ product }}写一段介绍。"),
    ),
    Path("zh.md"),
)


def edited(prompt: Prompt, edits: str) -> str:
    return edit_prompt(prompt, parse_edits(edits)).text


def test_none_changes_nothing() -> None:
    assert edit_prompt(ENGLISH, parse_edits("none")) == ENGLISH


def test_a_length_cap_counts_words_or_characters() -> None:
    assert edited(ENGLISH, "length_cap=25").endswith("Name its colour.\nUse at most 25 words.")
    assert edited(CHINESE, "length_cap=200").endswith("写一段介绍。\n不超过200字。")
    assert edit_prompt(ENGLISH, parse_edits("length_cap"), "zh").text.endswith("不超过40字。")


def test_bullets_are_asked_for_in_the_prompt_s_language() -> None:
    assert edited(ENGLISH, "bullet_form").endswith("Answer in 3 short bullet points.")
    assert edited(CHINESE, "bullet_form=4").endswith("用4个简短的要点回答。")


def test_compress_takes_out_courtesies_and_keeps_expressions() -> None:
    short = edited(ENGLISH, "compress")
    assert "Read {{ note }} to write a text." in short
    assert "Write about the lamp {{ product }}, please." in short  # the comma's sentence would break without it
    assert "a shop that is old" in short
    chinese = edited(CHINESE, "compress")
    assert "根据{{ features }}介绍。" in chinese
    assert "为台灯{{ product }}写一段介绍。" in chinese
    assert len(chinese) < len(CHINESE.text) - 6


def test_compress_lower_cases_nothing_that_goes_on_after_a_variable() -> None:
    prompt = Prompt("p", (("user", "{{ name }} just asks for {{ thing }} now. please help"),), Path("p.md"))
    assert edit_prompt(prompt, parse_edits("compress")).sections[0][1] == "{{ name }} asks for {{ thing }} now. Help"


def test_dropped_sentences_have_least_to_do_with_the_task() -> None:
    short = edited(ENGLISH, "drop_context=50")
    assert "weather" not in short
    assert "short texts about lamps" in short
    for kept in ("Never invent", "{{ note }}", "{{ product }}", "Name its colour."):
        assert kept in short
    chinese = edited(CHINESE, "drop_context=60")
    assert "天气" not in chinese
    assert "不要编造" in chinese
    assert "{{ features }}" in chinese


def test_a_task_segment_is_never_touched() -> None:
    text = "<!-- segment: context -->\nWe are old. We are many.\n\n<!-- segment: task -->\nWrite. Be good.\n\nThanks."
    prompt = Prompt("p", (("user", text),), Path("p.md"))
    assert edit_prompt(prompt, parse_edits("drop_context=100")).sections[0][1] == (
        "<!-- segment: task -->\nWrite. Be good.\n\nThanks."
    )


@given(percent=st.integers(1, 100), name=st.sampled_from(["en", "zh"]))
def test_more_is_never_kept_when_more_may_go(percent: int, name: str) -> None:
    prompt = ENGLISH if name == "en" else CHINESE
    some, more = (edited(prompt, f"drop_context={p}") for p in (percent, min(percent + 20, 100)))
    assert len(more) <= len(some) <= len(prompt.text)


@given(st.lists(st.sampled_from(["compress", "drop_context=70", "length_cap=9", "bullet_form=2"]), unique=True))
def test_edits_keep_every_variable_and_render(names: list[str]) -> None:
    for prompt in (ENGLISH, CHINESE):
        after = edit_prompt(prompt, parse_edits("+".join(names) or "none"))
        values = {"note": "N. B!", "product": "Lux", "features": "please, very red"}
        told = "\n".join(message.content for message in after.render(values))
        assert all(value in told for name, value in values.items() if f"{{{{ {name} }}}}" in prompt.text)


def test_edits_are_chained_in_order() -> None:
    assert edited(ENGLISH, "compress+length_cap=5").endswith("Name its colour.\nUse at most 5 words.")
    assert n_examples(parse_edits("few_shot+compress")) == DEFAULTS["few_shot"]
    assert n_examples(parse_edits("compress")) == 0


def test_examples_follow_the_system_message() -> None:
    messages = (Message("system", "s"), Message("user", "now"))
    shown = with_examples(messages, [("q1", "a1"), ("q2", "a2")])
    assert [m.role for m in shown] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m.content for m in shown] == ["s", "q1", "a1", "q2", "a2", "now"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lenght_cap", "Did you mean 'length_cap'"),
        ("length_cap=few", "E.g. length_cap=40"),
        ("length_cap=0", "is no edit"),
        ("compress=3", "takes no number"),
        ("drop_context=120", "more than 100 %"),
        ("compress+compress", "stands twice"),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        parse_edits(text)
