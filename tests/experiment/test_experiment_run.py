"""Runs that stop, fail, go on, and runs of recorded answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from paretoken.core.calls import Origin
from paretoken.core.errors import BadResponse, ProviderError, Refused, ScoreError, SpecError
from paretoken.core.protocols import Scored, ScoreItem
from paretoken.core.registry import load
from paretoken.experiment import resolve, resolve_scorers
from paretoken.experiment.api import Outcome, plan, run
from paretoken.experiment.archive import open_run
from paretoken.models.echo import Echo
from paretoken.records import Database, SqlJournal, SqlLedger
from paretoken.report.tables import front_rows

if TYPE_CHECKING:
    from conftest import Lab
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import Clock, ProviderConfig


@dataclass
class World:
    """What the models and scorers of a test do.

    Attributes:
        sent: How often each request was sent, by key.
        down: Samples whose calls fail.
        failure: How they fail.
        mute: The scorer refuses.
    """

    sent: Counter[str] = field(default_factory=Counter)
    down: set[str] = field(default_factory=set)
    failure: type[ProviderError] = BadResponse
    mute: bool = False
    scored: list[str] = field(default_factory=list)

    def model(self, config: ProviderConfig, clock: Clock) -> Echo:
        world = self

        class Counting(Echo):
            async def generate(self, request: Request) -> Response:
                world.sent[request.key] += 1
                if request.origin.sample in world.down:
                    raise world.failure("the service is down", billing="none")
                return await super().generate(request)

        return Counting(0.0, clock)

    def scorer(self) -> object:
        world = self

        class Strict:
            name, metrics, needs_reference, provenance = "strict", ("strict",), False, "strict"
            ranges: ClassVar = {}

            async def score(self, items: Any) -> list[list[Scored]]:
                if world.mute and items[0].origin.run:
                    raise ScoreError("the judge does not speak")
                world.scored += [item.answer for item in items if item.origin.run]
                return [[Scored("strict", float(len(item.answer)))] for item in items]

        return Strict()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> World:
    """The lab's model, counted; and a scorer `strict`."""
    world = World()

    def look_up(group: Any, name: str) -> Any:
        known = {"counted": world.model, "strict": world.scorer}
        return known[name] if name in known else load(group, name)

    monkeypatch.setattr(resolve, "load", look_up)
    monkeypatch.setattr(resolve_scorers, "load", look_up)
    lab.edit("echo/a", "counted/a")
    lab.edit("- contains: free", "- contains: free\n  - strict")
    lab.edit("seed: 7", "seed: 7\nattempts: 1\nconcurrency: 1")
    return world


def numbers(outcome: Outcome) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if "latency" not in k} for row in front_rows(outcome.results)]


def set_budget(lab: Lab, usd: str) -> None:
    old = next(line for line in (lab.folder / "spec.yaml").read_text().splitlines() if line.startswith("budget"))
    lab.edit(old, f'budget: {{usd: "{usd}"}}')


def ledger_of(lab: Lab, run_id: str) -> tuple[Decimal, Decimal]:
    with Database(lab.database) as database:
        return SqlLedger(database, "reader").spent(f"run:{run_id}")


def test_a_reached_budget_stops_and_a_larger_one_goes_on(lab: Lab, world: World, tmp_path: Any) -> None:
    set_budget(lab, "0.0008")
    first = run(lab.folder)
    assert (first.exit_code, first.ending.status) == (3, "stopped")
    assert "limit $0.0008, spent $0.000" in first.ending.reason
    assert "Raise the budget and run the same command" in first.ending.reason
    n_first = sum(world.sent.values())
    assert 0 < n_first < 24
    assert len(first.results.records) == n_first
    assert all(set(record.scores) == {"contains", "strict", "max_chars"} for record in first.results.records)
    billed, assumed = ledger_of(lab, first.results.run.id)
    assert assumed == 0
    assert billed <= Decimal("0.0008")
    assert billed == sum(record.call.billed_usd for record in first.results.records)

    stuck = run(lab.folder)
    assert (stuck.exit_code, sum(world.sent.values())) == (3, n_first)

    set_budget(lab, "0.1")
    second = run(lab.folder)
    assert (second.exit_code, second.ending.status) == (0, "finished")
    assert second.results.run.id == first.results.run.id
    assert len(world.sent) == 24
    assert set(world.sent.values()) == {1}, "nothing was paid twice"
    assert second.progress.done == second.progress.total == 24
    assert len(world.scored) == 24, "nothing was scored twice"
    lab.database.unlink()
    whole = run(lab.folder)
    assert numbers(whole) == numbers(second)
    assert [pair.sentence for pair in whole.results.comparisons] == [p.sentence for p in second.results.comparisons]


