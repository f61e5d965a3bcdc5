"""What a plan says of judges."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.core.calls import Response, most_bytes
from paretoken.core.registry import load
from paretoken.core.usage import Usage
from paretoken.experiment import resolve, resolve_scorers
from paretoken.experiment.api import plan, run
from paretoken.experiment.race_outlook import race_outlook
from paretoken.gateway.budget import bound_tokens
from paretoken.models.echo import Echo
from paretoken.models.estimate import estimate_usage
from paretoken.report.overview import forecast_rows
from paretoken.scoring.judge import Judge

if TYPE_CHECKING:
    from conftest import Lab
    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock, ProviderConfig

JUDGE = """\
  - judge:
      model: court/j
      rubric: Does it sell?
      name: appeal
      max_tokens: 40
      price: {input_per_mtok: "0.50", output_per_mtok: "2.00"}
"""


class Sly:
    """Subjects and judges; those that have an answer given to them use as many tokens as they may."""

    def __init__(self) -> None:
        self.answer = ""

    def model(self, config: ProviderConfig, clock: Clock) -> Echo:
        sly = self

        class Model(Echo):
            async def generate(self, request: Request) -> Response:
                subject = request.origin.role == "subject"
                said = "Grade: 3" if not subject else (await super().generate(request)).text
                if subject and sly.answer:
                    said = request.origin.variant + sly.answer[6:]
                usage = estimate_usage(request.messages, said)
                if sly.answer:
                    usage = Usage(bound_tokens(request), request.max_tokens)
                return Response(said, replace(usage, estimated=False), latency_s=0.1)

            async def count_tokens(self, request: Request) -> None:
                return None

        return Model(0.0, clock)


@pytest.fixture
def sly(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Sly:
    sly = Sly()

    def look_up(group: Any, name: str) -> Any:
        known = {"court": sly.model, "echo": sly.model, "judge": Judge}
        return known[name] if name in known else load(group, name)

    monkeypatch.setattr(resolve, "load", look_up)
    monkeypatch.setattr(resolve_scorers, "load", look_up)
    lab.edit("  - max_chars: 90\n", JUDGE)
    lab.edit("seed: 7", "seed: 7\nattempts: 1")
    return sly


def test_a_judge_has_a_row_and_is_in_the_totals(lab: Lab, sly: Sly) -> None:
    _, forecast = plan(lab.folder)
    (judge,) = forecast.judges
    assert (judge.label, judge.calls, judge.to_send, judge.samples) == ("judge appeal", 24, 24, 12)
    assert judge.output_tokens_max == 24 * 40
    assert 0 < judge.low_usd < judge.high_usd < judge.certain_usd
    for name in ("calls", "to_send", "low_usd", "high_usd", "certain_usd"):
        assert forecast.total(name) == sum(getattr(row, name) for row in (*forecast.variants, judge))
    assert forecast.body()["calls"] == 24, "the run's own calls"
    assert forecast.body()["judges"]["calls"] == 24
    assert Decimal(forecast.body()["high_usd"]) == forecast.total("high_usd")
    assert [row["variant"] for row in forecast_rows(forecast)] == ["long", "terse", "judge appeal", "total"]
    lab.edit("      rubric: Does it sell?\n", "      rubric: Does it sell?\n      against: reference\n")
    (pairs,) = plan(lab.folder)[1].judges
    assert (pairs.calls, pairs.to_send) == (48, 48)


def test_judges_count_in_the_verdict_on_the_budget(lab: Lab, sly: Sly) -> None:
    _, forecast = plan(lab.folder)
    without = sum(v.certain_usd for v in forecast.variants)
    lab.edit('usd: "1.00"', f'usd: "{without}"')
    assert "even the certain upper bound is below it" not in plan(lab.folder)[1].verdict
    lab.edit(f'usd: "{without}"', f'usd: "{forecast.total("certain_usd")}"')
    assert "even the certain upper bound is below it" in plan(lab.folder)[1].verdict


@pytest.mark.parametrize("letter", ["x", "水", "🎉"])
def test_the_certain_bound_holds_for_the_longest_answers(lab: Lab, sly: Sly, letter: str) -> None:
    _, forecast = plan(lab.folder)
    sly.answer = letter * (most_bytes(24) // len(letter.encode()))
    outcome = run(lab.folder)
    assert all(record.scores["appeal"].value == 0.5 for record in outcome.results.records)
    paid = outcome.progress.spent_usd
    assert float(forecast.total("certain_usd")) * 0.9 < float(paid) <= float(forecast.total("certain_usd"))
    lab.database.unlink()
    sly.answer += 20 * letter
    refused = run(lab.folder).results.records
    assert {record.scores["appeal"].reason for record in refused} == {
        "the answer is longer than texts of so many tokens are"
    }


def test_recorded_judgements_predict_the_rest_and_known_answers_are_counted_exactly(lab: Lab, sly: Sly) -> None:
    assert plan(lab.folder)[1].predicted is None
    run(lab.folder, pilot=10)
    _, after = plan(lab.folder)
    (judge,) = after.judges
    assert (judge.calls, judge.cached, judge.to_send, judge.samples, judge.recorded) == (24, 20, 4, 2, 20)
    assert judge.predicted is not None
    assert float(judge.low_usd) < judge.predicted.low <= judge.predicted.expected <= judge.predicted.high
    assert after.predicted is not None
    before = after.spent_usd
    whole = run(lab.folder)
    assert float(whole.progress.spent_usd - before) == pytest.approx(after.predicted.expected, rel=0.2)
    assert plan(lab.folder)[1].total("to_send") == 0
    lab.edit("Does it sell?", "Does it delight?")
    (other,) = plan(lab.folder)[1].judges
    assert (other.to_send, other.recorded) == (24, 0)
    assert other.high_usd - other.low_usd == 24 * 39 * Decimal(2) / 10**6, "the answers are known, the judge's are not"


def test_recorded_answers_are_judged_at_a_known_cost(lab: Lab, sly: Sly) -> None:
    rows = [
        {"model": m, "id": f"s{i}", "text": "" if i == 3 else f"{i} is free"} for m in ("a", "b") for i in range(11)
    ]
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n',
             "  - {replay: answers.jsonl, by: model, key: id, output: text, prices: {a: free, b: free}}\n")  # fmt: skip
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("control: long\n    treatment: [terse]", "control: a\n    treatment: [b]")
    _, forecast = plan(lab.folder)
    (judge,) = forecast.judges
    assert judge.to_send == 10, "two recorded answers are equal, one is blank, one is missing"
    outcome = run(lab.folder)
    assert outcome.progress.judges.made - outcome.progress.judges.hits == 10
    assert judge.low_usd < outcome.progress.spent_usd <= judge.certain_usd


def test_a_race_s_outlook_has_the_judges_in_it(lab: Lab, sly: Sly) -> None:
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "plan: race\n")
    lab.edit("maximize: [contains]", "maximize: [appeal]")
    design, forecast = plan(lab.folder)
    outlook = race_outlook(design, forecast)
    assert outlook is not None
    assert outlook.most_usd == pytest.approx(float(forecast.total("high_usd")))
    assert run(lab.folder).exit_code == 0
