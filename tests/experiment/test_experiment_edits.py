"""Edits as a dimension of the space: each is a variant of its own, and the sample's data is never touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.trials import Cell
from paretoken.experiment.api import run
from paretoken.experiment.edited import edit_changes
from paretoken.experiment.resolve import load_design

if TYPE_CHECKING:
    from tests.conftest import Lab

EDITS = "[none, compress, length_cap=9, few_shot=2, compress+length_cap=9]"


@pytest.fixture
def edited(lab: Lab) -> Lab:
    lab.edit("  max_tokens: 24\n", f"  max_tokens: 24\n  edits: {{choices: {EDITS}}}\n")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "plan: grid\n")
    return lab


def test_every_edit_is_a_variant(edited: Lab) -> None:
    outcome = run(edited.folder)
    assert outcome.exit_code == 0
    assert len(outcome.results.summaries) == 10
    answers = {(outcome.results.labels[r.variant], r.sample): r.call.request for r in outcome.results.records}
    plain, short = answers["long|edits=none", "s1"], answers["long|edits=compress", "s1"]
    assert plain.messages[-1].content.startswith("Please describe the product lamp")
    assert short.messages[-1].content.startswith("Describe the product lamp")
    assert all(name != "edits" for name, _ in short.params)
    assert answers["terse|edits=length_cap=9", "s1"].messages[-1].content.endswith("Use at most 9 words.")
    assert short.key != plain.key


def test_examples_are_other_samples_and_never_the_own_reference(edited: Lab) -> None:
    design = load_design(edited.folder, SystemClock())
    variant = next(v for v in design.variants if dict(v.params)["edits"] == "few_shot=2")
    for sample in design.samples.values():
        messages = design.request(variant, Cell(sample.id), run="").messages
        answers = [m.content for m in messages if m.role == "assistant"]
        assert len(answers) == 2
        assert sample.reference not in answers
        assert str(sample.fields["product"]) in messages[-1].content


def test_the_plan_says_how_edits_change_the_prompts(edited: Lab) -> None:
    changes = {(c.prompt, c.edits): c for c in edit_changes(load_design(edited.folder, SystemClock()))}
    assert len(changes) == 8
    assert changes["long", "compress"].change_rate < 0
    assert changes["terse", "length_cap=9"].tokens_after > changes["terse", "length_cap=9"].tokens_before
    assert changes["long", "few_shot=2"].change_rate > 0.5


@pytest.mark.parametrize(
    ("edits", "complaint"),
    [
        ("[none, compres]", "Did you mean 'compress'"),
        ("[few_shot=12]", "needs 13 samples with a reference; the dataset has 12"),
    ],
)
def test_edits_that_cannot_be_made_are_refused(edits: str, complaint: str, edited: Lab) -> None:
    edited.edit(EDITS, edits)
    with pytest.raises(SpecError, match=complaint) as caught:
        load_design(edited.folder, SystemClock())
    assert "spec.yaml:" in str(caught.value)
