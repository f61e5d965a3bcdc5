"""What a call costs on the way, how hard the cap is, and what a crash costs, beside a bare HTTP loop.

    python bench/call_path.py [--quick] [--large] [--rounds N] [--server URL] [--peers NAME=COMMAND ...]

2,000 calls at concurrency 64 against a 50 ms server: our own, or `--server`. A peer's command is run with `{url}`,
`{work}`, `{n}` and `{concurrency}` filled in. Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workload import (
    N_CALLS,
    N_SAMPLES,
    Server,
    bare_command,
    finish,
    measure,
    run_command,
    serving,
    start,
    verb_command,
    write_spec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workload import Measured

ONE_CORE = ["taskset", "-c", "0"] if shutil.which("taskset") else []
LATENCY_S = 0.05
CONCURRENCY = 64
BASE = {"latency": LATENCY_S, "rpm": 0, "retry_after": "1", "subsets": False, **dict.fromkeys(
    ("f429", "f500", "f503", "freset", "ftrunc", "ftrickle", "fhang", "ftype", "fnousage", "ffilter"), 0)}  # fmt: skip
FAULTS = {"f429": 0.05, "f500": 0.02, "freset": 0.01, "ftrunc": 0.1, "ftrickle": 0.01, "trickle_s": 1.0, "ftype": 0.01,
          "fnousage": 0.02, "ffilter": 0.01, "subsets": True}  # fmt: skip


def say(
    figure: str,
    values: Sequence[float],
    unit: str,
    target: str,
    pick: Callable[[Sequence[float]], float] = statistics.median,
) -> None:
    """Print one figure with its range: the median, or what `pick` takes, which is the worst where none may be bad."""
    value, low, high = pick(values), min(values), max(values)
    print(f"{figure:<28}{value:>12.4g}{low:>12.4g}{high:>12.4g}  {unit:<14}{target}", file=sys.stderr, flush=True)
    line = {"bench": "call_path", "figure": figure, "value": round(value, 6), "low": round(low, 6),
            "high": round(high, 6), "unit": unit, "n": len(values), "target": target}  # fmt: skip
    print(json.dumps(line), flush=True)


def check(measured: Measured, code: int = 0) -> Measured:
    """Stop the bench when a run did not end as it should."""
    if measured.code != code:
        raise SystemExit(f"exit code {measured.code}, not {code}:\n{measured.err[-3000:]}")
    return measured


def speed(server: Server, work: Path, rounds: int, peers: dict[str, str]) -> None:
    """Wall time and CPU beside the bare loop, in interleaved rounds."""
    walls: dict[str, list[float]] = {name: [] for name in peers}
    ratios, cpu_ms, bare_cpu_ms, rss = [], [], [], []
    for _ in range(rounds):
        server.configure(**BASE)
        write_spec(work / "bare", server.base_url)
        bare = check(measure(bare_command(server.base_url, N_SAMPLES, CONCURRENCY), work / "bare"))
        server.configure(**BASE)
        write_spec(work / "run", server.base_url)
        ours = check(measure(run_command(), work / "run"))
        stats = server.stats()
        assert (stats["paid"], stats["max_concurrency"]) == (N_CALLS, CONCURRENCY)
        ratios.append(ours.wall_s / bare.wall_s)
        cpu_ms.append(1000 * ours.cpu_s / N_CALLS)
        bare_cpu_ms.append(1000 * bare.cpu_s / N_CALLS)
        rss.append(ours.rss_mb)
        for name, command in peers.items():
            server.configure(**BASE)
            (work / name).mkdir(exist_ok=True)
            filled = command.format(url=server.base_url, work=work / name, n=N_SAMPLES, concurrency=CONCURRENCY)
            walls[name].append(check(measure(shlex.split(filled), work / name)).wall_s / bare.wall_s)
    say("wall_ratio", ratios, "x bare loop", "<= 1.5")
    say("cpu_ms_per_call", cpu_ms, "ms", "<= 1.0")
    say("cpu_ms_per_call.bare", bare_cpu_ms, "ms", "none")
    say("rss_mb_2k", rss, "MB", "<= 150")
    for name, values in walls.items():
        say(f"wall_ratio.{name}", values, "x bare loop", "none")


def reruns(server: Server, work: Path, rounds: int) -> None:
    """The same calls out of the cache, and a finished run printed again."""
    server.configure(**BASE)
    write_spec(work / "run", server.base_url)
    check(measure(run_command(), work / "run"))
    cached = [check(measure(run_command("--fresh"), work / "run")).wall_s for _ in range(rounds)]
    printed = [check(measure(run_command(), work / "run")).wall_s for _ in range(rounds)]
    assert server.stats()["requests"] == N_CALLS
    say("cached_rerun_s", cached, "s", "< 1.5")
    say("reprint_s", printed, "s", "< 1.5")


def rate(server: Server, work: Path, rounds: int) -> None:
    """Calls per second when the server takes no time, the start of the process left out."""
    rates = []
    for _ in range(rounds):
        server.configure(**{**BASE, "latency": 0})
        write_spec(work / "run", server.base_url)
        check(measure([*ONE_CORE, *run_command()], work / "run"))
        rates.append(N_CALLS / server.stats()["window_s"])
    say("calls_per_s_zero_latency", rates, "1/s", ">= 1000")


def tracking(server: Server, work: Path, rounds: int) -> None:
    """What MLflow adds to the wall time, with a new store and with an existing one."""
    added: dict[str, list[float]] = {"new": [], "existing": []}
    for _ in range(rounds):
        server.configure(**BASE)
        write_spec(work / "run", server.base_url)
        plain = check(measure(run_command(), work / "run")).wall_s
        write_spec(work / "run", server.base_url, mlflow=True)
        added["new"].append(check(measure(run_command(), work / "run")).wall_s - plain)
        (work / "run" / ".paretoken" / "paretoken.db").unlink()
        added["existing"].append(check(measure(run_command(), work / "run")).wall_s - plain)
    say("mlflow_added_s", added["existing"], "s", "<= 3")
    say("mlflow_added_s.new_store", added["new"], "s", "<= 5")


def caps(server: Server, work: Path, full_usd: float, quick: bool) -> None:
    """What the server counts beyond the cap, and how much of the cap is used, whatever goes wrong."""
    overshoots, used = [], []
    cap = f"{full_usd / 2:.6f}"
    for concurrency in (1, CONCURRENCY, 512):
        for faults in ({}, FAULTS):
            if quick and concurrency == 1:
                continue
            server.configure(**{**BASE, "latency": 0.001 if concurrency == 1 else LATENCY_S, **faults})
            write_spec(work / "run", server.base_url, concurrency=concurrency, budget_usd=cap)
            ended = check(measure(run_command(), work / "run"), 3)
            assert "is reached" in ended.err
            overshoots.append(max(0.0, server.stats()["usd"] - float(cap)))
            if not faults:
                used.append(server.stats()["usd"] / float(cap))
    small = 200 * full_usd / N_CALLS
    server.configure(**BASE)
    write_spec(work / "run", server.base_url, budget_usd=f"{small:.6f}")
    check(measure(run_command(), work / "run"), 3)
    overshoots.append(max(0.0, server.stats()["usd"] - small))
    say("cap_overshoot_usd", overshoots, "USD", "0", max)
    say("cap_used_rate", used, "of the cap", ">= 0.95", min)
    say("cap_used_rate.200_calls", [server.stats()["usd"] / small], "of the cap", ">= 0.95")


def shared_cap(server: Server, work: Path, full_usd: float) -> None:
    """Several processes that share one budget."""
    server.configure(**{**BASE, **FAULTS})
    write_spec(work / "run", server.base_url, cache=False)
    cap = full_usd / 2
    (work / "run" / ".paretoken").mkdir()
    (work / "run" / ".paretoken" / "budgets.yaml").write_text(f'caps:\n  - {{scope: all, usd: "{cap:.6f}"}}\n')
    folders = [work / "run" / f"part{i}" for i in range(3)]
    for i, folder in enumerate(folders):
        folder.mkdir()
        for file in (*(work / "run").glob("*.md"), work / "run" / "data.jsonl"):
            (folder / file.name).write_bytes(file.read_bytes())
        text = (work / "run" / "spec.yaml").read_text()
        (folder / "spec.yaml").write_text(text.replace("experiment: load", f"experiment: load-{i}"))
    started_s = time.perf_counter()
    processes = [start(run_command(), folder) for folder in folders]
    for process, folder in zip(processes, folders, strict=True):
        check(finish(process, folder, started_s), 3)
    usd = server.stats()["usd"]
    say("cap_overshoot_usd.shared", [max(0.0, usd - cap)], "USD", "0", max)


def crashes(server: Server, work: Path, n_kills: int) -> None:
    """Kill at random points, run the same command again: what is paid twice, what was in flight."""
    chance = random.Random(7)
    twice, resent, same = [], [], []
    server.configure(**BASE)
    write_spec(work / "whole", server.base_url)
    whole = numbers(check(measure(run_command("--json"), work / "whole")).out)
    for _ in range(n_kills):
        server.configure(**BASE)
        write_spec(work / "run", server.base_url)
        process = start(run_command(), work / "run")
        goal = chance.randrange(1, N_CALLS - 100)
        while server.stats()["paid"] < goal:
            time.sleep(chance.uniform(0, 0.004))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2 * LATENCY_S)  # what was in flight is paid in the meantime
        paid, committed = server.stats()["paid"], count_answers(work / "run", work / "copy")
        again = check(measure(run_command("--json"), work / "run"))
        twice.append(float(server.stats()["paid"] - paid - (N_CALLS - committed)))
        resent.append(float(server.stats()["paid_again"]))
        same.append(numbers(again.out) == whole)
    say("paid_twice", twice, "calls", "0", max)
    say("resent_in_flight", resent, "calls", f"<= {CONCURRENCY}", max)
    say("same_table_after_crash", [sum(same) / len(same)], "of the kills", "1")


def count_answers(folder: Path, copy: Path) -> int:
    """Paid answers on disk, read from a copy: what the kill left is for the resumed run to find."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / ".paretoken", copy)
    query = "SELECT count(*) FROM entries WHERE kind = 'attempt' AND json_extract(body, '$.outcome') = 'ok'"
    with sqlite3.connect(copy / "paretoken.db") as database:
        return int(database.execute(query).fetchone()[0])


