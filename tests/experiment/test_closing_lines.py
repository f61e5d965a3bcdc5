"""However a run ends, its closing lines, exports and costs tell what the ledger and the journal say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import paretoken
from paretoken.core.calls import Attempt
from paretoken.core.clock import SystemClock
from paretoken.experiment.archive import open_log
from paretoken.experiment.notebook import bar_html, complete
from paretoken.experiment.runner import Progress
from paretoken.records import Database, SqlJournal, SqlLedger
from paretoken.report.cautions import score_cautions

if TYPE_CHECKING:
    from conftest import Lab

Reply = Callable[[int], tuple[int, dict[str, Any]]]
FAR_TOO_MUCH = {"prompt_tokens": 20, "completion_tokens": 500_000}


def said(usage: dict[str, int] | None = None, text: str = "A free lamp.", finish: str = "stop") -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 20, "completion_tokens": 10},
    }


class Hurried(SystemClock):
    """A hundred times as fast."""

    def monotonic(self) -> float:
        return 100 * super().monotonic()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


@pytest.fixture
def answers(lab: Lab) -> Iterator[Callable[[Reply], None]]:
    """Let the lab's model be an endpoint whose n-th reply a function gives."""
    servers: list[ThreadingHTTPServer] = []

    def serve(reply: Reply) -> None:
        numbers = iter(range(1, 10_000))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                status, body = reply(next(numbers))
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                with suppress(OSError):  # the client may have left
                    self.wfile.write(raw)

            def log_message(self, *_: object) -> None: ...

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[0].serve_forever, daemon=True).start()
        port = servers[0].server_address[1]
        lab.edit("  - id: echo/a", f"  - id: vllm/m\n    base_url: http://127.0.0.1:{port}/v1")
        lab.edit("seed: 7", "seed: 7\nconcurrency: 4\nattempts: 2")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def booked(lab: Lab, run: paretoken.experiment.runner.RunInfo) -> tuple[Decimal, int]:
    """What the ledger has for a run, and how many calls its journal has attempts of."""
    with Database(lab.database) as database:
        money = sum(SqlLedger(database, "reader").spent(run.scope), Decimal(0))
        attempts = [e.origin for _, e in SqlJournal(database).read(run.id) if isinstance(e, Attempt)]
    return money, len({(o.sample, o.variant, o.repeat) for o in attempts})


ENDINGS: dict[str, tuple[Reply, int]] = {
    "finished": (lambda n: (200, said()), 0),
    "endpoint down": (lambda n: (200, said()) if n <= 5 else (500, {"error": {"message": "boom"}}), 4),
    "out of credit": (lambda n: (200, said()) if n <= 5 else (402, {"error": {"message": "Insufficient Balance"}}), 4),
    "above the bound": (lambda n: (200, said() if n <= 3 else said(FAR_TOO_MUCH)), 4),
    "half fails": (lambda n: (200, said()) if n % 2 else (400, {"error": {"message": "no"}}), 0),
    "no usage": (lambda n: (200, said({"prompt_tokens": 0, "completion_tokens": 0})), 0),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_money_and_calls_are_those_of_the_ledger_and_the_journal(
    ending: str, lab: Lab, answers: Callable[[Reply], None]
) -> None:
    reply, code = ENDINGS[ending]
    answers(reply)
    outcome = paretoken.run(lab.folder, clock=Hurried())
    money, sent = booked(lab, outcome.results.run)
    assert outcome.exit_code == code
    assert money > 0
    assert (outcome.progress.spent_usd, outcome.progress.billed_usd, outcome.progress.sent) == (money, money, sent)
    assert outcome.progress.done + outcome.progress.unanswered == sent
    assert sum(summary.billed_usd_total for summary in outcome.results.summaries) <= money
    with open_log(outcome.results.run.id) as log:
        assert log.cost_by("model").billed_usd.sum() == money


def test_a_budget_that_is_reached_is_told_to_the_cent(lab: Lab, answers: Callable[[Reply], None]) -> None:
    answers(lambda n: (200, said()))
    lab.edit('usd: "1.00"', 'usd: "0.0015"')
    outcome = paretoken.run(lab.folder)
    money, sent = booked(lab, outcome.results.run)
    assert outcome.exit_code == 3
    assert (outcome.progress.spent_usd, outcome.progress.sent) == (money, sent)


def test_an_interrupted_run_says_what_it_spent(lab: Lab, answers: Callable[[Reply], None]) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def reply(number: int) -> tuple[int, dict[str, Any]]:
        if number > 6:
            reached.set()
            go_on.wait(30)
        return 200, said()

    answers(reply)
    command = [sys.executable, "-m", "paretoken", "run", str(lab.folder), "--no-picture"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=lab.root) as process:
        assert reached.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    go_on.set()
    assert process.returncode == 130
    run = paretoken.open_run("last", lab.root).run
    money, sent = booked(lab, run)
    assert f"{run.id}: interrupted, " in err
    assert f"{sent} sent (" in err
    assert f"${money:f} billed" in err


def test_runs_and_plans_work_where_an_event_loop_is_running(lab: Lab) -> None:
    async def cell() -> tuple[int, str]:
        design, _ = paretoken.plan(lab.folder)
        return design.n_calls, paretoken.run(lab.folder).ending.status

    assert asyncio.run(cell()) == (24, "finished")


def test_the_stop_button_of_a_notebook_ends_a_run_that_cleans_up() -> None:
    started = threading.Event()
    ended: list[str] = []

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    async def cell() -> None:
        threading.Thread(target=lambda: (started.wait(), os.kill(os.getpid(), signal.SIGINT))).start()
        complete(work())

    with closing(asyncio.new_event_loop()) as loop, pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())  # as a notebook's kernel does, which leaves the signal as it is
    assert ended == ["cleaned up"]


def test_a_notebook_shows_calls_money_and_waits() -> None:
    shown = bar_html(Progress(total=10, done=4, spent_usd=Decimal("0.5"), failed=1, waiting="waiting 20 s for <m>"))
    assert '<progress value="4" max="10">' in shown
    assert "4 of 10 calls" in shown
    assert "1 failed" in shown
    assert "&lt;m&gt;" in shown


def test_answers_that_were_cut_or_withheld_are_told(lab: Lab, answers: Callable[[Reply], None]) -> None:
    answers(lambda n: (200, said(finish="length") if n % 2 else said(text="", finish="content_filter")))
    lab.edit("seed: 7\nconcurrency: 4", "seed: 7\nconcurrency: 1")
    results = paretoken.run(lab.folder).results
    assert sum(summary.n_cut for summary in results.summaries) == 12
    assert sum(summary.n_withheld for summary in results.summaries) == 12


@pytest.mark.parametrize("cut", [False, True])
def test_thinking_in_an_answer_is_told_and_can_be_kept_from_scorers(
    cut: bool, lab: Lab, answers: Callable[[Reply], None]
) -> None:
    answers(lambda n: (200, said(text="<think>is it free, or is it not?</think>A lamp.")))
    if cut:
        lab.edit("/v1\n", "/v1\n    think: cut\n")
    results = paretoken.run(lab.folder).results
    told = [caution.words for caution in score_cautions(results) if caution.kind == "thought"]
    assert len(told) == 2
    assert ("left out of scores" in told[0]) == cut
    assert {record.scores["contains"].value for record in results.records} == {0.0 if cut else 1.0}
    assert all("<think>" in record.call.response.text for record in results.records)
