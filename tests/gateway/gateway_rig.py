"""A gateway over a scripted provider, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response
from paretoken.core.usage import Price, Rates, Usage
from paretoken.gateway.budget import bound_usd
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.onion import Backoff, Limits, Window, build_onion
from paretoken.records import Database, SqlCache, SqlJournal, SqlLedger
from paretoken.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from paretoken.core.protocols import ChatModel
    from paretoken.core.usage import Price as PriceRow

PRICE = Price("row", Rates(Decimal(1), Decimal(4)))
TIMEOUT_S = 60.0


def ask(text: str = "Describe the kettle.", **fields: object) -> Request:
    fields = {"max_tokens": 100, "origin": Origin("run", "s1", "v", scopes=("run",))} | fields
    return Request("m", (Message("user", text),), **fields)


def answer(text: str = "A kettle.", input_tokens: int = 20, output_tokens: int = 10) -> Response:
    return Response(text, Usage(input_tokens=input_tokens, output_tokens=output_tokens), latency_s=0.5)


BOUND = bound_usd(ask(), PRICE, TIMEOUT_S)
COST = PRICE.cost(answer().usage)


class Prices:
    def __init__(self, price: PriceRow = PRICE) -> None:
        self._price = price

    def price(self, model: str, at: datetime) -> PriceRow:
        return self._price


@dataclass
class Scripted:
    """Does one step per request, then repeats the last; a step is an answer, an error or a function that gives one."""

    clock: VirtualClock
    steps: list[Response | BaseException | Callable[[Request], Response | BaseException]]
    takes_s: float = 0.0
    recorded: bool = False
    slots: int | None = None
    sent: list[tuple[float, Request]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def generate(self, request: Request) -> Response:
        step = self.steps[min(len(self.sent), len(self.steps) - 1)]
        self.sent.append((self.clock.monotonic(), request))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.clock.sleep(self.takes_s)
        finally:
            self.in_flight -= 1
        outcome = step(request) if callable(step) else step
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def count_tokens(self, request: Request) -> int | None:
        return None

    async def aclose(self) -> None:
        return None

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.sent]


class Rig:
    def __init__(self, folder: Path, *steps: object, cap: str | None = "1.00", takes_s: float = 0.0) -> None:
        self.clock = VirtualClock()
        self.database = Database(folder / "records.db")
        self.ledger = SqlLedger(self.database, "run")
        self.ledger.set_limits({"run": None if cap is None else Decimal(cap)})
        self.gate = HoldGate(self.ledger, self.clock, (), patience_s=TIMEOUT_S)
        self.journal = SqlJournal(self.database)
        self.store = SqlCache(self.database, self.clock)
        self.provider = Scripted(self.clock, list(steps) or [answer()], takes_s)

    def onion(self, **changes: object) -> ChatModel:
        parts = {
            "prices": Prices(),
            "gate": self.gate,
            "journal": self.journal,
            "cache": self.store,
            "cache_mode": "read_write",
            "clock": self.clock,
            "model": "m",
            "limits": Limits(),
            "shared": Window(1000),
            "backoff": Backoff(attempts=1),
            "timeout_s": TIMEOUT_S,
            "seed": 0,
        }
        return build_onion(self.provider, **(parts | changes))

    def ask_all(self, *requests: Request, **changes: object) -> list[Response | BaseException]:
        """Send requests at once, give their outcomes."""
        onion = self.onion(**changes)

        async def main() -> list[Response | BaseException]:
            return await asyncio.gather(*(onion.generate(request) for request in requests), return_exceptions=True)

        return self.clock.run(main())

    @property
    def spent(self) -> tuple[Decimal, Decimal]:
        return self.ledger.spent("run")

    @property
    def calls(self) -> list[Call]:
        return [entry for _, entry in self.journal.read("run") if isinstance(entry, Call)]

    @property
    def attempts(self) -> list[Attempt]:
        return [entry for _, entry in self.journal.read("run") if isinstance(entry, Attempt)]