def test_a_budget_below_the_first_call(lab: Lab, world: World) -> None:
    set_budget(lab, "0.0000001")
    outcome = run(lab.folder)
    assert (outcome.exit_code, sum(world.sent.values()), outcome.results.records) == (3, 0, [])
    assert numbers(outcome) == []
    assert outcome.results.comparisons[0].sentence


def test_no_budget_is_no_cap(lab: Lab, world: World) -> None:
    lab.edit('budget: {usd: "1.00"}\n', "")
    assert run(lab.folder).exit_code == 0


def test_failed_calls_are_records_and_can_be_sent_again(lab: Lab, world: World) -> None:
    world.down = {"s1", "s5", "s9"}
    outcome = run(lab.folder)
    assert (outcome.exit_code, outcome.ending.status, outcome.progress.failed) == (0, "finished", 6)
    assert all(summary.error_rate == 0.25 for summary in outcome.results.summaries)
    failed = [record for record in outcome.results.records if record.error]
    assert {record.sample for record in failed} == world.down
    assert all("the service is down" in str(record.error) and not record.scores for record in failed)
    assert run(lab.folder).progress.made == 0, "a finished run is only read"
    world.down = {"s9"}
    again = run(lab.folder, retry_errors=True)
    assert (again.progress.made, again.progress.failed, again.progress.done) == (6, 2, 24)
    assert [summary.n_failed for summary in again.results.summaries] == [1, 1]
    assert again.results.run.id == outcome.results.run.id
    assert sum(world.sent.values()) == 24 + 6
    world.down = set()
    assert run(lab.folder, retry_errors=True).progress.made == 2
    assert run(lab.folder, retry_errors=True).progress.made == 0


def test_a_variant_without_any_answer_is_a_failed_provider(lab: Lab, world: World) -> None:
    world.failure, world.down = Refused, {f"s{i}" for i in range(12)}
    outcome = run(lab.folder)
    assert (outcome.exit_code, outcome.ending.status) == (4, "finished")
    assert run(lab.folder).exit_code == 4
    assert {row["standing"] for row in numbers(outcome)} != {"front"}
    world.down = set()
    assert run(lab.folder, retry_errors=True).exit_code == 0


def test_retries_are_attempts_of_one_call(lab: Lab, world: World) -> None:
    lab.edit("attempts: 1", "attempts: 3")
    world.down = {"s1"}

    class Hurried:
        """A clock whose sleep ends at once."""

        def __init__(self) -> None:
            from paretoken.core.clock import SystemClock

            self.now, self.monotonic = SystemClock().now, SystemClock().monotonic

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    outcome = run(lab.folder, clock=Hurried())
    assert outcome.progress.failed == 2
    assert sorted(world.sent.values())[-3:] == [1, 3, 3]
    with Database(lab.database) as database:
        entries = [entry for _, entry in SqlJournal(database).read(outcome.results.run.id)]
    assert Counter(type(entry).__name__ for entry in entries) == {"Call": 24, "Attempt": 28, "Score": 22 * 3}


@pytest.mark.parametrize("content", ["full", "hash", "none"])
def test_a_failed_score_keeps_the_answers(content: str, lab: Lab, world: World) -> None:
    lab.edit("seed: 7", f"seed: 7\nstore: {{content: {content}}}")
    world.mute = True
    outcome = run(lab.folder)
    assert (outcome.exit_code, outcome.ending.status) == (5, "failed")
    assert "the judge does not speak" in outcome.ending.reason
    kept = len(outcome.results.records)
    assert 0 < kept < 24
    assert kept == sum(world.sent.values())
    world.mute = False
    again = run(lab.folder)
    assert (again.exit_code, again.progress.done, again.progress.total) == (0, 24, 24)
    if content == "full":
        assert set(world.sent.values()) == {1}
    assert all(answer.startswith(("Please describe", "Sell")) for answer in world.scored), "scores are of the answers"
    lengths = {record.sample: record.scores["strict"].value for record in again.results.records}
    assert all(value is not None and value > 20 for value in lengths.values())
    texts = {record.call.response.text for record in again.results.records if record.call.response}
    assert all(text.startswith(("Please", "Sell")) for text in texts) == (content == "full")
    if content != "full":
        assert b"kettle" not in b"".join(v for k, v in lab.files().items() if "paretoken.db" in k)


