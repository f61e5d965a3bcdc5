"""The outermost layer: every logical call is recorded once, with its attempts or its hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.calls import Call
from paretoken.core.errors import ProviderError
from paretoken.core.usage import ZERO

if TYPE_CHECKING:
    from decimal import Decimal

    from paretoken.core.calls import Attempt, Request, Response
    from paretoken.core.protocols import ChatModel, Clock, RecordStore


class Meter:
    """Records calls, failed ones included. A call that a limit kept from being sent is no call."""

    def __init__(self, inner: ChatModel, *, journal: RecordStore, clock: Clock) -> None:
        self._inner, self._journal, self._clock = inner, journal, clock

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer and record it."""
        try:
            response = await self._inner.generate(request)
        except ProviderError as error:
            self._record(Call(request, self._clock.now(), error=str(error), billed_usd=_paid(error.attempts)))
            raise
        self._record(Call(request, self._clock.now(), response, billed_usd=_paid(response.attempts)))
        return response

    def _record(self, call: Call) -> None:
        self._journal.append([call])


def _paid(attempts: tuple[Attempt, ...]) -> Decimal:
    return sum((attempt.billed_usd + attempt.assumed_usd for attempt in attempts), ZERO)
