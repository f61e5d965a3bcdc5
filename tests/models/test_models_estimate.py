from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Message
from paretoken.models.estimate import estimate_tokens, estimate_usage


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("红色的自行车", 6),
        ("红色 bike", 4),
        ("自転車です", 5),
        ("빨간 자전거", 6),
        ("é" * 8, 2),
    ],
)
def test_four_latin_characters_or_one_wide_one_make_a_token(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_longer_text_never_counts_less(text: str, more: str) -> None:
    assert 0 <= estimate_tokens(text) <= estimate_tokens(text + more) <= len(text + more)


def test_usage_counts_every_message_and_says_that_it_guesses() -> None:
    usage = estimate_usage((Message("system", "abcd"), Message("user", "红车")), "abcdefgh")
    assert (usage.input_tokens, usage.output_tokens, usage.estimated) == (3, 2, True)
