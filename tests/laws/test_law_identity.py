"""Laws 3 and 4: a hit costs nothing and changes nothing; layers that limit nothing change nothing."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Message, Origin, Request, Response
from paretoken.core.errors import BadResponse, ProviderError, RateLimited, Refused, Unavailable
from paretoken.core.usage import ZERO, Price, Rates, Usage, from_pico, to_pico
from paretoken.gateway.budget import bound_usd
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.onion import Backoff, Limits, Window, build_onion
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger
from paretoken.testing.clock import VirtualClock

PRICE = Price("row", Rates(Decimal("0.15"), Decimal("0.6")))

times = st.none() | st.floats(0, 100)
usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 50),
    output_tokens=st.integers(0, 16),
    estimated=st.booleans(),
    compute_s=st.decimals(0, 9, places=3),
)
responses = st.builds(
    Response,
    text=st.text(),
    usage=usages,
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls", "unknown"]),
    latency_s=times,
    ttft_s=times,
    model_version=st.text(max_size=9),
)
errors = st.builds(lambda kind, text: kind(text), st.sampled_from([RateLimited, BadResponse, Refused, Unavailable]),
                   st.text(max_size=9))  # fmt: skip


class OneAnswer:
    recorded = False
    slots = None

    def __init__(self, outcome: Response | ProviderError) -> None:
        self.outcome = outcome
        self.sent: list[Request] = []

    async def generate(self, request: Request) -> Response:
        self.sent.append(request)
        if isinstance(self.outcome, ProviderError):
            raise self.outcome
        return self.outcome

    async def count_tokens(self, request: Request) -> int | None:
        return None

    async def aclose(self) -> None:
        return None


class Prices:
    def price(self, model: str, at: object) -> Price:
        return PRICE


def _through(provider: OneAnswer, *requests: Request, attempts: int = 1) -> list[Response | BaseException]:
    """Outcomes of requests sent one after the other through every layer, none of which limits anything."""
    clock = VirtualClock()
    with tempfile.TemporaryDirectory() as folder, Database(Path(folder) / "records.db") as database:
        database.connection.exec_driver_sql("PRAGMA synchronous = OFF")
        ledger = SqlLedger(database, "run")
        ledger.set_limits({"run": None})
        onion = build_onion(
            provider, prices=Prices(), gate=HoldGate(ledger, clock, (), 1), journal=SqlJournal(database),
            cache=SqlCache(database, clock), cache_mode="read_write", clock=clock, limits=Limits(),
            model="m", shared=Window(9),            backoff=Backoff(attempts), timeout_s=60, seed=0,
        )  # fmt: skip

        async def main() -> list[Response | BaseException]:
            return [(await asyncio.gather(onion.generate(r), return_exceptions=True))[0] for r in requests]

        return clock.run(main())


def _ask(sample: str = "s") -> Request:
    return Request("m", (Message("user", "x"),), 16, origin=Origin("run", sample, scopes=("run",)))


@settings(max_examples=40)
@given(responses | errors)
def test_layers_that_limit_nothing_change_nothing(outcome: Response | ProviderError):
    provider = OneAnswer(outcome)
    (got,) = _through(provider, _ask())
    if isinstance(outcome, ProviderError):
        assert got is outcome
    else:
        assert replace(got, attempts=(), list_usd=ZERO, billed_usd=ZERO, price_row="") == outcome
        assert got.list_usd == from_pico(to_pico(PRICE.cost(outcome.usage)))
        bound = bound_usd(_ask(), PRICE, 60)
        assert got.billed_usd == (bound if outcome.usage.estimated else got.list_usd), "an estimate may be too low"
    assert provider.sent == [_ask()]


@settings(max_examples=40)
@given(responses)
def test_a_hit_costs_nothing_and_changes_nothing(answer: Response):
    provider = OneAnswer(answer)
    paid, hit = _through(provider, _ask("one"), _ask("two"))
    assert len(provider.sent) == 1
    assert hit == replace(paid, from_cache=True, billed_usd=ZERO, attempts=())
