"""Whole runs against a real endpoint in a process of its own: faults, caps, kills, a full disk."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.core.calls import Attempt, Call
from paretoken.core.clock import SystemClock
from paretoken.experiment.api import Outcome, run
from paretoken.experiment.archive import alone
from paretoken.gateway.breaker import THRESHOLD
from paretoken.records import Database, SqlJournal, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Lab

pytestmark = pytest.mark.slow

N_SAMPLES = 50
N_CALLS = 2 * N_SAMPLES
COMMAND = [sys.executable, "-m", "paretoken", "run", "lab", "--no-picture", "--json"]


class Endpoint:
    """The test server's controls."""

    def __init__(self, root: str) -> None:
        self.root = root

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data=data)) as reply:
            return json.load(reply)

    @property
    def usd(self) -> Decimal:
        return Decimal(str(self.ask("/stats")["usd"]))


class Hurried(SystemClock):
    """Waits a hundredth of the time."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


@pytest.fixture
def endpoint(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("MOCK_KEY", "none")
    command = [sys.executable, "-m", "paretoken.testing.server", "--port", "0", "--latency", "0.005"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().split()[1]
        lab.edit("  - id: echo/a", f"  - id: openai/m\n    base_url: http://127.0.0.1:{port}/v1\n"
                 "    api_key_env: MOCK_KEY\n    timeout_s: 1.5")  # fmt: skip
        names = [f"kettle {i}" for i in range(N_SAMPLES)]
        rows = [{"id": name, "product": name, "features": "small", "copy": "x"} for name in names]
        lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        lab.edit("seed: 7", "seed: 7\nconcurrency: 16\nattempts: 12")
        yield Endpoint(f"http://127.0.0.1:{port}")
        process.terminate()


def entries_of(lab: Lab, run_id: str) -> list[object]:
    with Database(lab.database) as database:
        return [entry for _, entry in SqlJournal(database).read(run_id)]


def check_books(lab: Lab, outcome: Outcome, usd: Decimal) -> None:
    """Every attempt is booked once, and no less than the endpoint counts."""
    attempts = [entry for entry in entries_of(lab, outcome.results.run.id) if isinstance(entry, Attempt)]
    with Database(lab.database) as database:
        billed, assumed = SqlLedger(database, "reader").spent(outcome.results.run.scope)
        assert {hold for *_, hold in SqlLedger(database, "reader").scopes()} == {0}
    assert sum((attempt.billed_usd for attempt in attempts), Decimal(0)) == billed
    assert sum((attempt.assumed_usd for attempt in attempts), Decimal(0)) == assumed
    assert usd <= billed + assumed
    assert outcome.progress.spent_usd == billed + assumed
    assert sum(summary.billed_usd_total for summary in outcome.results.summaries) == billed + assumed


@pytest.mark.parametrize("retry_after", ["", "0.2"])
def test_no_fault_loses_or_doubles_a_call(lab: Lab, endpoint: Endpoint, retry_after: str) -> None:
    endpoint.ask("/config", {"f429": 0.1, "f500": 0.05, "f503": 0.03, "freset": 0.05, "ftrunc": 0.1, "ftype": 0.05,
                             "ftrickle": 0.05, "trickle_s": 0.1, "fhang": 0.02, "fnousage": 0.1, "ffilter": 0.05,
                             "subsets": True, "retry_after": retry_after})  # fmt: skip
    outcome = run(lab.folder, clock=Hurried())
    assert (outcome.exit_code, outcome.progress.failed) == (0, 0)
    entries = entries_of(lab, outcome.results.run.id)
    calls = [entry for entry in entries if isinstance(entry, Call)]
    assert Counter((call.origin.sample, call.origin.variant) for call in calls).most_common(1)[0][1] == 1
    assert len(calls) == N_CALLS
    outcomes = Counter(entry.outcome for entry in entries if isinstance(entry, Attempt))
    assert outcomes["ok"] == N_CALLS
    assert {"rate_limited", "unavailable", "bad_response", "timeout"} <= set(outcomes)
    stats = endpoint.ask("/stats")
    assert stats["requests"] == outcomes.total()
    check_books(lab, outcome, Decimal(str(stats["usd"])))
    guessed = [call for call in calls if call.response.usage.estimated]
    assert guessed
    assert all(call.billed_usd > call.response.list_usd for call in guessed), "a guess is booked at its bound"
    assert any(call.response.finish_reason == "content_filter" for call in calls)
    exact = [call for call in calls if not call.response.usage.estimated]
    assert all(0 < call.response.usage.reasoning_tokens < call.response.usage.output_tokens for call in exact
               if call.response.usage.output_tokens > 3)  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 16, 100])
def test_the_endpoint_never_counts_more_than_the_cap(lab: Lab, endpoint: Endpoint, concurrency: int) -> None:
    endpoint.ask("/config", {"f429": 0.1, "f500": 0.1, "freset": 0.05, "ftrunc": 0.1, "fnousage": 0.1,
                             "retry_after": ""})  # fmt: skip
    lab.edit("concurrency: 16", f"concurrency: {concurrency}")
    lab.edit('usd: "1.00"', 'usd: "0.0060"')
    stopped = run(lab.folder, clock=Hurried())
    assert stopped.exit_code == 3
    assert 0 < stopped.progress.done < N_CALLS
    assert endpoint.usd <= Decimal("0.0060")
    check_books(lab, stopped, endpoint.usd)
    assert stopped.left_usd > 0
    lab.edit('usd: "0.0060"', 'usd: "1.00"')
    whole = run(lab.folder, clock=Hurried())
    assert (whole.exit_code, whole.progress.done, whole.progress.made) == (0, N_CALLS, N_CALLS - stopped.progress.done)
    check_books(lab, whole, endpoint.usd)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_account_stops_the_run_and_leaves_the_rest_to_do(lab: Lab, endpoint: Endpoint, status: int) -> None:
    endpoint.ask("/config", {"status": status})
    lab.edit("concurrency: 16", "concurrency: 1")
    outcome = run(lab.folder, clock=Hurried())
    assert (outcome.exit_code, outcome.ending.status) == (4, "failed")
    assert f"HTTP {status}" in outcome.ending.reason
    assert endpoint.ask("/stats")["requests"] <= 2 * THRESHOLD, "not retried, and not hammered"
    endpoint.ask("/config", {"status": 0})
    again = run(lab.folder, retry_errors=True, clock=Hurried())
    assert (again.exit_code, again.progress.done) == (0, N_CALLS)


def test_killed_at_any_moment_the_same_command_goes_on(lab: Lab, endpoint: Endpoint) -> None:
    lab.edit("concurrency: 16", "concurrency: 8")
    whole = subprocess.run(COMMAND, capture_output=True, check=True).stdout
    chance = random.Random(7)
    for _ in range(4):
        lab.database.unlink()
        for suffix in ("-wal", "-shm"):
            lab.database.with_name(lab.database.name + suffix).unlink(missing_ok=True)
        endpoint.ask("/config", {"latency": 0.02})
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = chance.randrange(1, N_CALLS - 20)
        while endpoint.ask("/stats")["paid"] < goal:
            for _ in range(chance.randrange(3000)):
                pass  # it is somewhere in its next step
        process.send_signal(signal.SIGKILL)
        process.wait()
        while endpoint.ask("/stats")["active"]:
            pass
        paid = endpoint.ask("/stats")["paid"]
        with Database(lab.database) as database:
            committed = database.execute("SELECT count(*) FROM entries WHERE kind = 'call'").fetchone()[0]
        again = subprocess.run(COMMAND, capture_output=True, check=True)
        stats = endpoint.ask("/stats")
        assert stats["paid"] - paid == N_CALLS - committed, "no committed call is sent again"
        assert stats["paid_again"] <= 8, "what was in flight, and no more"
        assert _numbers(again.stdout) == _numbers(whole)
        with Database(lab.database) as database:
            spent = sum(SqlLedger(database, "reader").spent(f"run:{json.loads(again.stdout)['run']}"))
        assert Decimal(str(stats["usd"])) <= spent, "what was in flight is booked at its bound"


def test_killed_between_a_judge_s_answer_and_its_score_nothing_is_paid_twice(lab: Lab, endpoint: Endpoint) -> None:
    lab.edit("concurrency: 16", "concurrency: 8")
    lab.edit("  - max_chars: 90", "  - judge: {model: openai/m, rubric: Does it sell?, against: reference}")
    whole = subprocess.run(COMMAND, capture_output=True, check=True).stdout
    n_calls = endpoint.ask("/stats")["paid"]
    chance = random.Random(3)
    unscored = 0
    for _ in range(3):
        lab.database.unlink()
        for suffix in ("-wal", "-shm"):
            lab.database.with_name(lab.database.name + suffix).unlink(missing_ok=True)
        endpoint.ask("/config", {"latency": 0.02})
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = chance.randrange(N_CALLS // 2, n_calls - 40)
        while endpoint.ask("/stats")["paid"] < goal:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        while endpoint.ask("/stats")["active"]:
            pass
        paid = endpoint.ask("/stats")["paid"]
        with Database(lab.database) as database:
            count = "SELECT count(*) FROM entries WHERE kind = '{}' AND role = '{}' AND body LIKE '%{}%'"
            judged, subjects, scored = (
                database.execute(count.format(*found)).fetchone()[0]
                for found in (("call", "judge", ""), ("call", "subject", ""), ("score", "subject", '"metric":"judge"'))
            )
        unscored += judged > 2 * scored
        again = subprocess.run(COMMAND, capture_output=True, check=True)
        stats = endpoint.ask("/stats")
        assert stats["paid"] - paid == n_calls - judged - subjects, "no committed call is sent again"
        assert stats["paid_again"] <= 8, "what was in flight, and no more"
        assert _numbers(again.stdout) == _numbers(whole)
        with Database(lab.database) as database:
            spent = sum(SqlLedger(database, "reader").spent(f"run:{json.loads(again.stdout)['run']}"))
        assert Decimal(str(stats["usd"])) <= spent
    assert unscored, "a kill came between an answer of the judge and its score"


def _numbers(out: bytes) -> list[dict[str, Any]]:
    front = json.loads(out)["front"]
    return [{k: v for k, v in row.items() if "latency" not in k and "billed" not in k} for row in front]


def test_a_full_disk_stops_the_run_and_loses_nothing(lab: Lab, endpoint: Endpoint) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))

    ended = subprocess.run(COMMAND, capture_output=True, preexec_fn=little_room)
    assert ended.returncode == 5, ended.stderr
    assert b"paretoken.db: cannot use the records" in ended.stderr
    assert b"Traceback" not in ended.stderr
    paid = endpoint.ask("/stats")["paid"]
    with Database(lab.database) as database:
        committed = database.execute("SELECT count(*) FROM entries WHERE kind = 'call'").fetchone()[0]
    assert 0 < committed < N_CALLS
    again = subprocess.run(COMMAND, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert endpoint.ask("/stats")["paid"] - paid == N_CALLS - committed


def test_damaged_records_are_recovered_and_the_run_goes_on(lab: Lab, endpoint: Endpoint) -> None:
    whole = run(lab.folder)
    content = lab.database.read_bytes()
    assert content.count(b'"finish_reason"') > N_CALLS
    lab.database.write_bytes(content.replace(b'"outcome":"ok"', b'"outcome":"OK"', 1))
    command = [sys.executable, "-m", "paretoken"]
    shown = subprocess.run([*command, "show", "last"], capture_output=True)
    assert shown.returncode == 5
    assert b"is damaged. `paretoken runs recover`" in shown.stderr
    with alone(lab.root, whole.results.run.id):
        refused = subprocess.run([*command, "runs", "recover"], capture_output=True)
        assert (refused.returncode, b"in progress" in refused.stderr) == (2, True)
    subprocess.run([*command, "runs", "recover"], check=True, capture_output=True)
    assert run(lab.folder).results.summaries[0].estimates == whole.results.summaries[0].estimates
    assert endpoint.ask("/stats")["requests"] == N_CALLS
