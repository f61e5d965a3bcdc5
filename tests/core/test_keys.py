from __future__ import annotations

import json
from base64 import b64encode
from string import ascii_letters, digits
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.keys import hider, is_secret

REAL = st.text(ascii_letters + digits + "/+-_=", min_size=16, max_size=60).filter(lambda key: len(set(key)) > 3)


@pytest.mark.parametrize(
    "word",
    ["ollama", "EMPTY", "none", "NOTHING", "not-needed", "lm-studio", "no key", "xxxxxxxxxxxx", "sk-xxxxxxxx", "1", ""],
)
def test_a_dummy_key_is_no_secret_and_struck_out_of_nothing(word: str):
    assert not is_secret(word)
    assert hider([word])(f"model {word}/m is not loaded by {word}") == f"model {word}/m is not loaded by {word}"


@given(REAL.filter(is_secret), st.sampled_from(["", "a", "ab", "abc"]))
def test_a_real_key_is_hidden_in_every_form(key: str, after: str):
    hide = hider([key])
    for form in (key, quote(key, safe=""), json.dumps(key), b64encode((key + after).encode()).decode()):
        shown = hide(f"before {form} after")
        assert form not in shown
        assert key not in shown
        assert "***" in shown


@given(REAL, st.text(max_size=40))
def test_what_holds_no_key_is_left_as_it_is(key: str, text: str):
    if key[:8] not in text:
        assert hider([key])(text) == text


@given(st.from_regex(r"sk-[a-z0-9]{6,40}[0-9]", fullmatch=True))
def test_a_key_of_a_vendor_is_a_secret(key: str):
    assert is_secret(key)
