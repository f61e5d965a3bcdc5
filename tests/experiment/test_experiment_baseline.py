"""A run frozen as the baseline of its question, and later runs held against it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from paretoken.analysis.baseline import Baseline, Held
from paretoken.core.errors import SpecError
from paretoken.experiment.api import run
from paretoken.experiment.archive import open_run
from paretoken.experiment.baseline import BASELINE_NAME, hold, load_baseline, save_baseline

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

REPLAY = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {old: free, new: free}}
"""
N = 40


@pytest.fixture
def question(lab: Lab) -> Callable[..., Lab]:
    """An experiment on forty samples with recorded scores of two models, which can be given anew."""

    def make(old: np.ndarray, new: np.ndarray, plan: str = "grid") -> Lab:
        rows = [
            {"model": model, "id": f"s{i}", "text": f"{model} {i}", "tokens_in": 9, "tokens_out": 5, "human": float(s)}
            for model, scores in (("old", old), ("new", new))
            for i, s in enumerate(scores)
        ]
        samples = [
            {"id": f"s{i}", "product": f"lamp {i}", "features": "warm", "copy": f"A lamp {i}."} for i in range(N)
        ]
        lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in samples))
        text = (lab.folder / "spec.yaml").read_text()
        if "echo/a" in text:
            lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
            lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
            lab.edit("  - contains: free", "  - {column: human, range: [0, 1]}")
            lab.edit("maximize: [contains]", "maximize: [human]")
            lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", f"plan: {plan}\n")
        return lab

    return make


def scores(mean: float, seed: int = 0) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.05, N), 0, 1)


def test_a_later_run_is_held_against_it(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1))
    first = run(lab.folder)
    assert first.held is None
    file, frozen, before = save_baseline(first.results, "new")
    assert (file, before) == (lab.folder / BASELINE_NAME, None)
    assert load_baseline(lab.folder / "spec.yaml") == frozen
    assert "lamp" not in file.read_text()
    assert [c.treatment for c in run(lab.folder).held.comparisons] == [
        "old"
    ]  # the frozen one is not held against itself

    question(scores(0.8, 2), scores(0.5, 3))
    later = run(lab.folder, fail_if=["below baseline"])
    found = {c.treatment: c.quality[0].finding for c in later.held.comparisons}
    assert found == {"old": "better", "new": "worse"}
    assert later.exit_code == 1
    assert later.failures == ["below baseline: human of 'new'"]
    below = next(s for s in later.held.sentences if s.startswith('"new"'))
    assert below.startswith(f'"new" is below the baseline "new of {first.results.run.id}" on human: -0.2')
    assert "on 40 samples" in below
    assert run(lab.folder, fail_if=["below baseline"]).exit_code == 1  # a finished run is judged again
    assert run(lab.folder, fail_if=["human better"]).exit_code in (0, 1)


@pytest.mark.parametrize(
    ("condition", "shift", "code"),
    [
        ("below baseline", 0.0, 0),
        ("below baseline or undecided", 0.0, 1),
        ("human below baseline", -0.2, 1),
        ("human below baseline or undecided", 0.2, 0),
    ],
)
def test_gates(question: Callable[..., Lab], condition: str, shift: float, code: int) -> None:
    lab = question(scores(0.6), scores(0.6, 1))
    save_baseline(run(lab.folder).results, "old")
    question(scores(0.6 + shift, 2), scores(0.6 + shift, 3))
    assert run(lab.folder, fail_if=[condition]).exit_code == code


def test_the_control_is_told_but_not_gated(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1), "{abtest: {control: old, treatment: [new]}}")
    save_baseline(run(lab.folder).results, "old")
    question(scores(0.3, 2), scores(0.6, 3))
    outcome = run(lab.folder, fail_if=["below baseline"])
    assert {c.treatment: c.quality[0].finding for c in outcome.held.comparisons}["old"] == "worse"
    assert outcome.exit_code == 0