def test_a_killed_process_s_money_is_booked(lab: Lab, world: World) -> None:
    first = run(lab.folder, limit=2)
    with Database(lab.database) as database:
        ledger = SqlLedger(database, first.results.run.id)
        ledger.hold([f"run:{first.results.run.id}"], Decimal("0.01"), "lost", Origin())
        from paretoken.records import RunBook

        RunBook(database).reopen(first.results.run.id, first.results.run.lock)
    second = run(lab.folder, limit=2)
    assert second.assumed_usd == Decimal("0.01")
    assert second.progress.made == 0
    assert ledger_of(lab, first.results.run.id)[1] == Decimal("0.01")


def test_two_processes_do_not_share_a_run(lab: Lab) -> None:
    lab.edit("  - id: echo/a", "  - id: echo/a\n    latency_s: 30.0")
    code = (
        "import sys; from paretoken.experiment import archive; from pathlib import Path\n"
        "with archive.alone(Path(sys.argv[1]), sys.argv[2]): print('held', flush=True); sys.stdin.read()"
    )
    lab.edit("    latency_s: 30.0\n", "")
    first = run(lab.folder, limit=1)
    with Database(lab.database) as database:
        from paretoken.records import RunBook

        RunBook(database).reopen(first.results.run.id, first.results.run.lock)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(lab.root), first.results.run.id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(SpecError, match="in progress in another process") as caught:
        run(lab.folder, limit=1)
    assert "--fresh" in str(caught.value)
    fresh = run(lab.folder, limit=1, fresh=True)
    assert fresh.exit_code == 0
    process.communicate()
    assert process.returncode == 0
    assert open_run(first.results.run.id).run.status == "running"