def numbers(out: str) -> list[dict[str, Any]]:
    """The closing table without what the clock decides."""
    rows: list[dict[str, Any]] = json.loads(out)["front"]
    return [{k: v for k, v in row.items() if "latency" not in k and "billed" not in k} for row in rows]


def faults(server: Server, work: Path, rounds: int) -> None:
    """Cells without a record, and calls counted twice, when a fifth of the answers go wrong."""
    lost, counted = [], []
    for seed in range(1, rounds + 1):
        server.configure(**{**BASE, **FAULTS, "seed": seed, "retry_after": "" if seed % 2 else "0.1"})
        write_spec(work / "run", server.base_url)
        check(measure(run_command(), work / "run"))
        with sqlite3.connect(work / "run" / ".paretoken" / "paretoken.db") as database:
            query = "SELECT count(*), count(DISTINCT sample || variant) FROM entries WHERE kind = 'call'"
            calls, distinct = database.execute(query).fetchone()
            billed, assumed = database.execute("SELECT sum(billed_pico), sum(assumed_pico) FROM scopes").fetchone()
        lost.append(float(N_CALLS - distinct))
        counted.append(float(calls - distinct))
        assert (billed + assumed) / 1e12 >= server.stats()["usd"] - 1e-9, "every paid answer is in the ledger"
    say("lost_under_faults", lost, "calls", "0", max)
    say("counted_twice", counted, "calls", "0", max)


