from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.cli.app import run_command
from paretoken.cli.screen import note, print_json, print_rows, say, write_anything

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED = ["ascii", "cp1252", "gbk", "latin-1", "utf-8", "utf-16"]


def written(encoding: str, write: Callable[[], object]) -> str:
    """What reaches a stdout of an encoding, as its reader decodes it."""
    real, sys.stdout = sys.stdout, TextIOWrapper(BytesIO(), encoding=encoding, write_through=True)
    try:
        write_anything()
        write()
        return sys.stdout.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    finally:
        sys.stdout = real


@pytest.mark.parametrize("encoding", NAMED)
@given(st.text(st.characters(), max_size=30))
def test_every_text_can_be_written_in_every_encoding(encoding: str, text: str) -> None:
    written(encoding, lambda: (say(text), print_rows([{"answer": text, "n": 1}], title=text)))
    shown = written(encoding, lambda: print_json({"answer": [text], text: 1}))
    value = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert json.loads(shown) == {"answer": [value], value: 1}


@given(st.text(st.characters(), max_size=30))
def test_what_data_says_never_steers_a_terminal(text: str) -> None:
    steering = f"a{text}\x1b[31m{text}\x1b]0;title\x07b\x9b2J\x00\u202e"
    shown = written("utf-8", lambda: (say(steering), print_rows([{steering: steering}], title=steering)))
    assert not [sign for sign in shown if (ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160]
    assert "\u202e" not in shown


def test_lines_and_arrows_have_plain_forms() -> None:
    assert written("ascii", lambda: say("a → b ≤ c · d – e")) == "a -> b <= c * d - e\n"
    assert written("ascii", lambda: say("水壶")) == "??\n"
    assert written("gbk", lambda: say("水壶 🎉")) == "水壶 ?\n"


def test_json_has_no_numbers_that_json_lacks() -> None:
    assert json.loads(written("utf-8", lambda: print_json([float("inf"), float("nan"), 1.5]))) == [
        "Infinity",
        "NaN",
        1.5,
    ]


def test_errors_are_written_too(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = TextIOWrapper(BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    assert run_command(["plan", "\x1b[31m水.yaml"]) == 2
    note("壶 → x")
    said = stream.buffer.getvalue().decode("ascii")
    assert "\x1b" not in said
    assert "?.yaml" in said
    assert "? -> x" in said
