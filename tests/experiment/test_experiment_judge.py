"""Runs with judges: their money, their answers, and what is known of them before and after."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Attempt, Call, Response
from paretoken.core.errors import Refused, SpecError
from paretoken.core.registry import load
from paretoken.core.usage import ZERO, Usage
from paretoken.experiment import resolve, resolve_scorers
from paretoken.experiment.api import plan, run
from paretoken.experiment.archive import list_scopes
from paretoken.models.echo import Echo, EchoOptions
from paretoken.models.options import read_options
from paretoken.records import Database, SqlJournal, SqlLedger
from paretoken.report.overview import describe_run
from paretoken.report.tables import findings
from paretoken.scoring.judge import Judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab
    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock, ProviderConfig

JUDGE = """\
  - judge:
      model: court/j
      rubric: Does it sell?
      price: {input_per_mtok: "0.50", output_per_mtok: "2.00"}
"""
JUDGE_PRICE = (Decimal("0.50"), Decimal("2.00"))


@dataclass
class Court:
    """A judge that counts what it is asked; the grade is the number of letters of the answer, from 1 to 5.

    Attributes:
        sent: How often each request was sent, by key.
        down: Samples whose judgement fails.
    """

    sent: Counter[str] = field(default_factory=Counter)
    down: set[str] = field(default_factory=set)
    closed: int = 0
    grade: Callable[[Request], object] = lambda request: 1 + len(request.messages[-1].content) % 5
    billed_usd: Decimal = ZERO

    def model(self, config: ProviderConfig, clock: Clock) -> Echo:
        court = self
        read_options(config, EchoOptions)

        class Sitting(Echo):
            async def generate(self, request: Request) -> Response:
                court.sent[request.key] += 1
                if request.origin.sample in court.down:
                    raise Refused("the court is closed")
                usage = Usage(len(request.messages[-1].content) // 4, 12)
                court.billed_usd += (usage.input_tokens * JUDGE_PRICE[0] + usage.output_tokens * JUDGE_PRICE[1]) / 10**6
                return Response(f"Because.\nGrade: {court.grade(request)}", usage, latency_s=0.1)

            async def aclose(self) -> None:
                court.closed += 1

        return Sitting(0.0, clock)


@pytest.fixture
def court(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Court:
    """A judge of the lab's answers."""
    court = Court()

    def look_up(group: Any, name: str) -> Any:
        known = {"court": court.model, "judge": Judge}
        return known[name] if name in known else load(group, name)

    monkeypatch.setattr(resolve, "load", look_up)
    monkeypatch.setattr(resolve_scorers, "load", look_up)
    lab.edit("  - max_chars: 90\n", "  - max_chars: 90\n" + JUDGE)
    return court


def entries(lab: Lab, run_id: str, role: str) -> list[Any]:
    with Database(lab.database) as database:
        return [entry for _, entry in SqlJournal(database).read(run_id, role=[role])]


def spent(lab: Lab, run_id: str) -> Decimal:
    with Database(lab.database) as database:
        return sum(SqlLedger(database, "reader").spent(f"run:{run_id}"), ZERO)


