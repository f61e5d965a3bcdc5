"""Baselines and own metrics from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from paretoken.core.calls import Score
from paretoken.records import Database, SqlJournal

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

METRIC = '''
def brevity(answer, fields, *, words=3):
    """Whether an answer keeps to a number of words."""
    return len(answer.split()) <= words + SHIFT

SHIFT = 40
brevity.range = (0, 1)
'''


@pytest.fixture
def measured(lab: Lab) -> Lab:
    """The lab with a metric of its own."""
    lab.write("metrics/brevity.py", METRIC)
    lab.edit("  - contains: free", "  - metrics/brevity.py:brevity: {words: 4}")
    lab.edit("maximize: [contains]", "maximize: [brevity]")
    return lab


def test_an_own_metric_is_measured_and_part_of_the_run(measured: Lab, cli: Callable) -> None:
    said = cli("run", measured.folder, "--json")
    assert said.code == 0, said.err
    assert all(row["brevity"] == 1.0 for row in said.json["front"])
    first = said.json["run"]
    measured.write("metrics/brevity.py", METRIC.replace("SHIFT = 40", "SHIFT = -40"))
    changed = cli("run", measured.folder, "--json").json
    assert changed["run"] != first
    assert all(row["brevity"] == 0.0 for row in changed["front"])


def test_a_mistake_in_an_own_metric_is_a_line_of_the_spec(measured: Lab, cli: Callable) -> None:
    measured.edit("{words: 4}", "{word: 4}")
    said = cli("plan", measured.folder)
    assert said.code == 2
    assert "spec.yaml:" in said.err
    assert "Did you mean 'words'" in said.err
    measured.write("metrics/brevity.py", "def brevity(answer:\n")
    said = cli("plan", measured.folder)
    assert said.code == 2
    assert "brevity.py:1" in said.err


def test_an_argument_without_a_name_is_not_dropped(measured: Lab, cli: Callable) -> None:
    measured.edit("{words: 4}", "4")
    said = cli("plan", measured.folder)
    assert said.code == 2
    assert "metric 'metrics/brevity.py:brevity' is given 4 without a name" in said.err
    assert "{metrics/brevity.py:brevity: {ARGUMENT: 4}}" in said.err


def test_a_metric_may_not_be_called_like_a_number_that_answers_have(measured: Lab, cli: Callable) -> None:
    measured.edit("{words: 4}", "{words: 4, name: list_usd}")
    said = cli("plan", measured.folder)
    assert said.code == 2
    assert "'list_usd' is a number that every answer has" in said.err


def test_a_failing_metric_is_told_with_its_line_before_anything_is_sent(measured: Lab, cli: Callable) -> None:
    measured.write("metrics/brevity.py", "def brevity(answer, words):\n    return answer.nothing\n")
    said = cli("run", measured.folder)
    assert said.code == 2
    assert "metric 'brevity' failed on sample" in said.err
    assert "brevity.py:2" in said.err
    assert "Traceback" not in said.err


def test_a_baseline_gates_a_pipeline(measured: Lab, cli: Callable, tmp_path) -> None:
    assert cli("run", measured.folder, "--fail-if", "below baseline").code == 2
    run = cli("run", measured.folder, "--json").json["run"]
    assert "Name the one to freeze: long, terse" in cli("baseline", "set", run).err
    said = cli("baseline", "set", measured.folder, "terse")
    assert said.code == 0, said.err
    assert f"frozen: terse of {run}" in said.out
    assert json.loads((measured.folder / "baseline.json").read_text())["run"] == run
    assert cli("run", measured.folder, "--fail-if", "below baseline").code == 0

    text = (measured.folder / "prompts" / "terse.md").read_text()
    measured.write("prompts/terse.md", text.replace("Sell", "Sell, in many words that nobody needs and nobody reads,"))
    junit = tmp_path / "junit.xml"
    said = cli("run", measured.folder, "--fail-if", "below baseline or undecided", "--junit", junit)
    assert said.code in (0, 1)
    assert f'the baseline "terse of {run}" on brevity' in said.out
    cases = [case.get("classname") or "" for case in ET.parse(junit).getroot().iter("testcase")]
    assert any(".baseline." in name for name in cases)
    assert f"frozen: terse of {run}" in cli("baseline", "show", measured.folder).out
    assert cli("baseline", "show", measured.folder, "--json").json["baseline"]["label"] == "terse"
    assert cli("baseline", "rm", measured.folder).code == 0
    assert "nothing is frozen" in cli("baseline", "show", measured.folder).err


def test_scores_made_in_two_ways_are_not_summarised_together(measured: Lab, cli: Callable) -> None:
    run = cli("run", measured.folder, "--json").json["run"]
    with Database(measured.root / ".paretoken" / "paretoken.db") as database:
        journal = SqlJournal(database)
        (score, *_) = (entry for _, entry in journal.read(run) if isinstance(entry, Score))
        journal.append([replace(score, provenance="an older version")])
    said = cli("front", run)
    assert said.code == 5
    assert "scores of 'brevity' were made in two ways" in said.err
    assert "an older version" in said.err
