"""The verb `drivers` on runs, with planted costs and with nothing to explain."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from paretoken.analysis.drivers import explain_drivers
from paretoken.experiment.api import run

N = 24


@pytest.fixture(autouse=True)
def _few_refits(monkeypatch):
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 4)  # what is asserted here are no intervals


COST = {"small": 1.0, "large": 5.0}
RECORDED = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {small: {input_per_mtok: "1", output_per_mtok: "4"}, large: {input_per_mtok: "5", output_per_mtok: "20"}}}
"""


@pytest.fixture
def fleet(lab):
    """Two recorded models; an answer's tokens depend on its topic."""
    topics = ["law", "music", "food"]
    rows = [{"id": f"s{i:02}", "product": f"lamp {i}", "features": "warm " * (1 + i), "copy": f"Lamp {i}.",
             "topic": topics[i % 3]} for i in range(N)]  # fmt: skip
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    answers = [
        {"model": model, "id": f"s{i:02}", "text": "free" if i % 2 else "no", "tokens_in": 100,
         "tokens_out": 50 + 30 * (i % 3)}
        for model in COST
        for i in range(N)
    ]  # fmt: skip
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', RECORDED)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("control: long\n    treatment: [terse]", "control: large\n    treatment: [small]")
    return lab


def test_the_planted_difference_is_found(fleet, cli):
    run(fleet.folder)
    said = cli("drivers", fleet.folder, "--by", "model", "--sample", "s03", "--variant", "small")
    assert said.code == 0
    assert said.out.startswith("model drives")
    assert "model replay/small would save most: -0.00084 USD a call" in said.out
    assert "not explained" in said.out
    body = cli("drivers", fleet.folder, "--json").json
    effects = {(e["driver"], e["level"]): e["effect"] for e in body["effects"]}
    # 100 tokens in and 80 out on average: 420 and 2,100 millionths of a dollar
    assert effects["model", "replay/large"] - effects["model", "replay/small"] == pytest.approx(1680e-6, rel=0.05)
    assert {s["driver"] for s in body["shares"]} == {"model", "input length", "tag: topic"}
    assert "prompt" not in body["sentences"][0]


def test_a_call_is_a_waterfall_that_adds_up(fleet):
    found = explain_drivers(run(fleet.folder).results)
    first, *steps, last = found.waterfall("s03", "large")
    assert first.effect + sum(s.effect for s in steps) == pytest.approx(last.effect, rel=1e-12)
    assert last.effect == pytest.approx(100 * 5e-6 + 50 * 20e-6)


def test_targets(fleet, cli):
    run(fleet.folder)
    tokens = cli("drivers", fleet.folder, "--target", "output_tokens", "--json").json
    assert tokens["shares"][0]["driver"] == "tag: topic"
    assert cli("drivers", fleet.folder, "--target", "quality", "--json").json["target"] == "contains"
    assert "no call of" in cli("drivers", fleet.folder, "--target", "latency_s").err
    assert "Did you mean 'list_usd'" in cli("drivers", fleet.folder, "--target", "list_us").err


def test_the_order_in_which_calls_came_back_changes_nothing(fleet, cli):
    first = run(fleet.folder).results
    second = run(fleet.folder, fresh=True).results
    rows = second.table
    assert first.run.id != second.run.id
    assert explain_drivers(first).shares == explain_drivers(second).shares
    assert len(rows) == 2 * N


def test_a_run_under_way_is_told(fleet):
    results = run(fleet.folder).results
    results.run = replace(results.run, status="running")
    assert f"{results.run.id} is running: this is what is recorded so far" in explain_drivers(results).sentences


def test_edits_are_flags(lab, cli):
    rows = [{"id": f"s{i}", "product": f"lamp {i}", "features": "warm " * (1 + i % 4), "copy": "x"} for i in range(20)]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit("  temperature: 0.0", "  temperature: 0.0\n  edits: {choices: [none, length_cap, length_cap+compress]}")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "plan: grid\n")
    cli("run", lab.folder)
    body = cli("drivers", lab.folder, "--json").json
    assert {"edit: length_cap", "prompt"} <= {s["driver"] for s in body["shares"]}


def test_few_samples_are_refused_in_one_sentence(lab, cli):
    cli("run", lab.folder, "--limit", 8)
    said = cli("drivers", lab.folder)
    assert said.code == 2
    assert "has 8 samples: whether a driver holds for others cannot be told from fewer than 10" in said.err


def test_one_variant_and_equal_costs(fleet, cli):
    answers = [{"model": m, "id": f"s{i:02}", "text": "free", "tokens_in": 9, "tokens_out": 5} for m in COST
               for i in range(N)]  # fmt: skip
    fleet.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    fleet.edit("     prices: {small:", "     only: [small], prices: {small:")
    fleet.edit("plan:\n  abtest:\n    control: large\n    treatment: [small]\n", "plan: grid\n")
    fleet.edit(', large: {input_per_mtok: "5", output_per_mtok: "20"}', "")
    assert cli("run", fleet.folder).code == 0
    said = cli("drivers", fleet.folder)
    assert said.code == 2
    assert "every call has the same list_usd" in said.err
    assert "there is nothing to explain" in said.err
