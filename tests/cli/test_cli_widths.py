"""Every verb fits the screen: no line is wider, and no word or number is broken inside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from paretoken.cli.app import app, run_command
from paretoken.cli.fitting import cut_middle, fit
from paretoken.report.overview import grouped_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

VERBS: dict[str, list[str]] = {
    "run": ["run", "lab", "--no-picture"],
    "plan": ["plan", "lab"],
    "front": ["front"],
    "compare": ["compare"],
    "select": ["select", "--no-picture"],
    "drivers": ["drivers"],
    "explain": ["explain", "long", "terse"],
    "show": ["show"],
    "show sample": ["show", "--sample", "s1"],
    "runs": ["runs"],
    "costs": ["costs", "last", "--by", "prompt"],
    "budget": ["budget"],
    "prompts": ["prompts", "lab/prompts"],
    "prices": ["prices", "gpt-5-mini"],
    "doctor": ["doctor"],
    "report": ["report", "last"],
    "cheapest": ["cheapest", "lab", "--metric", "contains", "--within", "0.1"],
}
NOTE = {"columns", "column", "more", "shows", "--wide", "them"}
MARKDOWN = ("report",)
"""What is no table of the terminal, and is wrapped by whoever shows it."""


@pytest.fixture
def at(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a verb prints on a screen of some width."""
    monkeypatch.chdir(lab.root)

    def show(width: int, *arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        capsys.readouterr()
        assert run_command(list(arguments)) == 0
        return capsys.readouterr().out

    show(80, "run", "lab", "--no-picture")
    return show


def _words(text: str) -> set[str]:
    """Words and numbers of three signs or more, without what parts them."""
    return {word for word in re.findall(r"[\w.%+-]{3,}", text) if not set(word) <= set("─-_.")}


@pytest.mark.parametrize("verb", [name for name in VERBS if name not in MARKDOWN])
def test_a_verb_fits_every_screen(verb: str, at: Callable[..., str]) -> None:
    whole = _words(at(5000, *VERBS[verb]).replace("…", " "))
    for width in (60, 80, 100, 140):
        shown = at(width, *VERBS[verb])
        for line in shown.splitlines():
            assert cell_len(line) <= width or len(line.split()) <= 1, f"wider than {width}: {line}"
        cut = set(re.findall(r"[\w.%+@-]+(?=…)|(?<=…)[\w.%+@-]+", shown))  # names cut in their middle
        broken = (
            _words(shown.replace("…", " … ")) - whole - cut - {"columns", "column", "more", "shows", "--wide", "them"}
        )
        assert not broken, width


def test_what_is_hidden_is_named_and_comes_with_wide(at: Callable[..., str]) -> None:
    narrow, wide = at(60, "plan", "lab"), at(60, "plan", "lab", "--wide")
    assert "--wide shows them" in narrow
    assert "recorded calls" in wide
    assert "--wide" not in wide


def test_what_decides_is_shown_first() -> None:
    row = {"variant": "a-long-name-of-a-variant", **{f"metric_{i}": "0.12345" for i in range(9)}, "verdict": "front"}
    fitted = fit([row], 60, first=["verdict", "metric_7"])
    assert {"variant", "verdict", "metric_7"} <= set(fitted.widths)
    assert "metric_8" in fitted.hidden
    assert sum(fitted.widths.values()) + 3 * len(fitted.widths) <= 61


@pytest.mark.parametrize("text", ["gpt-4o-mini|long|t=0.7", "提示词很长很长很长的名字|gpt", "short"])
@pytest.mark.parametrize("width", [5, 8, 12, 40])
def test_a_name_is_cut_in_its_middle(text: str, width: int) -> None:
    cut = cut_middle(text, width)
    assert cell_len(cut) <= width
    assert cut == text or ("…" in cut and cut[-1] == text[-1])


def test_every_verb_is_explained_in_one_line_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_command(["--help"])
    lines = re.findall(r"^  [a-z]+  .*$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == len(app.registered_commands) + len(app.registered_groups)
    assert not [line for line in lines if line.endswith(("...", "…"))]


def test_failures_of_one_kind_are_shown_once() -> None:
    failures = [{"sample": f"s{i}", "variant": "terse", "repeat": 0, "error": "HTTP 404"} for i in range(20)]
    failures.append({"sample": "s1", "variant": "long", "repeat": 0, "error": "HTTP 404"})
    assert grouped_failures(failures) == [
        {"variant": "terse", "failed": 20, "samples": "s0, s1, s2, …", "error": "HTTP 404"},
        {"variant": "long", "failed": 1, "samples": "s1", "error": "HTTP 404"},
    ]
