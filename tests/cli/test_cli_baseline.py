"""A baseline in a pipeline: freezing, later runs and the exit codes of their gates."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from paretoken.experiment.baseline import BASELINE_NAME

N = 48


def scores(mean, seed):
    return np.clip(np.random.default_rng(seed).normal(mean, 0.05, N), 0, 1).tolist()


def answer(lab, **by_model):
    rows = [
        {"model": model, "id": f"s{i}", "text": f"{model} {i}", "tokens_in": 9, "tokens_out": 5}
        | ({} if score is None else {"human": score})
        for model, values in by_model.items()
        for i, score in enumerate(values)
    ]
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def copy(lab):
    """An A/B test of two recorded models."""
    answer(lab, old=scores(0.6, 0), new=scores(0.6, 1))
    rows = [{"id": f"s{i}", "product": f"lamp {i}", "features": "warm", "copy": f"Lamp {i}."} for i in range(N)]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit(
        '  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n',
        "  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],\n"
        "     prices: {old: free, new: free}}\n",
    )
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - {column: human, range: [0, 1]}")
    lab.edit("maximize: [contains]", "maximize: [human]")
    lab.edit("control: long\n    treatment: [terse]", "control: old\n    treatment: [new]")
    return lab


@pytest.mark.parametrize(
    ("mean", "words", "codes"),
    [
        (0.8, "is above", (0, 0)),
        (0.6, "may be below or above", (0, 1)),
        (0.4, "is below", (1, 1)),
    ],
)
def test_later_runs_are_gated(copy, cli, tmp_path, mean, words, codes):
    first = cli("run", copy.folder, "--json").json["run"]
    assert cli("baseline", "set", "last", "old").code == 0
    answer(copy, old=scores(0.6, 0), new=scores(mean, 2))
    junit = tmp_path / "junit.xml"
    for condition, code in zip(("below baseline", "human below baseline or undecided"), codes, strict=True):
        said = cli("run", copy.folder, "--fail-if", condition, "--junit", junit)
        assert said.code == code, said.err
        assert f'"new" {words} the baseline "old of {first}" on human' in said.out
        assert (f"gate failed: {condition}: human of 'new'" in said.err) == bool(code)
        cases = {c.get("classname"): c for c in ET.parse(junit).iter("testcase") if ".baseline." in c.get("classname")}
        assert [
            (c.get("name"), c.find("failure") is not None) for name, c in cases.items() if ".new against" in name
        ] == [("human", bool(code))]
    later = cli("run", copy.folder, "--json").json["run"]
    for verb in ("compare", "front", "report"):
        assert f'"new" {words} the baseline "old of {first}" on human' in cli(verb, later).out, verb
    assert cli("front", later, "--json").json["baseline"]
    assert "## Against the baseline" in cli("report", later, "--json").json["findings"]
    controls = [pair["control"] for pair in cli("compare", later, "--json").json]
    assert controls[0] == "old"
    assert set(controls[1:]) == {f"old of {first}"}


def test_a_control_that_is_told_of_but_not_gated_is_no_failure_of_junit(copy, cli, tmp_path):
    cli("run", copy.folder)
    cli("baseline", "set", "last", "old")
    answer(copy, old=scores(0.3, 2), new=scores(0.6, 3))
    junit = tmp_path / "junit.xml"
    said = cli("run", copy.folder, "--fail-if", "below baseline", "--junit", junit)
    assert '"old" is below the baseline' in said.out
    assert said.code == 0
    assert ET.parse(junit).find(".//failure") is None


def test_a_fresh_checkout_shows_and_gates_without_records(copy, cli):
    first = cli("run", copy.folder, "--json").json["run"]
    cli("baseline", "set", "last", "old")
    shutil.rmtree(copy.root / ".paretoken")
    said = cli("baseline", "show", copy.folder)
    assert said.code == 0
    assert f"frozen: old of {first}" in said.out
    assert "compared with nothing" in said.out
    assert cli("baseline", "show", copy.folder, "--json").json["run"] is None
    assert cli("baseline", "show", "last").code == 2
    answer(copy, old=scores(0.6, 0), new=scores(0.4, 2))
    assert cli("run", copy.folder, "--fail-if", "below baseline").code == 1


def test_freezing_tells_what_it_left_out_and_replaced(copy, cli):
    answer(copy, old=[*scores(0.6, 0)[:-3], None, None, None], new=scores(0.6, 1))
    run = cli("run", copy.folder, "--json").json["run"]
    said = cli("baseline", "set", run, "old")
    assert "left out: 3 of 48 samples, which have no human" in said.out
    assert "replaced" not in said.out
    kept = json.loads((copy.folder / BASELINE_NAME).read_text())
    assert len(kept["values"]["human"]) == N - 3
    assert kept["ranges"]["human"] == [0, 1]
    assert "Lamp" not in json.dumps(kept)
    assert f"replaced: old of {run}" in cli("baseline", "set", run, "new").out
    assert cli("baseline", "set", run, "new", "--json").json["before"]["lacking"] == {}


def test_a_run_under_way_is_not_frozen(copy, cli):
    cli("plan", copy.folder, "--pilot", 10)
    said = cli("baseline", "set", "last", "old")
    assert said.code == 2
    assert "a baseline is a finished run" in said.err
    assert not (copy.folder / BASELINE_NAME).exists()


@pytest.mark.parametrize("condition", ["list_usd below baseline", "latency_s below baseline", "humna below baseline"])
def test_only_metrics_can_be_below(copy, cli, condition):
    copy.edit("treatment: [new]", "treatment: [new]\n    margin: {latency_s: 1}")
    cli("run", copy.folder)
    cli("baseline", "set", "last", "old")
    said = cli("run", copy.folder, "--fresh", "--fail-if", condition)
    assert said.code == 2
    assert "does not judge" in said.err
