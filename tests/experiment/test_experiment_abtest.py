"""A/B tests from the spec to the verdict, on recorded answers."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.trials import Cell
from paretoken.experiment.api import plan, run
from paretoken.experiment.archive import open_run
from paretoken.experiment.reach import recorded_outlook
from paretoken.experiment.resolve import load_design
from paretoken.report.junit import save_junit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Lab

N = 240
SPEC = """\
experiment: recorded
question: Is the small one as good?
seed: 3
dataset: {path: data.jsonl, fields: {id: id, input: text}}
prompts: [prompts/terse.md]
models:
  - replay: answers.jsonl
    by: model
    key: id
    output: text
    usage: [tokens_in, tokens_out]
    prices: {big: {input_per_mtok: "5", output_per_mtok: "20"}, small: {input_per_mtok: "1", output_per_mtok: "4"},
             poor: {input_per_mtok: "1", output_per_mtok: "4"}, same: {input_per_mtok: "5", output_per_mtok: "20"}}
scorers: [{column: human, range: [0, 1]}]
maximize: [human]
plan:
  abtest:
    control: big
    treatment: [small, poor]
    margin: {human: 0.1}
    range: {list_usd: [0, 0.005]}
    mode: continuous
concurrency: 16
"""


@pytest.fixture
def recorded(lab: Lab) -> Lab:
    """Four models' answers to 240 samples: `small` is as good as `big`, `poor` is worse, `same` is like `big`."""
    rng = random.Random(5)
    lab.write("spec.yaml", SPEC)
    lab.write("prompts/terse.md", "# user\n{{ text }}\n")
    kinds = [("mail", "chat")[i % 2] for i in range(N)]
    rows = [{"id": f"s{i}", "text": f"text {i}", "kind": kind, "page": f"p{i // 4}"} for i, kind in enumerate(kinds)]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    answers = []
    for i in range(N):
        ease = rng.uniform(0.4, 0.9)
        for model, loss in (("big", 0.0), ("small", 0.0), ("poor", 0.3), ("same", 0.0)):
            human = min(1.0, max(0.0, ease - loss + rng.gauss(0, 0.08)))
            answers.append({"model": model, "id": f"s{i}", "text": "x", "human": human, "tokens_in": 100,
                            "tokens_out": rng.randint(40, 60)})  # fmt: skip
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    return lab


def test_a_continuous_test_ends_when_every_question_is_answered(recorded: Lab) -> None:
    outcome = run(recorded.folder)
    assert outcome.ending.status == "finished"
    assert "every question is answered" in outcome.ending.reason
    assert outcome.progress.done < 0.6 * 3 * N
    small, poor = outcome.results.comparisons
    assert (small.verdict, poor.verdict) == ("cheaper, not worse", "worse")
    assert small.n < N
    assert f"of {N} planned" in small.sentence
    assert small.anytime
    again = run(recorded.folder)
    assert (again.progress.made, again.results.verdicts) == (0, outcome.results.verdicts)


def test_an_interrupted_test_ends_like_one_that_was_not(recorded: Lab, tmp_path: Path) -> None:
    assert run(recorded.folder, pilot=24).ending.status == "stopped"
    resumed = run(recorded.folder)
    whole = run(recorded.folder, fresh=True)
    assert resumed.results.verdicts == whole.results.verdicts
    assert resumed.ending.reason == whole.ending.reason


def test_a_settled_treatment_is_asked_no_further(recorded: Lab) -> None:
    recorded.edit("treatment: [small, poor]", "treatment: [poor, same]")
    recorded.edit("margin: {human: 0.1}", "margin: {human: 0.04}")
    outcome = run(recorded.folder)
    asked = {s.label: s.n for s in outcome.results.summaries}
    assert asked["poor"] < asked["same"] <= asked["big"]


def test_arms_that_cost_the_same_are_given_up_as_futile(recorded: Lab) -> None:
    recorded.edit("treatment: [small, poor]", "treatment: [same]")
    outcome = run(recorded.folder)
    assert outcome.ending.reason.startswith("futile: the samples left would hardly settle what is open on same")
    assert outcome.results.comparisons[0].verdict.startswith("undecided")
    assert "more samples" in outcome.results.comparisons[0].sentence