def test_judges_are_paid_from_the_run_s_budget_and_are_no_variant_s_cost(lab: Lab, court: Court) -> None:
    outcome = run(lab.folder)
    assert (outcome.exit_code, sum(court.sent.values())) == (0, 24)
    results = outcome.results
    attempts = [entry for entry in entries(lab, results.run.id, "judge") if isinstance(entry, Attempt)]
    calls = [entry for entry in entries(lab, results.run.id, "judge") if isinstance(entry, Call)]
    assert (len(attempts), len(calls)) == (24, 24)
    judges_usd = sum((attempt.billed_usd for attempt in attempts), ZERO)
    assert judges_usd == court.billed_usd > 0
    subjects_usd = sum((summary.billed_usd_total for summary in results.summaries), ZERO)
    assert spent(lab, results.run.id) == subjects_usd + judges_usd == outcome.progress.spent_usd
    assert outcome.progress.billed_usd == outcome.progress.spent_usd
    assert results.judges_usd == outcome.progress.judges.spent_usd == outcome.progress.judges.billed_usd == judges_usd
    assert sum((s.list_usd_total for s in results.summaries), ZERO) == subjects_usd
    assert (outcome.progress.done, outcome.progress.made, outcome.progress.judges.made) == (24, 24, 24)
    assert all(record.scores["judge"].value is not None for record in results.records)
    (scope,) = [row for row in list_scopes() if row["scope"] == results.run.scope]
    assert (scope["of which judges"], scope["billed"]) == (judges_usd, subjects_usd + judges_usd)
    shown = {row["what"]: row["actual"] for row in describe_run(results)["estimate against actual"]}
    assert shown["of which judges, USD"] == f"{judges_usd:.6f}"
    assert f"| of which judges | {judges_usd:f} |" in findings(results)
    assert "`court/j`: input_per_mtok 0.50" in findings(results)
    again = run(lab.folder)
    assert (again.progress.made, again.progress.judges.made, again.progress.judges.spent_usd) == (0, 0, judges_usd)
    assert court.closed == 2


def test_the_lock_has_the_judge_s_price_and_no_judge_leaves_it_as_it_was(lab: Lab, court: Court) -> None:
    lock = run(lab.folder).results.run.lock
    assert list(lock["models"]) == ["echo/a"]
    assert lock["judges"]["court/j"]["price"]["rates"] == {"input_per_mtok": "0.50", "output_per_mtok": "2.00"}
    (judge,) = [row for row in lock["scorers"] if row["name"] == "judge"]
    assert judge["judge"] == {"model": "court/j", "human": None, "scale": [1, 5], "compares": False}
    lab.edit(JUDGE, "")
    design, _ = plan(lab.folder)
    assert "judges" not in design.lock
    assert all("judge" not in row for row in design.lock["scorers"])


def test_equal_answers_are_judged_once(lab: Lab, court: Court) -> None:
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    lab.edit("temperature: 0.0", "temperature: {choices: [0.0, 0.5]}")
    outcome = run(lab.folder)
    assert len(outcome.results.records) == 24
    assert (sum(court.sent.values()), set(court.sent.values())) == (12, {1})
    assert outcome.progress.judges.made == 24
    assert outcome.progress.judges.hits == 12
    grades = {(r.sample, r.variant): r.scores["judge"].value for r in outcome.results.records}
    assert len({sample for sample, _ in grades}) * 2 == len(grades)


@pytest.mark.parametrize("concurrency", [1, 7, 64])
@pytest.mark.parametrize("cap", ["0.0006", "0.0011", "0.0016"])
def test_the_cap_holds_with_judges(lab: Lab, court: Court, cap: str, concurrency: int) -> None:
    lab.edit("seed: 7", f"seed: 7\nconcurrency: {concurrency}")
    lab.edit('usd: "1.00"', f'usd: "{cap}"')
    stopped = run(lab.folder)
    assert (stopped.exit_code, stopped.ending.status) == (3, "stopped")
    assert spent(lab, stopped.results.run.id) <= Decimal(cap)
    assert stopped.progress.spent_usd == spent(lab, stopped.results.run.id)
    lab.edit(f'usd: "{cap}"', 'usd: "1.00"')
    whole = run(lab.folder)
    assert (whole.exit_code, whole.progress.done) == (0, 24)
    assert set(court.sent.values()) == {1}, "nothing was paid twice"
    assert whole.progress.spent_usd == spent(lab, whole.results.run.id)
    assert whole.results.judges_usd == court.billed_usd
    grades = {(r.sample, r.variant): r.scores["judge"].value for r in whole.results.records}
    lab.database.unlink()
    assert grades == {(r.sample, r.variant): r.scores["judge"].value for r in run(lab.folder).results.records}


