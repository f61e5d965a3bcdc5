"""Texts that are hard to carry, from the files of an experiment to all that is made of its run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

UGLY = "pot \x1b[31m\x07\ud83d </script>|<b>&]]> \u202e壶"


@pytest.fixture
def ugly(lab: Lab) -> Lab:
    rows = [
        {
            "id": f"caf\u00e9 {i}\x1b[2J\ud800",
            "product": UGLY,
            "features": f"free {UGLY}",
            "copy": UGLY,
            "t\u00fc": "ab"[i % 2],
        }
        for i in range(6)
    ]  # fmt: skip
    lab.write("data.jsonl", "\n".join(map(json.dumps, rows)))
    lab.edit("question: Is the terse prompt cheaper?", 'question: "Half \\ud83d and \\x1b[31mred\\x07?"')
    lab.edit("treatment: [terse]", 'treatment: [terse]\n    segments: ["tu\\u0308"]')
    lab.write("prompts/terse.md", 'Sell {{ product }}: {{ features | tojson }} {{ "\\ud83d" }}')
    return lab


def test_they_reach_everything_and_steer_nothing(ugly: Lab, cli: Callable) -> None:
    runs = cli("run", ugly.folder, "--junit", "j.xml"), cli("run", ugly.folder, "--fresh")
    asked = [cli(*words) for words in (
        ("plan", ugly.folder), ("compare", "last"), ("front", "last"), ("show", "last"), ("runs",), ("report", "last"),
        ("show", "last", "--sample", "cafe\u0301 1\ufffd"), ("report", "last", "--html", "r.html"),
        ("runs", "export", "last", "--to", "x.parquet"), ("prompts", ugly.folder / "prompts"),
    )]  # fmt: skip
    for said in (*runs, *asked):
        assert said.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & {*said.out, *said.err}
        (said.out + said.err).encode()
    page = (ugly.root / "r.html").read_text(encoding="utf-8")
    assert not {"\x1b", "\x07"} & {*page}
    assert "</script>|<b>" not in page
    ET.parse(ugly.root / "j.xml")
    shown = json.loads(cli("show", "last", "--sample", "cafe\u0301 1\ufffd", "--json").out)
    assert shown[0]["answer"].count("\ufffd") >= 1
    answers = pd.read_parquet(ugly.root / "x.parquet")["answer"]
    assert all("\x1b[31m\x07\ufffd </script>" in answer for answer in answers)


def test_a_reference_never_reaches_a_prompt(lab: Lab, cli: Callable) -> None:
    text = "id;product;features;Gold Answers\n" + "".join(f"s{i};pot {i};free;SECRET {i}\n" for i in range(4))
    lab.write("data.csv", text)
    lab.edit("path: data.jsonl, fields: {reference: copy}", "path: data.csv")
    said = cli("plan", lab.folder)
    assert said.code == 2
    fix = 'fields: {reference: "Gold Answers"}'
    assert fix in said.err
    lab.edit("path: data.csv", f"path: data.csv, {fix}")
    assert cli("run", lab.folder).code == 0
    rows = cli("show", "last", "--sample", "s1", "--json").json
    assert all("SECRET" not in row["prompt"] for row in rows)
    lab.edit("{{ product }}: {{ features }}", "{{ input }}", "prompts/terse.md")
    said = cli("plan", lab.folder)
    assert said.code == 2
    assert "no column is the input" in said.err
