"""Law 1 on the gateway: what a provider truly bills never exceeds the cap, whatever it does."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response
from paretoken.core.errors import (
    BadResponse,
    BudgetExceeded,
    EndpointDown,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
    Unavailable,
)
from paretoken.core.usage import ZERO, Price, Rates, Usage
from paretoken.gateway.budget import bound_usd
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.onion import Backoff, Limits, Window, build_onion
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger
from paretoken.records.database import holds_table, scopes_table
from paretoken.testing.clock import VirtualClock

PRICE = Price(
    "row",
    Rates(Decimal(1), Decimal(4), cached_per_mtok=Decimal("0.1"), reasoning_per_mtok=Decimal(7)),
    tiers=((200, Rates(Decimal(2), Decimal(9))),),
    per_request=Decimal("0.00001"),
)
TIMEOUT_S = 30.0
FAILURES = (RateLimited, Timeout, Unavailable, BadResponse, Refused)


@dataclass(frozen=True)
class Plan:
    """What happens to one request: its size, when it comes, what each attempt does, when it is cancelled."""

    text: str
    max_tokens: int
    at_s: float
    attempts: list[tuple[str | type[ProviderError], float, float]]
    cancelled_at_s: float | None


shares = st.floats(0, 1)
kinds = st.sampled_from(["ok", "ok", "ok", "known", *FAILURES])
plans = st.builds(
    Plan,
    st.text("a水", min_size=1, max_size=200),
    st.integers(1, 200),
    st.floats(0, 20),
    st.lists(st.tuples(kinds, shares, st.floats(0, 40)), min_size=1, max_size=3),
    st.none() | st.none() | st.floats(0, 60),
)


@dataclass
class RandomProvider:
    """Counts what it truly bills: for a failure or a cancelled call anything up to what the request can cost."""

    clock: VirtualClock
    plans: list[Plan]
    database: Database
    truly_billed_usd: Decimal = ZERO
    sent: list[str] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    recorded = False
    slots = None

    async def generate(self, request: Request) -> Response:
        number = request.origin.sample
        plan = self.plans[int(number)]
        self.tries[number] = self.tries.get(number, -1) + 1
        kind, share, takes_s = plan.attempts[min(self.tries[number], len(plan.attempts) - 1)]
        self.sent.append(number)
        row = self.database.connection.execute(scopes_table.select()).one()
        assert row.billed_pico + row.assumed_pico + row.held_pico <= row.limit_pico
        most_input = 64 + 16 + len(plan.text.encode())
        usage = Usage(int(most_input * share), int(plan.max_tokens * share), reasoning_tokens=int(share * 2) // 2)
        cost = PRICE.cost(usage)
        assert cost <= bound_usd(request, PRICE, TIMEOUT_S)
        answered = False
        try:
            await self.clock.sleep(takes_s)
            answered = True
        finally:
            if not answered or kind not in (RateLimited, Refused):
                self.truly_billed_usd += cost
        if kind == "ok":
            return Response(f"answer {number}", usage, latency_s=takes_s)
        if kind == "known":
            raise BadResponse("cut", billing="known", usage=usage)
        raise kind("no")

    async def count_tokens(self, request: Request) -> int | None:
        return None

    async def aclose(self) -> None:
        return None


class Prices:
    def price(self, model: str, at: object) -> Price:
        return PRICE


@settings(max_examples=1000)
@given(
    st.lists(plans, min_size=1, max_size=24),
    st.integers(1, 64),
    st.floats(0, 1.2),
    st.integers(1, 3),
    st.sampled_from([None, 30, 600]),
)
def test_the_cap_holds(plans: list[Plan], concurrency: int, cap_share: float, attempts: int, rpm: float | None):
    requests = [
        Request("m", (Message("user", plan.text),), plan.max_tokens, salt=str(i),
                origin=Origin("run", str(i), "v", role="judge" if i % 3 == 0 else "subject", scopes=("run",)))
        for i, plan in enumerate(plans)
    ]  # fmt: skip
    bounds = {request.origin.sample: bound_usd(request, PRICE, TIMEOUT_S) for request in requests}
    cap = (sum(bounds.values(), ZERO) * Decimal(str(cap_share))).quantize(Decimal("1e-12"))
    clock = VirtualClock()
    with tempfile.TemporaryDirectory() as folder, Database(Path(folder) / "records.db") as database:
        database.connection.exec_driver_sql("PRAGMA synchronous = OFF")
        ledger, journal = SqlLedger(database, "run"), SqlJournal(database)
        ledger.set_limits({"run": cap})
        provider = RandomProvider(clock, plans, database)
        onion = build_onion(
            provider, prices=Prices(), gate=HoldGate(ledger, clock, (), TIMEOUT_S), journal=journal,
            cache=SqlCache(database, clock), cache_mode="read_write", clock=clock,
            model="m", shared=Window(1000),
                limits=Limits(rpm=rpm, concurrency=concurrency), backoff=Backoff(attempts), timeout_s=TIMEOUT_S, seed=0,
        )  # fmt: skip
        reserved_at_first_refusal: list[int] = []

        async def send(request: Request, plan: Plan) -> object:
            await clock.sleep(plan.at_s)
            try:
                return await onion.generate(request)
            except BudgetExceeded:
                booked = sum(isinstance(entry, Attempt) for _, entry in journal.read("run"))
                held = len(database.connection.execute(holds_table.select()).all())
                reserved_at_first_refusal.append(booked + held)
                raise

        async def main() -> list[object]:
            tasks = [asyncio.create_task(send(*pair)) for pair in zip(requests, plans, strict=True)]
            for task, plan in zip(tasks, plans, strict=True):
                if plan.cancelled_at_s is not None:
                    asyncio.get_running_loop().call_later(plan.cancelled_at_s, task.cancel)
            return await asyncio.gather(*tasks, return_exceptions=True)

        outcomes = clock.run(main())
        allowed = Response | ProviderError | BudgetExceeded | EndpointDown | asyncio.CancelledError
        assert all(isinstance(outcome, allowed) for outcome in outcomes), outcomes

        billed, assumed = ledger.spent("run")
        assert provider.truly_billed_usd <= billed + assumed
        assert billed + assumed <= cap
        assert database.connection.execute(scopes_table.select()).one().held_pico == 0
        if reserved_at_first_refusal:
            assert len(provider.sent) <= reserved_at_first_refusal[0], "after a refusal nothing more is reserved"
        entries = [entry for _, entry in journal.read("run")]
        booked = [entry for entry in entries if isinstance(entry, Attempt)]
        assert len(booked) == len(provider.sent)
        assert sum((attempt.billed_usd for attempt in booked), ZERO) == billed
        assert sum((attempt.assumed_usd for attempt in booked), ZERO) == assumed
        answered = [outcome for outcome in outcomes if isinstance(outcome, Response)]
        calls = [entry for entry in entries if isinstance(entry, Call)]
        assert sum(call.error is None for call in calls) == len(answered)
        assert sum((call.billed_usd for call in calls), ZERO) <= billed + assumed