def test_failed_judgements_are_holes_that_can_be_filled(lab: Lab, court: Court) -> None:
    court.down = {"s1", "s5"}
    outcome = run(lab.folder)
    assert (outcome.exit_code, outcome.progress.failed, outcome.progress.judges.failed) == (0, 0, 4)
    holes = [record for record in outcome.results.records if record.scores["judge"].value is None]
    assert {record.sample for record in holes} == court.down
    assert all("the court is closed" in str(record.scores["judge"].reason) for record in holes)
    assert "`judge` missing for 2 of 12 answers: the judge's call failed: the court is closed" in findings(
        outcome.results
    )
    assert run(lab.folder).progress.judges.made == 0, "a finished run is only read"
    court.down = set()
    again = run(lab.folder, retry_errors=True)
    assert (again.progress.made, again.progress.judges.made, again.progress.judges.failed) == (0, 4, 0)
    assert all(record.scores["judge"].value is not None for record in again.results.records)


@pytest.mark.parametrize("content", ["hash", "none"])
def test_what_may_not_be_kept_is_not_kept_by_a_judge(lab: Lab, court: Court, content: str) -> None:
    lab.edit("seed: 7", f"seed: 7\nstore: {{content: {content}}}")
    lab.edit("Does it sell?", "Does it sell?\n      scale: [90, 91]")
    outcome = run(lab.folder)
    reasons = {str(r.scores["judge"].reason) for r in outcome.results.records}
    assert all(reason.startswith("the judge's grade is not from 90 to 91: ") for reason in reasons)
    kept = b"".join(v for k, v in lab.files().items() if "paretoken.db" in k)
    assert b"kettle" not in kept
    assert b"Because" not in kept


def test_an_unpriced_judge_is_refused_at_plan(lab: Lab, court: Court) -> None:
    lab.edit('      price: {input_per_mtok: "0.50", output_per_mtok: "2.00"}\n', "")
    with pytest.raises(SpecError, match=r"spec.yaml:1\d: scorers\[2\].judge.*no price is known for 'court/j'"):
        plan(lab.folder)
    assert not lab.database.is_file()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("model: court/j", "model: courtly", r"scorers\[2\]: a judge's model is 'courtly'"),
        ("model: court/j", "model: echo/a", r"judge.model: 'echo/a' is set up by `models` already"),
        ("rubric: Does it sell?", "rubric: [x]", r"scorers\[2\].*rubric is \['x'\]"),
        ("rubric: Does it sell?", "rubrik: Does it sell?", r"scorers\[2\].*missing a required argument: 'rubric'"),
        ("rubric: Does it sell?", "rubric: Good?\n      human: peopel", r"scorers\[2\]: no column 'peopel'"),
        ("rubric: Does it sell?", "rubric: Good?\n      against: old", r"scorers\[2\]: no column 'old'"),
        ("rubric: Does it sell?", "rubric: Good?\n      human: features", r"judge would be shown column 'features'"),
        ("rubric: Does it sell?", "rubric: Good?\n      colour: red", r"colour"),
        ('"0.50"', "0.50", r"scorers\[2\].judge.price"),
        ("max_chars: 90", "judge: {model: court/j, rubric: x, name: other, price: free}", r"set up by another judge"),
        ("max_chars: 90", "judge: {model: echo/a, rubric: x}", r"two scorers give the metric 'judge'"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused(lab: Lab, court: Court, old: str, new: str, complaint: str) -> None:
    lab.edit(old, new)
    with pytest.raises(SpecError, match=complaint) as caught:
        plan(lab.folder)
    assert "spec.yaml:" in str(caught.value)


def test_two_judges_share_a_model_that_is_set_up_once(lab: Lab, court: Court) -> None:
    lab.edit("max_chars: 90", "judge: {model: court/j, rubric: Is it short?, name: short}")
    outcome = run(lab.folder)
    assert outcome.exit_code == 0
    assert sum(court.sent.values()) == 48
    assert list(outcome.results.run.lock["judges"]) == ["court/j"]


def test_people_s_labels_are_checked_before_anything_is_spent(lab: Lab, court: Court) -> None:
    rows = [json.loads(line) for line in (lab.folder / "data.jsonl").read_text().splitlines()]
    lab.write(
        "data.jsonl", "".join(json.dumps(row | {"people": 3 + (i == 4) * 5}) + "\n" for i, row in enumerate(rows))
    )
    lab.edit("{reference: copy}", "{reference: copy, input: features}")
    lab.edit("rubric: Does it sell?", "rubric: Good?\n      human: people")
    with pytest.raises(SpecError, match=r"data.jsonl:5: sample 's4': column 'people' holds 8.*from 1 to 5"):
        plan(lab.folder)


def write_recording(lab: Lab, n: int, bias: float) -> None:
    """Answers of two models with a length and people's grades, judged as people do but for what length adds."""
    rng = np.random.default_rng(4)
    rows, samples = [], []
    for i in range(n):
        samples.append({"id": f"s{i}", "product": f"mug {i}", "features": "small", "copy": "A mug."})
        for model in ("a", "b"):
            quality, doublings = int(rng.integers(2, 5)), int(rng.integers(0, 5))
            grade = float(np.clip(quality + 4 * bias * (doublings - 2) + rng.uniform(-0.3, 0.3), 1, 5))
            text = f"{grade:.2f} {'x' * (16 * 2**doublings - 5)}"
            rows.append({"model": model, "id": f"s{i}", "text": text, "people": quality})
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in samples))
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n',
             "  - {replay: answers.jsonl, by: model, key: id, output: text, prices: {a: free, b: free}}\n")  # fmt: skip
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("control: long\n    treatment: [terse]", "control: a\n    treatment: [b]")
    lab.edit("rubric: Does it sell?", "rubric: Does it sell?\n      human: people")