def limits(server: Server, work: Path) -> None:
    """Two models of 200 requests per minute each, enforced over a sliding minute: what is used, what is turned away."""
    rpm, n = 200, 200
    server.configure(**{**BASE, "rpm": 2 * rpm})
    write_spec(work / "run", server.base_url, n=n, rpm=rpm)
    check(measure(run_command(), work / "run"))
    stats = server.stats()
    server.configure(rpm=0)
    say("limit_used_rate", [(stats["paid"] - 2) / stats["window_s"] * 60 / (2 * rpm)], "of the limit", ">= 0.97")
    say("limit_rejected_rate", [stats["rejected"] / stats["requests"]], "of the calls", "< 0.01")


def token_limit() -> None:
    """What 3,000 short answers use of 60,000 tokens per minute in virtual time, whatever a vendor's headers say."""
    from paretoken.core.calls import Message, RateLimit, Request, Response
    from paretoken.core.usage import Usage
    from paretoken.gateway.throttle import Limits, Throttle
    from paretoken.gateway.window import Window
    from paretoken.testing.clock import VirtualClock

    tpm, n, used = 60_000, 3_000, 30

    def use(said: RateLimit | None) -> float:
        clock = VirtualClock()

        class Vendor:
            async def generate(self, request: Request) -> Response:
                await clock.sleep(LATENCY_S)
                return Response("short", Usage(input_tokens=10, output_tokens=used - 10), rate_limit=said)

        throttle = Throttle(Vendor(), limits=Limits(tpm=tpm, concurrency=64), shared=Window(64), clock=clock)

        async def main() -> None:
            asks = [Request("m", (Message("user", str(i)),), max_tokens=1_000) for i in range(n)]
            await asyncio.gather(*map(throttle.generate, asks))

        clock.run(main())
        return n * used / (clock.monotonic() / 60) / tpm

    stated = [RateLimit(9_000, 0.0), RateLimit(9_000, 60.0), RateLimit(10_000, 500.0), RateLimit(10**6, 1e9)]
    say("limit_used_rate.tokens", [use(None)], "of the limit", ">= 0.97")
    say("limit_used_rate.headers", [use(said) for said in stated], "of the limit", ">= 0.97", min)


