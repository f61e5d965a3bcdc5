"""`plan: segments` from the spec to the verdict: planted effects of segments on a model that repeats its prompt."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from paretoken.analysis.segments import SegmentEffect
from paretoken.cli.app import run_command
from paretoken.experiment.api import plan, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Lab
    from paretoken.analysis.results import Results

PARTS = """\
---
name: parts
---
# system
<!-- segment: role -->
You sell lamps to people who like light.

# user
<!-- segment: offer -->
Delivery is free, today!

<!-- segment: examples -->
Lamp: warm
Copy: A warm lamp.

Lamp: tall
Copy: A tall lamp.

<!-- segment: task -->
Sell {{ product }}: {{ features }}
"""
TEST = "  abtest:\n    control: long\n    treatment: [terse]\n"
WORDS = {"role": 8, "offer": 4, "examples": 12}
N = 24
PRICE_IN, PRICE_OUT = 1e-6, 4e-6


@pytest.fixture
def parts(lab: Lab) -> Lab:
    """A prompt of four segments; the echo answers with the first words of the user's turn."""
    rows = [{"id": f"s{i}", "product": f"lamp{i}", "features": "bright " * (1 + i % 5), "copy": "x"} for i in range(N)]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.write("prompts/parts.md", PARTS)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/parts.md]")
    lab.edit(TEST, "  segments: {keep: [task], margin: {contains: 0.2}, population: dataset}\n")
    lab.edit("  max_tokens: 24", "  max_tokens: 60")
    return lab


def effects(results: Results) -> dict[str, SegmentEffect]:
    return {effect.segment: effect for effect in results.prompt_segments}


def test_planted_effects_are_recovered_to_the_last_token(parts: Lab) -> None:
    results = run(parts.folder).results
    found = effects(results)
    assert list(found) == ["role", "offer", "examples"]
    mean_words = np.mean([2 + 1 + i % 5 for i in range(N)]) + sum(WORDS.values())
    for name, words in WORDS.items():
        effect, said = found[name], 0 if name == "role" else words
        assert effect.input_tokens == pytest.approx((words,) * 3)
        assert effect.input_share == pytest.approx(words / mean_words)
        assert effect.output_tokens.value == pytest.approx(said)
        usd = words * PRICE_IN + said * PRICE_OUT
        assert effect.list_usd == pytest.approx((usd,) * 3, rel=1e-6), "all these samples are answered"
    whole = mean_words * PRICE_IN + (mean_words - WORDS["role"]) * PRICE_OUT
    assert found["offer"].cost_share.value == pytest.approx(WORDS["offer"] * (PRICE_IN + PRICE_OUT) / whole)
    assert found["offer"].metrics["contains"] == pytest.approx((1, 1, 1))
    assert found["role"].metrics["contains"] == pytest.approx((0, 0, 0))
    assert {name: effect.verdict for name, effect in found.items()} == {
        "role": "may go", "offer": "earns its place", "examples": "may go",
    }  # fmt: skip
    assert found["examples"].sentence.startswith(
        "the 2 examples cost 41 % of input tokens and 53 % of the bill [+53, +53] ("
    )
    assert found["examples"].sentence.endswith(": may go; on these 24 samples (n = 24)")
    assert '"offer" costs 14 % of input tokens and' in results.verdicts[1]
    assert "buys +1 contains [+1, +1]: earns its place" in results.verdicts[1]


def test_every_interval_is_that_of_the_comparison_turned_round(parts: Lab) -> None:
    parts.edit("population: dataset", "alpha: 0.1")
    results = run(parts.folder).results
    for effect, pair in zip(results.prompt_segments, results.comparisons, strict=True):
        assert pair.cost is not None
        cost = pair.cost.difference
        assert effect.list_usd == (-cast("float", cost.difference), -cast("float", cost.high), -cast("float", cost.low))
        (quality,) = pair.quality
        low, high = quality.difference.low, quality.difference.high
        assert effect.metrics["contains"][1:] == (None if high is None else -high, None if low is None else -low)
        whole, rest = (results.table.of(results.variant_id(label)) for label in (pair.control, pair.treatment))
        assert effect.list_usd.value == pytest.approx(
            float(whole.values["list_usd"].mean() - rest.values["list_usd"].mean())
        )
    levels = {j.difference.level for c in results.comparisons for j in c.judged}
    assert len(levels) == 1, "one family"
    assert levels.pop() >= 0.9