@pytest.mark.parametrize("bias", [0.08, 0.0, -0.06])
def test_agreement_with_people_and_a_planted_bias_are_recovered(lab: Lab, court: Court, bias: float) -> None:
    court.grade = lambda request: request.messages[-1].content.partition("<<<answer")[2].split("\n")[1].split()[0]
    write_recording(lab, 150, bias)
    outcome = run(lab.folder)
    assert outcome.exit_code == 0
    (judge,) = outcome.results.agreements
    assert (judge.n, judge.n_judged, judge.n_labelled) == (300, 300, 300)
    assert judge.kappa is not None
    assert judge.kappa[0] > 0.5
    assert judge.length_bias is not None
    size, low, high = judge.length_bias
    assert low < bias < high
    assert size == pytest.approx(bias, abs=0.01)
    assert judge.sentence in findings(outcome.results)
    assert judge.sentence.startswith("judge against people: kappa ")
    assert set(outcome.results.metrics) == {"contains", "max_chars", "judge"}, "people's labels are no metric"
    again = run(lab.folder)
    assert again.results.agreements[0].body() == judge.body(), "the same numbers for the same records"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cap=st.integers(1, 3000), concurrency=st.integers(1, 64), against=st.booleans(), faults=st.integers(0, 3))
def test_whatever_the_cap_judges_never_exceed_it(
    lab: Lab, court: Court, cap: int, concurrency: int, against: bool, faults: int
) -> None:
    spec = (lab.folder / "spec.yaml").read_text()
    usd = f"{cap / 10**6:.6f}"
    lab.edit('usd: "1.00"', f'usd: "{usd}"')
    lab.edit("seed: 7", f"seed: 7\nconcurrency: {concurrency}\nattempts: 1")
    if against:
        lab.edit("rubric: Does it sell?", "rubric: Does it sell?\n      against: reference")
    court.down, court.billed_usd = {f"s{i}" for i in range(faults)}, ZERO
    court.sent.clear()
    try:
        outcome = run(lab.folder)
        booked = spent(lab, outcome.results.run.id)
        assert booked <= Decimal(usd)
        assert court.billed_usd <= outcome.results.judges_usd
        assert outcome.progress.spent_usd == booked
        assert outcome.exit_code in (0, 3)
        assert all(n == 1 for n in court.sent.values())
    finally:
        lab.write("spec.yaml", spec)
        for suffix in ("", "-wal", "-shm"):
            lab.database.with_name(lab.database.name + suffix).unlink(missing_ok=True)