def large(server: Server, work: Path, rounds: int) -> None:
    """Memory of a run of 200,000 calls, without and with MLflow, and how long it takes to look at one."""
    server.configure(**{**BASE, "latency": 0.005})
    write_spec(work / "run", server.base_url, n=50_000, cache=False)
    ended = check(measure(run_command(), work / "run"))
    say("rss_mb_200k", [ended.rss_mb], "MB", "<= 300")
    say("wall_s_200k", [ended.wall_s], "s", "none")
    for figure, command in (
        ("reprint_s_200k", run_command()),
        ("front_s_200k", verb_command("front", "last")),
        ("show_s_200k", verb_command("show", "last")),
    ):
        say(figure, [check(measure(command, work / "run")).wall_s for _ in range(rounds)], "s", "<= 2")
    write_spec(work / "run", server.base_url, n=50_000, cache=False, mlflow=True)
    say("rss_mb_200k_tracked", [check(measure(run_command(), work / "run")).rss_mb], "MB", "<= 400")


def main() -> None:
    """Measure everything in one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, one kill")
    parser.add_argument("--large", action="store_true", help="also 200,000 calls, some minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", help="base URL of a running test server")
    parser.add_argument("--peers", nargs="*", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    print(f"{'figure':<28}{'median':>12}{'low':>12}{'high':>12}  {'unit':<14}target", file=sys.stderr)
    with serving(options.server) as server, tempfile.TemporaryDirectory() as name:
        work = Path(name)
        speed(server, work, rounds, dict(peer.split("=", 1) for peer in options.peers))
        reruns(server, work, rounds)
        full_usd = server.stats()["usd"]
        rate(server, work, rounds)
        tracking(server, work, 1 if options.quick else min(rounds, 3))
        caps(server, work, full_usd, options.quick)
        shared_cap(server, work, full_usd)
        crashes(server, work, 1 if options.quick else 20)
        faults(server, work, rounds)
        token_limit()
        if not options.quick:
            limits(server, work)
        if options.large:
            large(server, work, rounds)


if __name__ == "__main__":
    main()