@pytest.mark.parametrize(("segment", "verdict"), [("examples", "pays for itself"), ("offer", "a trade-off")])
def test_a_segment_that_shortens_answers_saves(parts: Lab, segment: str, verdict: str) -> None:
    results = run(parts.folder).results
    whole, rest = (results.variant_id(label) for label in ("parts", f"parts-without-{segment}"))
    tokens = results.panel.pairs(rest, whole, "input_tokens", prefix=False)
    effect = SegmentEffect.of("silence", None, results.compare(rest, whole), tokens)
    assert effect.verdict == verdict
    assert re.search(r", but saves \d+ % of the bill \[\+\d+, \+\d+\] \(answers are \S+ tokens shorter with it\)",
                     effect.sentence)  # fmt: skip


def test_plan_counts_and_prices_every_prompt(parts: Lab) -> None:
    design, forecast = plan(parts.folder)
    labels = ["parts", "parts-without-role", "parts-without-offer", "parts-without-examples"]
    assert [row.label for row in forecast.variants] == labels
    whole, *rest = (row.input_tokens for row in forecast.variants)
    assert [whole - tokens for tokens in rest] == [N * words for words in WORDS.values()]
    assert forecast.total("calls") == 4 * N
    assert set(design.lock["prompts"]) == {v.prompt for v in design.variants}


def test_an_unmarked_prompt_is_cut_by_what_it_says(parts: Lab) -> None:
    parts.write("prompts/parts.md", re.sub(r"<!--.*?-->\n", "", PARTS).replace("parts", "plain"))
    parts.edit("{keep: [task], margin: {contains: 0.2}, population: dataset}", "{population: dataset}")
    design, _ = plan(parts.folder)
    assert list(design.labels.values()) == ["plain", "plain-without-role"]


BAD = [
    ("[prompts/parts.md]", "[prompts/parts.md, prompts/terse.md]", "several are listed"),
    ("{keep", "{prompt: part, keep", "Did you mean 'parts'?"),
    ("keep: [task]", "keep: [tsk]", "Did you mean 'task'?"),
    ("keep: [task]", "keep: [role, offer, examples, task]", "nothing to leave out"),
    ("  - id: echo/a", '  - {id: echo/b, price: free}\n  - id: echo/a', "one model and one setting"),
    ("temperature: 0.0", "temperature: {choices: [0.0, 1.0]}", "one model and one setting"),
    ("{contains: 0.2}", "{contans: 0.2}", "Did you mean 'contains'?"),
    ("{contains: 0.2}", "{contains: 3.0}", "no loss could exceed 3"),
    ("keep: [task]", "kep: [task]", "Did you mean 'keep'?"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), BAD)
