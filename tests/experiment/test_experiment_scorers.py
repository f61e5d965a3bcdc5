"""Which scorers a spec stands for, and what they are told of the experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paretoken.core.clock import SystemClock
from paretoken.core.errors import ScoreError, SpecError
from paretoken.experiment.api import run
from paretoken.experiment.resolve import load_design

if TYPE_CHECKING:
    from conftest import Lab


@pytest.mark.parametrize(
    ("scorers", "names"),
    [
        ("[bertscore]", ["bertscore", "facts"]),
        ("[chrf, {bertscore: {layer: 3}}, length]", ["chrf", "bertscore", "facts", "length"]),
        ("[{bertscore: {facts: false}}]", ["bertscore"]),
        ("[{bertscore: {facts: true, layer: 3}}]", ["bertscore", "facts"]),
        ("[facts, bertscore]", ["facts", "bertscore"]),
        ("[chrf]", ["chrf"]),
        ("[quality]", ["quality"]),
    ],
)
def test_facts_go_with_bertscore(lab: Lab, scorers: str, names: list[str]) -> None:
    lab.edit("scorers:\n  - contains: free\n  - max_chars: 90\n", f"scorers: {scorers}\n")
    lab.edit("maximize: [contains]", "")
    assert [scorer.name for scorer in load_design(lab.folder, SystemClock()).scorers] == names


def test_a_misspelt_option_is_named(lab: Lab) -> None:
    lab.edit("  - contains: free", "  - bertscore: {modle: roberta-large}")
    with pytest.raises(SpecError, match=r"no option 'modle'\. Did you mean 'model'"):
        load_design(lab.folder, SystemClock())


def test_idf_weights_are_those_of_the_dataset(lab: Lab) -> None:
    lab.edit("  - contains: free", "  - contains: free\n  - bertscore: {idf: true}")
    design = load_design(lab.folder, SystemClock())
    assert "idf of 12 references" in design.scorers[1].provenance
    assert design.identity == load_design(lab.folder, SystemClock()).identity
    text = (lab.folder / "data.jsonl").read_text()
    (lab.folder / "data.jsonl").write_text(text.replace("kettle", "kettles"))
    assert load_design(lab.folder, SystemClock()).scorers[1].provenance != design.scorers[1].provenance


def test_references_that_are_not_read_stop_the_plan(lab: Lab) -> None:
    text = (lab.folder / "data.jsonl").read_text()
    lab.edit("  - contains: free", "  - contains: free\n  - bertscore")
    load_design(lab.folder, SystemClock())
    (lab.folder / "data.jsonl").write_text(text.replace("kettle", "这款水壶三分钟就能烧开一升水，壶身不锈钢"))
    with pytest.raises(SpecError) as caught:
        load_design(lab.folder, SystemClock())
    assert "spec.yaml" in str(caught.value)
    assert "bert-base-chinese" in str(caught.value)


def test_an_encoder_that_cannot_be_had_stops_the_run_before_a_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    lab.edit("  - contains: free", "  - contains: free\n  - bertscore: {model: bert-base-chinese}")
    with pytest.raises(ScoreError, match="chrf and facts"):
        run(lab.folder)
    assert not list(lab.folder.rglob("paretoken.db"))