def test_a_race_is_held_against_it_too(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.9), scores(0.6, 1))
    save_baseline(run(lab.folder).results, "old")
    lab.edit("plan: grid", "plan: {cheapest: {metric: human, within: 0.05}}")
    question(scores(0.5, 2), scores(0.4, 3))
    outcome = run(lab.folder, fail_if=["below baseline"])
    assert outcome.exit_code == 1
    assert all(c.anytime for c in outcome.held.comparisons)


def test_changed_samples_are_left_out(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1))
    save_baseline(run(lab.folder).results, "old")
    question(scores(0.6, 2), scores(0.7, 3))
    text = (lab.folder / "data.jsonl").read_text()
    (lab.folder / "data.jsonl").write_text(text.replace('"A lamp 1', '"Another lamp 1'))
    assert {c.n for c in run(lab.folder).held.comparisons} == {29}
    (lab.folder / "data.jsonl").write_text(text.replace('"A lamp', '"Another lamp'))
    assert "no sample of this run is in the baseline" in run(lab.folder).held.sentences[0]
    with pytest.raises(SpecError, match="no sample is in the baseline"):
        run(lab.folder, fresh=True, fail_if=["below baseline"])


def test_scores_made_in_another_way_are_not_compared(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1))
    save_baseline(run(lab.folder).results, "old")
    lab.edit("range: [0, 1]", "range: [0, 2]")
    with pytest.raises(SpecError, match=r"range=\[0, 1\].*range=\[0, 2\].*freeze that run"):
        run(lab.folder, fail_if=["below baseline"])
    held = run(lab.folder).held
    assert held.comparisons == [] or all(
        not c.quality or c.quality[0].finding == "cannot tell" for c in held.comparisons
    )
    assert "human is not compared with the baseline" in held.sentences[0]
    assert not any("is below" in sentence or "is above" in sentence for sentence in held.sentences)


def test_without_a_baseline_the_gate_stops_before_a_call(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1))
    with pytest.raises(SpecError, match="no baseline to be below"):
        run(lab.folder, fail_if=["below baseline"])
    assert not list(lab.folder.rglob("paretoken.db"))
    (lab.folder / BASELINE_NAME).write_text('{"form": 0}')
    with pytest.raises(SpecError, match="no baseline"):
        run(lab.folder, fail_if=["below baseline"])


def test_what_cannot_be_frozen(question: Callable[..., Lab]) -> None:
    lab = question(scores(0.6), scores(0.7, 1))
    results = run(lab.folder).results
    with pytest.raises(SpecError, match=r"2 variants.*new, old"):
        Baseline.freeze(results)
    with pytest.raises(SpecError, match="Did you mean 'old'"):
        Baseline.freeze(results, "odl")
    first = save_baseline(results, "old")[1]
    assert save_baseline(results, "new")[2] == first
    assert not list(lab.folder.glob("*.new"))
    pilot = run(lab.folder, fresh=True, pilot=10)
    with pytest.raises(SpecError, match="Finish it first"):
        Baseline.freeze(open_run(pilot.results.run.id, lab.folder), "old")


def test_false_alarms_are_as_rare_as_promised(question: Callable[..., Lab]) -> None:
    """Variants that are in truth as good as the baseline are called below in at most alpha of the runs."""
    lab = question(scores(0.6), scores(0.6, 1))
    results = run(lab.folder).results
    held = hold(results) or Held(results, Baseline.freeze(results, "old"))
    rng, alarms, n = np.random.default_rng(7), 0, 400
    for _ in range(n):
        values = {s: float(v) for s, v in zip(results.panel.samples, rng.normal(0.6, 0.05, N), strict=True)}
        ours = rng.normal(0.6, 0.05, (2, N))
        results.__dict__["panel"] = _with(results.panel, ours)
        frozen = Baseline(**{**_fields(held.baseline), "run": "earlier", "values": {"human": values}})
        alarms += any(c.quality[0].finding == "worse" for c in Held(results, frozen).comparisons)
    assert alarms / n <= 0.05 + 2 * (0.05 * 0.95 / n) ** 0.5


def _with(panel, human):
    from dataclasses import replace

    return replace(panel, values={**panel.values, "human": human})


def _fields(baseline: Baseline) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(baseline)