def test_two_first_starts_at_once_make_one_run(lab: Lab) -> None:
    lab.edit("  - id: echo/a", "  - id: echo/a\n    latency_s: 0.3")
    command = [sys.executable, "-m", "paretoken", "run", "lab", "--json"]
    started = [subprocess.Popen(command, cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"]
    ended = [(process.communicate(), process.returncode) for process in started]
    codes = sorted(code for _, code in ended)
    assert codes in ([0, 0], [0, 2]), ended
    for (_, err), code in ended:
        assert b"Traceback" not in err
        assert code == 0 or b"in progress in another process" in err
    with Database(lab.database) as database:
        from paretoken.records import RunBook

        assert len(RunBook(database).all()) == 1


def test_the_same_seed_gives_the_same_run(lab: Lab, world: World) -> None:
    first = run(lab.folder)
    lab.database.unlink()
    second = run(lab.folder)
    assert numbers(first) == numbers(second)
    assert first.results.run.id == second.results.run.id
    assert [(r.sample, r.variant) for r in first.results.records] == [
        (r.sample, r.variant) for r in second.results.records
    ]


def test_a_price_from_the_book_is_locked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from paretoken.core.clock import SystemClock

    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n',
             "  - id: openai/gpt-4o-mini\n")  # fmt: skip
    lock = resolve.load_design(lab.folder, SystemClock()).lock
    assert Decimal(lock["models"]["openai/gpt-4o-mini"]["price"]["rates"]["input_per_mtok"]) > 0
    assert "sk-test" not in json.dumps(lock)


MODELS = ("big", "small", "tiny")
REPLAY = """\
  - replay: answers.jsonl
    by: model
    key: id
    output: text
    usage: [tokens_in, tokens_out]
    prices:
      big: {input_per_mtok: "5", output_per_mtok: "20"}
      small: {input_per_mtok: "1", output_per_mtok: "4"}
      tiny: free
"""


@pytest.fixture
def recording(lab: Lab) -> Lab:
    """Three models' recorded answers to the twelve samples, each with a human's score from 1 to 10."""
    rows = [
        {"model": model, "id": f"s{i}", "text": f"{model} says {i} is free", "tokens_in": 100, "tokens_out": 50,
         "human": 10 - 3 * rank - (i % 2)}
        for rank, model in enumerate(MODELS)
        for i in range(12)
    ]  # fmt: skip
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - {column: human, range: [1, 10]}")
    lab.edit("minimize: [list_usd]", "minimize: [list_usd, latency_s.p95]")
    lab.edit("maximize: [contains]", "maximize: [human]")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    return lab


def test_recorded_answers_become_models(recording: Lab) -> None:
    outcome = run(recording.folder)
    assert outcome.exit_code == 0, outcome.ending
    rows = {row["variant"]: row for row in front_rows(outcome.results)}
    assert set(rows) == set(MODELS)
    assert rows["big"]["human"] == pytest.approx((10 - 0.5 - 1) / 9, abs=1e-3)
    assert rows["tiny"]["human"] == pytest.approx((4 - 0.5 - 1) / 9, abs=1e-3)
    assert rows["big"]["list_usd_per_1k_calls"] == pytest.approx(1000 * (100 * 5 + 50 * 20) / 1e6)
    assert {row["standing"] for row in rows.values()} == {"front"}
    assert all(summary.billed_usd_total == 0 for summary in outcome.results.summaries)
    assert ledger_of(recording, outcome.results.run.id) == (0, 0)
    assert outcome.results.run.lock["dropped"] == {
        "latency_s.p95": "the recorded answers have no latency (`latency: none`)"
    }
    assert outcome.results.objectives.names == ("list_usd", "human")
    again = run(recording.folder)
    assert (again.progress.made, front_rows(again.results)) == (0, front_rows(outcome.results))


def test_a_recording_is_scored_after_an_interruption(recording: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from paretoken.scoring.column import Column

    tried = Column.score

    async def refuse(self: Column, items: list[ScoreItem]) -> list[list[Scored]]:
        if items[0].origin.run:
            raise ScoreError("not now")
        return await tried(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(Column, "score", refuse)
        assert run(recording.folder).exit_code == 5
    outcome = run(recording.folder)
    assert outcome.exit_code == 0
    assert outcome.progress.done == outcome.progress.total == 36
    assert all(record.scores["human"].value is not None for record in outcome.results.records)


def test_only_some_models_of_a_recording(recording: Lab) -> None:
    recording.edit("    prices:", "    only: [small, big]\n    prices:")
    design = resolve.load_design(recording.folder, _clock())
    assert [variant.model for variant in design.variants] == ["replay/small", "replay/big"]
    recording.edit("[small, big]", "[smal]")
    with pytest.raises(SpecError, match=r"models\[0\].only: 'smal' is not recorded.*Did you mean 'small'"):
        resolve.load_design(recording.folder, _clock())


def test_nothing_is_left_to_optimise(recording: Lab) -> None:
    recording.edit("[list_usd, latency_s.p95]", "[latency_s.p95]")
    recording.edit("maximize: [human]\n", "")
    with pytest.raises(SpecError, match=r"minimize.*no latency"):
        resolve.load_design(recording.folder, _clock())


def test_a_sample_that_was_not_recorded_is_a_failed_call(recording: Lab) -> None:
    lines = (recording.folder / "answers.jsonl").read_text().splitlines()
    recording.write("answers.jsonl", "\n".join(line for line in lines if '"big", "id": "s3"' not in line))
    outcome = run(recording.folder)
    (failed,) = (record for record in outcome.results.records if record.error)
    assert failed.sample == "s3"
    assert "no recorded answer of 'big' to 's3'" in str(failed.error)
    assert outcome.exit_code == 0


def _clock() -> Clock:
    from paretoken.core.clock import SystemClock

    return SystemClock()


def test_a_pilot_is_the_beginning_of_the_run_and_narrows_the_forecast(lab: Lab, world: World) -> None:
    _, before = plan(lab.folder)
    assert before.predicted is None
    pilot = run(lab.folder, pilot=10)
    assert (pilot.exit_code, pilot.ending.status, pilot.progress.made) == (0, "stopped", 20)
    _, after = plan(lab.folder)
    assert after.predicted is not None
    assert [variant.to_send for variant in after.variants] == [2, 2]
    assert all(variant.predicted.n == 10 for variant in after.variants)
    assert before.total("low_usd") < after.predicted.low + float(pilot.progress.billed_usd)
    assert after.predicted.high < float(after.total("high_usd"))
    whole = run(lab.folder)
    assert whole.results.run.id == pilot.results.run.id
    assert (whole.progress.made, whole.ending.status, set(world.sent.values())) == (4, "finished", {1})
    assert run(lab.folder, pilot=10).progress.made == 0, "a finished run needs no pilot"


def test_a_pilot_keeps_to_the_budget(lab: Lab, world: World) -> None:
    set_budget(lab, "0.0008")
    pilot = run(lab.folder, pilot=10)
    assert pilot.exit_code == 3
    assert sum(ledger_of(lab, pilot.results.run.id)) <= Decimal("0.0008")


def test_the_certain_bound_counts_retries_and_engine_time(lab: Lab) -> None:
    _, once = plan(lab.folder)
    lab.edit("seed: 7", "seed: 7\nattempts: 3")
    _, thrice = plan(lab.folder)
    assert thrice.total("high_usd") == once.total("high_usd")
    assert thrice.total("certain_usd") == once.total("certain_usd") * 3 / 4
    lab.edit(
        'price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}', 'timeout_s: 10\n    price: {per_compute_s: "0.5"}'
    )
    _, busy = plan(lab.folder)
    assert busy.total("high_usd") == 24 * 5
    assert busy.total("certain_usd") == 24 * 5 * 3
