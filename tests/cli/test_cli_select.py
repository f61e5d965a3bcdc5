"""The verb `select` on runs: the table, its sentences, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import paretoken
from paretoken.core.errors import SpecError
from paretoken.experiment.api import run

N = 12
RECORDED = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out], latency: seconds,
     prices: {small: {input_per_mtok: "1", output_per_mtok: "4"}, large: {input_per_mtok: "5", output_per_mtok: "20"}}}
"""


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("paretoken.analysis.matrix.RESAMPLES", 50)


@pytest.fixture
def fleet(lab):
    """Two recorded models: the small one is cheap and quick, and right about music alone."""
    topics = ["law", "music", "food"]
    rows = [{"id": f"s{i:02}", "product": f"lamp {i}", "features": "warm", "copy": f"Lamp {i}.", "topic": topics[i % 3]}
            for i in range(N)]  # fmt: skip
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    answers = [
        {"model": model, "id": f"s{i:02}", "text": "free" if model == "large" or i % 3 == 1 else "no", "tokens_in": 100,
         "tokens_out": 50, "seconds": 1.0 if model == "small" else 3.0 + (i == 5)}
        for model in ("small", "large")
        for i in range(N)
    ]  # fmt: skip
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', RECORDED)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("control: long\n    treatment: [terse]", "control: large\n    treatment: [small]")
    return lab


def test_the_table_and_its_sentences(fleet, cli):
    run(fleet.folder)
    body = cli("select", fleet.folder, "--sla", "3500ms", "--floor", "0.6", "--json").json
    rows = {row["label"]: row for row in body["rows"]}
    small, large = rows["small"]["readings"], rows["large"]["readings"]
    assert (small["quality"]["value"], large["quality"]["value"]) == (pytest.approx(1 / 3), 1)
    assert small["cost"]["value"] == pytest.approx(3 * 300e-6)  # one in three of its answers is usable
    assert large["cost"]["value"] == pytest.approx(1500e-6)
    assert (rows["large"]["sla_rate"], large["stability"]["value"]) == (pytest.approx(11 / 12), pytest.approx(11 / 12))
    assert (small["latency"]["score"], large["latency"]["score"]) == (1, pytest.approx(1 / (3 + 0.89)))
    assert rows["small"]["failed_scenarios"] == ["topic=food", "topic=law"]
    assert (small["coverage"]["value"], large["coverage"]["value"]) == (pytest.approx(1 / 3), 1)
    totals = [0.3 / 3 + 0.2 + 0.25 + 0.15 + 0.1 / 3, 0.3 + 0.2 / 3.89 + 0.25 * 0.6 + 0.15 * 11 / 12 + 0.1]
    assert [rows[name]["total"] for name in ("small", "large")] == pytest.approx(totals)
    assert body["rows"][0]["label"] == "large"
    said = cli("select", fleet.folder, "--sla", "3.5", "--floor", "0.6")
    assert said.out.startswith('"large" is first with 0.74, before "small" with 0.73; first in ')
    assert '"small" would be first if ' in said.out
    assert "stability: calls answered within 3.5 s" in said.out
    assert "the p99 of 12 calls lies beside their slowest" in said.out
    picture = next(line for line in said.out.splitlines() if line.startswith("picture: ")).removeprefix("picture: ")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


def test_what_a_sentence_names_can_be_typed(fleet, cli):
    run(fleet.folder)
    asked = ("select", fleet.folder, "--floor", "0.6", "--no-picture", "--json")
    flips = cli(*asked).json["flips"]
    assert {flip["dimension"] for flip in flips} >= {"quality", "latency"}
    for flip in flips:
        for step, first in ((-1e-6, "small"), (1e-6, "large")):
            rises = flip["at"] > flip["weight"]
            weight = flip["at"] + (step if (flip["winner"] == "large") == rises else -step)
            again = cli(*asked, "--weight", f"{flip['dimension']}={weight}").json
            assert again["rows"][0]["label"] == first


def test_models_over_all_their_prompts(fleet, cli):
    fleet.edit("[prompts/terse.md]", "[prompts/long.md, prompts/terse.md]")
    fleet.edit("plan:\n  abtest:\n    control: large\n    treatment: [small]\n", "plan: grid\n")
    run(fleet.folder)
    body = cli("select", fleet.folder, "--by", "model", "--no-picture", "--json").json
    assert {row["label"]: row["n"] for row in body["rows"]} == {"replay/small": 2 * N, "replay/large": 2 * N}
    assert len(cli("select", fleet.folder, "--no-picture", "--json").json["rows"]) == 4


def test_without_latency_and_without_a_floor_two_dimensions_are_dropped(fleet, cli):
    fleet.edit("latency: seconds", "latency: none")
    run(fleet.folder)
    body = cli("select", fleet.folder, "--no-picture", "--json").json
    assert body["dropped"].keys() == {"latency", "coverage"}
    assert sum(body["weights"].values()) == pytest.approx(1)
    assert "latency is not measured: no call has one; its weight goes to the others" in body["sentences"]


def test_the_runs_own_limit_is_the_floor(fleet, cli):
    fleet.edit("plan:", 'subject_to: {contains: ">= 0.25"}\nplan:')
    run(fleet.folder)
    body = cli("select", fleet.folder, "--no-picture", "--json").json
    assert body["floor"] == 0.25
    assert "coverage" in body["weights"]


def test_tags_that_the_plan_names_are_the_scenarios(fleet, cli):
    fleet.edit("treatment: [small]\n", "treatment: [small]\n    segments: [product]\n")
    run(fleet.folder)
    body = cli("select", fleet.folder, "--floor", "0.5", "--no-picture", "--json").json
    failed = {row["label"]: row["failed_scenarios"] for row in body["rows"]}
    assert failed["large"] == []
    assert failed["small"] == sorted(f"product=lamp {i}" for i in range(N) if i % 3 != 1)