def test_bad_plans_are_refused_before_anything_is_spent(
    parts: Lab, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    parts.edit(old, new)
    before = parts.files()
    assert run_command(["run", "lab"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("error:")) == ("", 1)
    assert f"spec.yaml:{parts.line('  segments:')}: " in said.err
    assert says in said.err
    assert parts.files() == before


def test_a_segment_that_must_stay_names_the_prompt_and_the_fix(parts: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    parts.edit("keep: [task], ", "")
    assert run_command(["plan", "lab"]) == 2
    said = capsys.readouterr().err
    assert f"parts.md:{parts.line('segment: task', 'prompts/parts.md')}: " in said
    assert "leaving out 'task' leaves nothing of the sample. Keep it: plan: {segments: {keep: [task]}}." in said


def test_recorded_answers_cannot_change(parts: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"model": "m", "id": f"s{i}", "text": "free"} for i in range(N)]
    parts.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    parts.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n',
               "  - {replay: answers.jsonl, by: model, key: id, output: text, prices: {m: free}}\n")  # fmt: skip
    assert run_command(["plan", "lab"]) == 2
    assert "answers of 'replay/m' are recorded" in capsys.readouterr().err


@pytest.fixture
def said(parts: Lab, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a verb prints of the finished run; as JSON where it is asked for."""
    run(parts.folder)

    def call(*arguments: str) -> Any:
        capsys.readouterr()
        assert run_command(list(arguments)) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in arguments else out

    return call


def test_every_verb_tells_of_the_segments(parts: Lab, said: Callable[..., Any], tmp_path: Path) -> None:
    sentence = "the 2 examples cost 41 % of input tokens"
    for text in (said("run", "lab", "--no-picture"), said("compare", "last"), said("report", "last")):
        assert sentence in text
    assert "| examples | +12 | 41.5 % |" in said("report", "last")
    assert "what each segment adds to a call" in said("front", "last")
    body = {row["segment"]: row for row in said("run", "lab", "--json", "--no-picture")["prompt_segments"]}
    assert body["examples"]["n_examples"] == 2
    assert body["offer"]["metrics"]["contains"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert [pair["prompt_segment"]["segment"] for pair in said("compare", "last", "--json")] == list(body)
    cuts = said("plan", "lab", "--json")["segments"]
    assert [(row["segment"], row["is"], row["examples"]) for row in cuts] == [
        ("role", "left out in turn", None), ("offer", "left out in turn", None), ("examples", "left out in turn", 2),
        ("task", "kept", None),
    ]  # fmt: skip
    assert "how the prompt is cut" in said("plan", "lab")


def test_mlflow_gets_the_numbers_as_a_file(parts: Lab, tmp_path: Path) -> None:
    from paretoken.analysis.features import NothingToExplain
    from paretoken.report.mlflow_files import write_files

    results = run(parts.folder).results
    (folder := tmp_path / "written").mkdir()
    write_files(results, folder, {}, NothingToExplain("values", "unknown"), str)
    written = json.loads((folder / "segments.json").read_text(encoding="utf-8"))
    assert written == [json.loads(json.dumps(effect.body())) for effect in results.prompt_segments]
    assert "## Prompt segments" in (folder / "FINDINGS.md").read_text(encoding="utf-8")


def test_the_picture_has_a_row_a_segment(parts: Lab, tmp_path: Path) -> None:
    from paretoken.report.segments_figure import draw_segments, save_segments

    results = run(parts.folder).results
    assert save_segments(results, tmp_path) == [tmp_path / "segments.png"]
    figure = draw_segments(results)
    assert figure is not None
    costs, buys = figure.axes
    assert [label.get_text() for label in costs.get_yticklabels()] == ["role", "offer", "examples"]
    assert [text.get_text() for text in buys.texts] == ["may go", "earns its place", "may go"]
    parts.edit("  segments: {keep: [task], margin: {contains: 0.2}, population: dataset}\n", "  grid: {}\n")
    assert save_segments(run(parts.folder).results, tmp_path) == []


def test_a_run_under_way_shows_intervals_that_hold_at_every_look(parts: Lab) -> None:
    results = run(parts.folder, pilot=12).results
    assert results.run.status == "stopped"
    assert all(pair.anytime for pair in results.comparisons)
    for effect in results.prompt_segments:
        assert effect.without.n == 12
        assert effect.input_tokens.value == WORDS[effect.segment]


def test_a_check_of_the_test_tells_of_no_segments(parts: Lab) -> None:
    results = run(parts.folder, aa=True).results
    assert results.plan["aa"] == "relabelled"
    assert results.prompt_segments == []


def test_other_plans_keep_the_identity_they_had(lab: Lab) -> None:
    design, _ = plan(lab.folder)
    assert "segments" not in design.lock["spec"]["plan"]
