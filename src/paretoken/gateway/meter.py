"""The outermost layer: every logical call is recorded once, with its attempts or its hit.

No layer between this one and Budget waits for anything once an answer is there, so the call, its money and its cache
entry are one commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.calls import Call, paid_usd
from paretoken.core.errors import ProviderError

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
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
            await self._record(Call(request, self._clock.now(), error=str(error), billed_usd=paid_usd(error.attempts)))
            raise
        await self._record(Call(request, self._clock.now(), response, billed_usd=paid_usd(response.attempts)))
        return response

    async def _record(self, call: Call) -> None:
        self._journal.append([call])
        await self._journal.committed()
