from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt, Call
from paretoken.core.clock import SystemClock
from paretoken.core.usage import ZERO
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger, book_orphans
from paretoken.records.database import holds_table, scopes_table

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import random, sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response
from paretoken.core.clock import SystemClock
from paretoken.core.usage import Usage
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger, book_orphans

at, chance = datetime(2026, 1, 1, tzinfo=UTC), random.Random(sys.argv[2])
database = Database(Path(sys.argv[1]))
ledger, journal, cache = SqlLedger(database, "run"), SqlJournal(database), SqlCache(database, SystemClock())
ledger.set_limits({"run": Decimal(1000), "team": None})
book_orphans(ledger, journal, SystemClock())
for number in range(100_000):
    request = Request("m", (Message("user", f"{sys.argv[2]} {number}" * chance.randrange(1, 99)),), 8,
                      origin=Origin("run", str(number), scopes=("run", "team")))
    bound = Decimal(chance.randrange(1, 10**9)).scaleb(-12)
    hold = ledger.hold(request.origin.scopes, bound, request.key, request.origin)
    billed = (bound / 3).quantize(Decimal("1e-12"))
    assumed = Decimal(0) if number % 3 else bound - billed
    attempt = Attempt(request.key, request.origin, at, "ok", Usage(), billed, assumed)
    response = Response("x" * chance.randrange(5000), Usage(), billed_usd=billed)
    with database.transaction():
        ledger.settle(hold, billed, assumed)
        journal.append([attempt])
        cache.put(request.key, response)
    journal.append([Call(request, at, response, billed_usd=billed + assumed)])
    print(request.key, flush=True)
"""


def test_killed_at_any_moment_the_money_matches_the_attempts(tmp_path: Path):
    path, chance = tmp_path / "records.db", random.Random(7)
    committed: list[str] = []
    for round_ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(round_)], stdout=subprocess.PIPE) as writer:
            committed += [writer.stdout.readline().decode().strip() for _ in range(chance.randrange(1, 60))]
            for _ in range(chance.randrange(20_000)):
                pass  # it is somewhere in its next step
            writer.kill()
            committed += writer.stdout.read().decode().split("\n")[:-1]
        with Database(path) as database:
            assert database.connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            ledger = SqlLedger(database, "run")
            before = ledger.spent("run")
            orphans = book_orphans(ledger, SqlJournal(database), SystemClock())
            billed, assumed = ledger.spent("run")
            assert (billed, assumed) == (before[0], before[1] + orphans)
            assert ledger.spent("team") == (billed, assumed)
            assert database.connection.execute(holds_table.select()).all() == []
            assert {row.held_pico for row in database.connection.execute(scopes_table.select())} == {0}

            entries = [entry for _, entry in SqlJournal(database).read("run")]
            attempts = [entry for entry in entries if isinstance(entry, Attempt)]
            calls = [entry for entry in entries if isinstance(entry, Call)]
            assert set(committed) <= {call.request.key for call in calls}
            answered = [attempt for attempt in attempts if attempt.outcome == "ok"]
            assert 0 <= len(answered) - len(calls) <= round_ + 1
            assert len(attempts) - len(answered) <= round_ + 1, "one call was in flight at each kill"
            assert sum((attempt.billed_usd for attempt in attempts), ZERO) == billed
            assert sum((attempt.assumed_usd for attempt in attempts), ZERO) == assumed
            cache = SqlCache(database, SystemClock())
            for attempt in answered:
                assert cache.get(attempt.request_key).billed_usd == attempt.billed_usd