def test_the_order_in_which_calls_came_back_changes_nothing(fleet):
    first, second = run(fleet.folder).results, run(fleet.folder, fresh=True).results
    backwards = replace(second.table, sample_ids=second.table.sample_ids[::-1], sample=N - 1 - second.table.sample)
    second.table = backwards
    one, other = paretoken.select(first, floor=0.6), paretoken.select(second, floor=0.6)
    assert one.rows == other.rows
    assert first.run.id != second.run.id


def test_a_stopped_run_is_read_as_far_as_all_candidates_went(fleet):
    results = run(fleet.folder).results
    table = results.table
    gone = (table.sample == N - 1) & (table.variant == 1)
    results.table = replace(table, variant=np.where(gone, 0, table.variant), sample=np.where(gone, 0, table.sample))
    results.run = replace(results.run, status="stopped")
    found = paretoken.select(results)
    assert found.n_samples == N - 1
    assert f"{results.run.id} is stopped: this is what is recorded so far" in found.notes
    assert "1 samples that not all candidates were asked are left out" in found.notes


def test_variants_that_left_a_race_are_no_candidates(fleet):
    fleet.edit("plan:\n  abtest:\n    control: large\n    treatment: [small]\n",
               "plan:\n  cheapest: {metric: contains, within: 0.1}\n")  # fmt: skip
    results = run(fleet.folder).results
    with pytest.raises(SpecError, match="has one variant to choose from, large: the others left the race"):
        paretoken.select(results)


def test_what_a_race_kept_is_weighed(fleet):
    fleet.edit("plan:\n  abtest:\n    control: large\n    treatment: [small]\n",
               "plan: {race: {epsilon: {contains: 0.02}}}\n")  # fmt: skip
    fleet.edit("[prompts/terse.md]", "[prompts/long.md, prompts/terse.md]")
    found = paretoken.select(run(fleet.folder).results, floor=0.5)
    assert {row.label for row in found.rows} == {"long|large", "long|small"}
    assert "2 variants that left the race are no candidates" in found.notes


MISTAKES = {
    "--weight qualty=0.5": "'qualty' is no dimension. Did you mean 'quality'?",
    "--weight quality=-1": "the weight of quality is -1. Give a number that is not negative.",
    "--weight quality": "'quality' is no weight. Write a name and a number: quality=0.5.",
    "--weight quality=0 --weight latency=0 --weight cost=0 --weight stability=0 --weight coverage=0":
        "all weights are zero. Give",
    "--weight quality=0.9 --weight cost=0.9": "the weights of quality, cost add up to 1.8",
    "--sla 5parsecs": "'5parsecs' is no time. Write it as 5s or 800ms.",
    "--sla 0s": "a latency limit of 0 s cannot be kept. Give one above 0 s.",
    "--sla nan": "a latency limit of nan s cannot be kept.",
    "--metric contain": "is no metric of copy-",
    "--floor 7": "7 is no floor for contains. Its scale goes from 0 to 1.",
    "--by modell": "'modell' is nothing to choose from. Did you mean 'model'?",
}  # fmt: skip


def test_mistakes_are_one_sentence(fleet, cli):
    run(fleet.folder)
    for arguments, said in MISTAKES.items():
        answer = cli("select", fleet.folder, *arguments.split())
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err
        assert answer.err.count("\n") == 1


def test_runs_that_have_nothing_to_choose_from(fleet, cli):
    results = run(fleet.folder).results
    assert "no run" in cli("select", "nothing-like-it").err
    results.run = replace(results.run, status="running")
    with pytest.raises(SpecError, match="is not finished: a winner that is picked on the way is picked by chance"):
        paretoken.select(results)
    fleet.edit("     prices: {small:", "     only: [small], prices: {small:")
    fleet.edit(', large: {input_per_mtok: "5", output_per_mtok: "20"}', "")
    fleet.edit("plan:\n  abtest:\n    control: large\n    treatment: [small]\n", "plan: grid\n")
    run(fleet.folder)
    said = cli("select", fleet.folder)
    assert said.code == 2
    assert "has one variant to choose from, terse. It takes two." in said.err


def test_a_metric_that_is_minimised_is_no_quality(fleet, cli):
    fleet.edit("minimize: [list_usd]\nmaximize: [contains]", "minimize: [contains]")
    fleet.edit("  abtest:\n    control: large\n    treatment: [small]", "  grid: {}")
    fleet.edit("  - max_chars: 90\n", "")
    results = run(fleet.folder).results
    assert results.objectives.minimize == ("contains",)
    assert paretoken.select(results).metric is None
    assert "no metric of which more is better" in cli("drivers", fleet.folder, "--target", "quality").err


def test_a_moved_project_is_written_to_where_it_is(fleet, cli, monkeypatch):
    run(fleet.folder)
    moved = fleet.root.with_name("moved")
    shutil.move(fleet.root, moved)
    monkeypatch.chdir(moved)
    said = cli("select", "last", "--json")
    assert Path(said.json["picture"]).is_relative_to(moved)
    assert not fleet.root.exists()


def test_a_run_without_scorers_is_chosen_from_by_the_rest(fleet, cli):
    fleet.edit("scorers:\n  - contains: free\n  - max_chars: 90\n", "")
    fleet.edit("maximize: [contains]\n", "")
    run(fleet.folder)
    body = cli("select", fleet.folder, "--no-picture", "--json").json
    assert body["dropped"]["quality"] == "the run has no metric"
    assert "its spec names no scorers" in cli("select", fleet.folder, "--floor", "0.5").err