def test_a_winner_is_confirmed_on_samples_held_out(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed\n    confirm: 0.3")
    outcome = run(recorded.folder)
    results = outcome.results
    assert {s.label: s.n for s in results.summaries} == {"big": N, "small": N, "poor": 168}
    assert results.confirmation is not None
    assert (results.confirmation.treatment, results.confirmation.n) == ("small", 72)
    assert results.comparisons[0].n == 168
    assert results.verdicts[-1].startswith("confirmed on held-out samples")


def test_parts_of_a_dataset_speak_of_all_of_it(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed\n    confirm: 0.3\n    population: dataset")
    results = run(recorded.folder).results
    assert "on these 240 samples (n = 168, selection)" in results.comparisons[0].sentence
    assert "on these 240 samples (n = 72, held out)" in results.verdicts[-1]


def test_a_winner_that_was_not_yet_put_to_the_held_out_samples_is_not_called_none(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed\n    confirm: 0.3")
    results = run(recorded.folder, pilot=168).results
    assert results.comparisons[0].verdict == "cheaper, not worse"
    assert results.confirmation is None
    assert results.verdicts[-1] == 'not confirmed yet: "small" has answered no sample that is held out'


def test_a_pair_named_before_the_end_of_a_fixed_test_is_read_like_the_whole_test(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed")
    results = run(recorded.folder, pilot=60).results
    assert results.compare("big", "small").anytime
    assert not run(recorded.folder).results.compare("big", "small").anytime


def test_nothing_is_spent_on_confirming_no_winner(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed\n    confirm: 0.3")
    recorded.edit("treatment: [small, poor]", "treatment: [poor]")
    outcome = run(recorded.folder)
    assert outcome.progress.done == 2 * 168
    assert outcome.results.confirmation is None
    assert "nothing to confirm" in outcome.results.verdicts[-1]
    assert "none to confirm" in outcome.ending.reason


def test_an_aa_test_finds_no_difference_at_the_promised_rate(recorded: Lab) -> None:
    outcome = run(recorded.folder, aa=True)
    rate = outcome.results.false_difference_rate
    assert rate is not None
    assert rate <= 0.05
    assert outcome.exit_code == 0
    assert "random relabellings" in outcome.results.verdicts[-1]
    assert all("labels swapped at random)" in sentence for sentence in outcome.results.verdicts[:-1])
    assert not any("more samples" in sentence for sentence in outcome.results.verdicts)
    test = run(recorded.folder).results.run.id
    assert outcome.results.run.id != test
    run(recorded.folder, aa=True, fresh=True)
    assert open_run(recorded.folder).run.id == test  # a spec stands for its test, not for the latest check of it


def test_copies_of_a_warm_arm_have_seeds_and_cache_of_their_own(lab: Lab) -> None:
    lab.edit("temperature: 0.0", "temperature: 1.0")
    design = load_design(lab.folder, SystemClock(), aa=True)
    a, b = design.variants
    assert [design.labels[v.id] for v in (a, b)] == ["copy 1", "copy 2"]
    cell = next(iter(design.samples))
    first, second = (design.request(v, Cell(cell), run="") for v in (a, b))
    assert first.messages == second.messages
    assert first.seed != second.seed
    assert first.key != second.key


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("human worse", 1),
        ("verdict undecided", 0),
        ("list_usd dearer or undecided", 0),
        ("list_usd more expensive or undecided", 0),
        ("human not worse", 1),
    ],
)
def test_a_gate_fails_the_run(condition: str, code: int, recorded: Lab, tmp_path: Path) -> None:
    outcome = run(recorded.folder, fail_if=[condition])
    assert outcome.exit_code == code
    assert len(outcome.failures) == code
    save_junit(outcome.results, outcome.gates, tmp_path / "out" / "junit.xml")
    suite = ET.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("5", str(code))


def test_a_gate_on_what_is_undecided_does_not_let_pass_what_cannot_be_told(recorded: Lab) -> None:
    rows: list[dict[str, Any]] = [json.loads(r) for r in (recorded.folder / "answers.jsonl").read_text().splitlines()]
    recorded.write("answers.jsonl", "".join(json.dumps(row | {"human": None}) + "\n" for row in rows))
    assert run(recorded.folder, fail_if=["human worse"]).exit_code == 0
    assert run(recorded.folder, fail_if=["human worse or undecided"]).exit_code == 1


@pytest.mark.parametrize("condition", ["bleu worse", "human", "human wrose", "human worse and undecided"])
def test_a_gate_that_cannot_be_read_is_refused_before_the_run(condition: str, recorded: Lab) -> None:
    with pytest.raises(SpecError, match="--fail-if"):
        run(recorded.folder, fail_if=[condition])
    assert not recorded.database.exists()


def test_segments_compare_within_each_tag(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed\n    segments: [kind]")
    found = run(recorded.folder).results.segments()
    assert {(column, value) for column, value, _ in found} == {("kind", "mail"), ("kind", "chat")}
    assert all(comparison.n == N // 2 for _, _, comparison in found)


def test_clusters_widen_the_interval_and_are_kept_without_texts(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed")
    alone = run(recorded.folder).results.comparisons[0]
    recorded.edit("input: text}", "input: text, cluster: page}")
    recorded.edit("concurrency: 16", "concurrency: 16\nstore: {content: none}")
    results = run(recorded.folder).results
    assert results.panel.n_units == N // 4
    assert "(n = 240, in 60 clusters)" in results.comparisons[0].sentence
    assert all("input" not in body for body in results.samples.values())
    together = results.comparisons[0]
    assert together.quality[0].difference.difference == pytest.approx(alone.quality[0].difference.difference)
    assert together.quality[0].difference.low != alone.quality[0].difference.low


def test_repeats_split_the_noise(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed")
    recorded.edit("concurrency: 16", "concurrency: 16\nrepeats: 2")
    cost, (label, split), *_ = run(recorded.folder).results.variance_splits()
    assert (cost[1].name, cost[1].scorer) == ("list_usd", None)  # no scorer had a say in it
    assert label == "small"
    assert split.sample == pytest.approx(2 * 0.08**2, rel=0.4)
    assert split.answer == pytest.approx(0, abs=1e-12)  # the recording holds one answer a sample
    assert split.worth == 1


def test_the_plan_says_what_the_samples_can_show(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed")
    design, _ = plan(recorded.folder)
    assert recorded_outlook(design) == []
    run(recorded.folder, pilot=40)
    found = {(o.treatment, o.reach.name): o.reach for o in recorded_outlook(design)}
    quality = found["small", "human"]
    assert (quality.seen, quality.planned) == (40, N)
    assert quality.spread == pytest.approx(0.11, rel=0.3)
    assert quality.power is not None
    assert quality.power > 0.99
    assert quality.needs is not None
    assert quality.needs < 40
    recorded.edit("margin: {human: 0.1}", "margin: {human: 0.005}")
    small, *_ = [o for o in recorded_outlook(load_design(recorded.folder, SystemClock())) if o.reach.name == "human"]
    assert small.too_small
    recorded.edit("range: [0, 1]}]", "range: [0, 2]}]")
    found = recorded_outlook(load_design(recorded.folder, SystemClock()))
    assert {o.reach.name for o in found} == {"list_usd"}  # what another scorer measured is not counted
    recorded.edit("range: [0, 2]}]", "range: [0, 1]}]")
    recorded.edit("mode: fixed", "mode: fixed\n    population: dataset")
    seen, *_ = [o for o in recorded_outlook(load_design(recorded.folder, SystemClock())) if o.reach.name == "human"]
    assert not seen.too_small
    assert (seen.reach.power, seen.reach.detectable) == (1, 0)  # all of the dataset will be seen
    assert seen.reach.needs is not None
    assert 0.8 * N < seen.reach.needs <= N


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("treatment: [small, poor]", "treatment: []", r"treatment.*a control alone is no test"),
        ("margin: {human: 0.1}", "margin: {human: -0.1}", r"margin.human.*largest loss.*above 0"),
        ("margin: {human: 0.1}", "margin: {human: 2}", r"margin.human.*between 0 and 1: no loss could exceed 2"),
        ("mode: continuous", "mode: continuous\n    alpha: 0.5", r"alpha.*between 0 and 0.5"),
        ("mode: continuous", "mode: continuous\n    alpha: 0", r"alpha.*between 0 and 0.5"),
        ("mode: continuous", "mode: sometimes", r"mode.*'fixed' or 'continuous'"),
        ("mode: continuous", "segments: [colour]", r"segments\[0\].*no column 'colour'"),
        ("mode: continuous", "confirm: 0.99", r"confirm.*Both need at least 10"),
        ("range: {list_usd: [0, 0.005]}", "range: {list_usd: [1, 0]}", r"range.list_usd.*lowest, highest"),
        ("range: {list_usd: [0, 0.005]}", "range: {list_eur: [0, 1]}", r"range.list_eur.*Did you mean 'list_usd'"),
        ("[{column: human, range: [0, 1]}]", "[{column: human}]", r"'human' has no bounds"),
        (
            "[{column: human, range: [0, 1]}]",
            "[{column: humn, range: [0, 1]}]",
            r"'humn' is recorded.*mean 'human'",
        ),
        ("input: text}", "input: text, cluster: pages}", r"column 'pages' is not in the dataset"),
        ("maximize: [human]", "minimize: [list_usd, human]", r"minimize.*'human' is minimised"),
    ],
)
def test_a_test_that_cannot_be_made_is_refused(old: str, new: str, complaint: str, recorded: Lab) -> None:
    recorded.edit(old, new)
    with pytest.raises(SpecError, match=complaint) as caught:
        load_design(recorded.folder, SystemClock())
    assert "spec.yaml:" in str(caught.value) or "data.jsonl" in str(caught.value)


def test_a_metric_that_is_minimised_is_not_judged_as_if_more_were_better(recorded: Lab) -> None:
    text = (recorded.folder / "spec.yaml").read_text()
    start = text.index("maximize:")
    recorded.write(
        "spec.yaml", text[:start] + "minimize: [list_usd, human]\nplan: grid\n" + text[text.index("concurr") :]
    )
    pair = run(recorded.folder).results.compare("big", "poor")
    assert [j.difference.name for j in pair.judged] == ["list_usd"]


def test_aa_needs_an_ab_test(recorded: Lab) -> None:
    text = (recorded.folder / "spec.yaml").read_text()
    start = text.index("plan:")
    recorded.write("spec.yaml", text[:start] + "plan: grid\n" + text[text.index("concurrency") :])
    with pytest.raises(SpecError, match="only an A/B test"):
        run(recorded.folder, aa=True)


@pytest.mark.parametrize("mode", ["fixed", "continuous"])
def test_scores_that_are_often_missing_tell_nothing(mode: str, recorded: Lab) -> None:
    rows: list[dict[str, Any]] = [json.loads(r) for r in (recorded.folder / "answers.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        if row["model"] == "small" and i % 12 == 1:
            row["human"] = None
    recorded.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    recorded.edit("mode: continuous", f"mode: {mode}")
    small = run(recorded.folder).results.comparisons[0]
    assert small.quality[0].finding == "cannot tell"
    assert "lack a value" in small.sentence


def test_earlier_runs_tell_how_difficult_these_samples_are(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: continuous\n    population: dataset")
    first = run(recorded.folder)
    assert first.results.run.lock["difficulty"] == {}
    recorded.edit("treatment: [small, poor]", "treatment: [same]")
    recorded.edit("mode: continuous", "mode: fixed")
    run(recorded.folder)  # `big` and `same` on all samples
    recorded.edit("control: big\n    treatment: [same]", "control: small\n    treatment: [poor]")
    recorded.edit("mode: fixed", "mode: continuous")
    results = run(recorded.folder).results
    difficulty: Any = results.run.lock["difficulty"]
    assert set(difficulty) == {"human"}
    assert len(difficulty["human"]) == N
    assert results.comparisons[0].verdict.endswith("worse")
    assert results.panel.difficulty["human"].std() > 0.1


@pytest.mark.parametrize("mode", ["fixed", "continuous"])
def test_the_tail_of_latency_is_compared_where_it_has_a_margin(mode: str, recorded: Lab) -> None:
    rng = random.Random(8)
    rows: list[dict[str, Any]] = [json.loads(r) for r in (recorded.folder / "answers.jsonl").read_text().splitlines()]
    for row in rows:
        row["seconds"] = rng.lognormvariate(0, 0.3) * (1 if row["model"] == "big" else 0.3)
    recorded.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    recorded.edit("usage: [tokens_in, tokens_out]", "usage: [tokens_in, tokens_out]\n    latency: seconds")
    recorded.edit("margin: {human: 0.1}", "margin: {human: 0.1, latency_s.p95: 0.2}")
    recorded.edit("mode: continuous", f"mode: {mode}")
    small = run(recorded.folder).results.comparisons[0]
    tail = next(j for j in small.judged if j.difference.name == "latency_s.p95")
    assert tail.difference.difference == pytest.approx(-1.15, abs=0.35)
    assert tail.finding == "better"
    p99 = next(j for j in small.others if j.difference.name == "latency_s.p99")
    assert p99.finding in ("undecided", "cannot tell")
    assert p99.margin is None


def test_intervals_of_variants_heed_clusters(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: fixed")
    rows: list[dict[str, Any]] = [json.loads(r) for r in (recorded.folder / "answers.jsonl").read_text().splitlines()]
    for row in rows:  # four samples of a page have nearly one score
        row["human"] = (int(row["id"][1:]) // 4 % 10) / 10 + 0.001 * (int(row["id"][1:]) % 4)
    recorded.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    alone = run(recorded.folder).results.summaries[0].estimates["human"]
    recorded.edit("input: text}", "input: text, cluster: page}")
    together = run(recorded.folder).results.summaries[0].estimates["human"]
    assert together.mean == pytest.approx(alone.mean)
    assert together.high is not None
    assert alone.high is not None
    assert together.high - together.mean == pytest.approx(2 * (alone.high - alone.mean), rel=0.1)


def test_an_asymptotic_sequence_needs_more_samples_than_planned(recorded: Lab) -> None:
    recorded.edit("mode: continuous", "mode: continuous\n    sequence: asymptotic")
    load_design(recorded.folder, SystemClock())
    recorded.edit("dataset: {path", "dataset: {take: 60, path")
    with pytest.raises(SpecError, match=r"sequence.*before 100 samples, and 60 are planned"):
        load_design(recorded.folder, SystemClock())
