"""A gate on the baseline never passes because nothing was compared."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from paretoken.core.errors import SpecError
from paretoken.experiment.api import run
from paretoken.experiment.baseline import BASELINE_NAME, save_baseline

N = 40
REPLAY = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {old: free, new: free}}
"""


def scores(mean, seed=0):
    return np.clip(np.random.default_rng(seed).normal(mean, 0.05, N), 0, 1)


def answer(lab, **by_model):
    """Give the recorded answers of the models anew."""
    rows = [
        {"model": model, "id": f"s{i}", "text": f"{model} {i}", "tokens_in": 9, "tokens_out": 5, "human": float(s)}
        for model, values in by_model.items()
        for i, s in enumerate(values)
    ]
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def frozen(lab):
    """A grid of two recorded models, of which `old` (0.6) is frozen."""
    answer(lab, old=scores(0.6), new=scores(0.6, 1))
    rows = [{"id": f"s{i}", "product": f"lamp {i}", "features": "warm", "copy": f"Lamp {i}."} for i in range(N)]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - {column: human, range: [0, 1]}")
    lab.edit("maximize: [contains]", "maximize: [human]")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "plan: grid\n")
    save_baseline(run(lab.folder).results, "old")
    return lab


def body(lab):
    return json.loads((lab.folder / BASELINE_NAME).read_text())


def rewrite(lab, **changed):
    lab.write(BASELINE_NAME, json.dumps({**body(lab), **changed}))


def test_a_fresh_checkout_asks_the_frozen_variant_again(frozen):
    """Its run has the id of the frozen one, but other answers: a model that got worse behind its name is found."""
    values = body(frozen)["values"]
    rewrite(frozen, values={**values, "human": {id_: v + 0.2 for id_, v in values["human"].items()}})
    assert {c.treatment for c in run(frozen.folder).held.comparisons} == {"new"}  # still the very same run
    shutil.rmtree(frozen.root / ".paretoken")
    outcome = run(frozen.folder, fail_if=["below baseline"])
    assert outcome.results.run.id == body(frozen)["run"]
    assert {c.treatment: c.quality[0].finding for c in outcome.held.comparisons} == {"old": "worse", "new": "worse"}
    assert outcome.exit_code == 1


def test_a_race_takes_no_other_gate_along(frozen):
    frozen.edit("plan: grid", "plan: {cheapest: {metric: human, within: 0.05}}")
    with pytest.raises(SpecError, match="a race compares no treatment with a control"):
        run(frozen.folder, fail_if=["below baseline", "human worse"])


def test_a_race_that_chose_nothing_says_so(frozen):
    frozen.edit("plan: grid", "subject_to: {human: '>= 0.95'}\nplan: {cheapest: {}}")
    outcome = run(frozen.folder, fail_if=["below baseline or undecided"])
    assert outcome.held.comparisons == []
    assert "chose no variant" in outcome.held.sentences[0]
    assert outcome.exit_code == 1
    assert "chose no variant" in outcome.failures[0]


def test_the_frozen_run_is_the_baseline_itself(frozen):
    answer(frozen, new=scores(0.6, 1))
    frozen.edit("prices: {old: free, new: free}", "prices: {new: free}")
    save_baseline(run(frozen.folder).results)
    outcome = run(frozen.folder, fail_if=["below baseline or undecided"])
    assert outcome.held.sentences == [f'this run\'s "terse" is the baseline itself ({body(frozen)["run"]})']
    assert outcome.exit_code == 0


@pytest.mark.parametrize("lacking", ["provenance", "values"])
def test_a_metric_that_the_baseline_lacks_stops_the_gate(frozen, lacking):
    rewrite(frozen, **{lacking: {k: v for k, v in body(frozen)[lacking].items() if k != "human"}})
    before = frozen.files()
    with pytest.raises(SpecError, match="human is not compared with the baseline: it has no scores of it"):
        run(frozen.folder, fresh=True, fail_if=["below baseline"])
    assert frozen.files() == before
    assert "it has no scores of it" in run(frozen.folder).held.sentences[0]


def test_only_the_metric_of_the_gate_must_be_comparable(frozen):
    frozen.edit("maximize: [human]", "maximize: [human, max_chars]")
    frozen.edit("- max_chars: 90", "- max_chars: 80")
    with pytest.raises(SpecError, match=r"max_chars 2\(90\).*max_chars 2\(80\)"):
        run(frozen.folder, fail_if=["below baseline"])
    outcome = run(frozen.folder, fail_if=["human below baseline"])
    assert outcome.exit_code == 0
    assert "max_chars is not compared" in outcome.held.sentences[0]
    assert all(j.difference.name == "human" for c in outcome.held.comparisons for j in c.quality)


def test_the_samples_of_a_limited_run_must_be_in_the_baseline(frozen):
    drawn = set(run(frozen.folder, limit=12).results.panel.samples)
    values = {id_: v for id_, v in body(frozen)["values"]["human"].items() if id_ not in drawn}
    rewrite(frozen, values={**body(frozen)["values"], "human": values})
    with pytest.raises(SpecError, match="no sample is in the baseline"):
        run(frozen.folder, limit=12, fresh=True, fail_if=["below baseline"])


@pytest.mark.parametrize("text", ["null", "[]", '"x"', "{}", "<<<<<<< ours", '{"form": 1}'])
def test_a_broken_file_is_told_before_anything_is_spent(frozen, text):
    frozen.write(BASELINE_NAME, text)
    before = frozen.files()
    with pytest.raises(SpecError, match="this is no baseline"):
        run(frozen.folder, fresh=True)
    assert frozen.files() == before


@pytest.mark.parametrize("values", [{"human": 3}, {"human": {"s1": "high"}}, {"human": {"s1": float("nan")}}, []])
def test_values_must_be_numbers(frozen, values):
    rewrite(frozen, values=values)
    with pytest.raises(SpecError, match="this is no baseline"):
        run(frozen.folder)


def test_a_failed_write_leaves_what_was_frozen(frozen, monkeypatch):
    before, results = (frozen.folder / BASELINE_NAME).read_bytes(), run(frozen.folder).results

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("paretoken.experiment.baseline.os.replace", fail)
    with pytest.raises(SpecError, match="disk full"):
        save_baseline(results, "new")
    assert (frozen.folder / BASELINE_NAME).read_bytes() == before
    assert not list(frozen.folder.glob(f"{BASELINE_NAME}?*"))


def test_a_real_drop_is_found(frozen):
    answer(frozen, old=scores(0.6), new=scores(0.54, 1))
    found = {c.treatment: c.quality[0].finding for c in run(frozen.folder).held.comparisons}
    assert found["new"] == "worse"
