"""Models judged by their agreement with each other, where there is no reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from paretoken.core.errors import SpecError
from paretoken.experiment.api import run

if TYPE_CHECKING:
    from tests.conftest import Lab

REPLAY = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {plain: free, odd: free, wordy: free}}
"""
SAID = {
    "plain": "Item {i} is free for a week.",
    "wordy": "For a whole week item {i} is free of charge.",
    "odd": "Bananas are yellow, {i} of them.",
}


@pytest.fixture
def recording(lab: Lab) -> Lab:
    """Three models' recorded answers to the twelve samples; one of them talks of something else."""
    rows = [
        {"model": model, "id": f"s{i}", "text": text.format(i=i), "tokens_in": 10, "tokens_out": 8}
        for model, text in SAID.items()
        for i in range(12)
    ]
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - contains: free\n  - consensus: chrf")
    lab.edit("maximize: [contains]", "maximize: [consensus]")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    return lab


def test_the_odd_model_agrees_least(recording: Lab) -> None:
    outcome = run(recording.folder)
    assert outcome.exit_code == 0, outcome.ending
    found = {s.label: s.value("consensus") for s in outcome.results.summaries}
    assert min(found, key=lambda label: found[label] or 0.0) == "odd"
    assert all(s.estimates["consensus"].n == 12 for s in outcome.results.summaries)
    assert {r.scores["consensus"].provenance.partition(":")[0] for r in outcome.results.records} == {
        "mean chrf with the other models' answers"
    }
    assert run(recording.folder).progress.made == 0


def test_a_run_that_went_on_scores_all_answers(recording: Lab) -> None:
    whole = {s.label: s.value("consensus") for s in run(recording.folder).results.summaries}
    pilot = run(recording.folder, fresh=True, pilot=5)
    assert all("consensus" not in record.scores for record in pilot.results.records)
    rest = run(recording.folder)
    assert {s.label: s.value("consensus") for s in rest.results.summaries} == whole


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prices: {plain: free, odd: free, wordy: free}", "only: [plain, odd], prices: {plain: free, odd: free}",
         "three models or more"),
        ("seed: 7", "seed: 7\nstore: {content: none}", "they are not kept"),
        ("maximize: [consensus]", "maximize: [consensus]\nplan: race", "decides by scores as they come"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_said_before_anything_is_spent(recording: Lab, old: str, new: str, message: str) -> None:
    recording.edit(old, new)
    with pytest.raises(SpecError) as caught:
        run(recording.folder)
    assert message in str(caught.value)
    assert "scorers" in str(caught.value)
