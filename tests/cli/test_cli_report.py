"""The verb `report` as a page: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _few_refits(monkeypatch):
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 2)  # what is asserted here are no intervals


def test_a_page_is_written_in_the_language_asked_for(lab, cli):
    cli("run", lab.folder)
    body = cli("report", lab.folder, "--html", "page.html", "--lang", "zh", "--json").json
    assert body["html"] == "page.html"
    assert body["findings"].startswith("# copy")
    page = (lab.root / "page.html").read_text("utf-8")
    assert '<html lang="zh-Hans">' in page
    assert "“提示词”决定了 list_usd 差异的" in page
    assert "从“long”到“terse”" in page


def test_a_page_tells_of_the_baseline_and_is_english_unless_asked(lab, cli):
    cli("run", lab.folder, "--limit", "9")
    cli("baseline", "set", lab.folder, "long")
    said = cli("report", lab.folder, "--html", "page.html")
    assert (said.code, said.out, said.err) == (0, "page: page.html\n", "")
    page = (lab.root / "page.html").read_text("utf-8")
    assert '<html lang="en">' in page
    assert "Against the baseline" in page
    assert not [file for file in lab.root.iterdir() if file.name.startswith(".page")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--html", "nowhere/page.html"),
            "nowhere/page.html: the folder nowhere does not exist. Make it: mkdir -p nowhere",
        ),
        (("--html", "lab"), "lab: this is a folder. Name a file: --html lab/report.html"),
        (("--html", "page.html", "--lang", "zhs"), "--lang: there are no pages in 'zhs'. Did you mean 'zh'?"),
        (("--html", "page.html", "--lang", "de"), "--lang: there are no pages in 'de'. Known: en, zh."),
        (("--traces", "3"), "--traces is for MLflow. Add --mlflow."),
        (("--lang", "zh"), "--lang is the language of a page. Say where it goes: --html report.html"),
    ],
)
def test_what_cannot_be_written_is_one_plain_sentence(lab, cli, arguments, told):
    cli("run", lab.folder, "--limit", "2")
    before = lab.files()
    said = cli("report", lab.folder, *arguments)
    assert (said.code, said.out, said.err) == (2, "", f"error: {told}\n")
    assert lab.files().keys() == before.keys()
