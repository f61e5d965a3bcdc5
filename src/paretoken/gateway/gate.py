"""The way to the ledger: waits for money that calls in flight may give back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from paretoken.core.errors import BudgetExceeded, StoreError
from paretoken.core.usage import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock, Hold, Ledger
    from paretoken.gateway.scopes import Cap

POLL_S = 0.2
"""How often money held by other processes is looked at again [s]."""


class HoldGate:
    """Holds money for attempts, in order of arrival. One per ledger and process.

    Args:
        ledger: Where money is held.
        clock: Dates windows, and times waits.
        caps: Limits by the scope they cover; a scope without one is a row of the ledger by itself.
        patience_s: How long money that other processes hold is waited for [s].
    """

    def __init__(self, ledger: Ledger, clock: Clock, caps: Iterable[Cap], patience_s: float) -> None:
        self._ledger, self._clock, self._patience_s = ledger, clock, patience_s
        self._caps: dict[str, list[Cap]] = {}
        for cap in caps:
            self._caps.setdefault(cap.scope, []).append(cap)
        self._open: dict[str, Cap] = {}
        self._turn = asyncio.Lock()
        self._settled = asyncio.Event()
        self._in_flight = 0
        self._exhausted: BudgetExceeded | None = None

    async def hold(self, request: Request, bound_usd: Decimal) -> Hold:
        """Reserve money on disk, waiting while holds in flight may still come back.

        Raises:
            BudgetExceeded: It does not fit whatever comes back, or what others hold did not come back in time. From
                then on everything is refused: going on with cheaper calls would bias the sample.
        """
        hold = await self._reserve(request, bound_usd)
        self._in_flight += 1
        try:
            await self._ledger.committed()
        except StoreError:
            self._leave()
            raise
        except BaseException:
            self.settle(hold, ZERO, ZERO)
            raise
        return hold

    async def _reserve(self, request: Request, bound_usd: Decimal) -> Hold:
        async with self._turn:
            if self._exhausted is not None:
                raise self._exhausted
            gives_up_at = self._clock.monotonic() + self._patience_s
            while True:
                now = self._clock.now()
                try:
                    return self._ledger.hold(self._rows(request, now), bound_usd, request.key, request.origin)
                except BudgetExceeded as error:
                    hopeless = error.spent + error.needed > error.limit
                    if hopeless or (not self._in_flight and self._clock.monotonic() >= gives_up_at):
                        self._exhausted = self._dated(error, now)
                        raise self._exhausted from None
                    await self._wait()

    def _rows(self, request: Request, now: datetime) -> list[str]:
        rows: list[str] = []
        for scope in request.origin.scopes:
            caps = self._caps.get(scope)
            if caps is None:
                rows.append(scope)
                continue
            for cap in caps:
                row = cap.row(now)
                if row not in self._open:
                    self._ledger.set_limits({row: cap.usd})
                    self._open[row] = cap
                rows.append(row)
        return rows

    def _dated(self, error: BudgetExceeded, now: datetime) -> BudgetExceeded:
        cap = self._open.get(error.scope)
        resets_at = None if cap is None else cap.resets_at(now)
        return error if resets_at is None else error.resetting(resets_at)

    async def _wait(self) -> None:
        if not self._in_flight:
            await self._clock.sleep(POLL_S)
            return
        self._settled.clear()
        await self._settled.wait()

    def settle(self, hold: Hold, billed_usd: Decimal, assumed_usd: Decimal) -> None:
        """Book an attempt, and wake whoever waits for money."""
        try:
            self._ledger.settle(hold, billed_usd, assumed_usd)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._settled.set()
