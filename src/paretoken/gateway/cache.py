"""Exact cache with single flight: equal requests are paid once."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from paretoken.core.errors import ProviderError
from paretoken.core.usage import ZERO

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel, ResponseCache

CacheMode = Literal["read_write", "off", "refresh"]


class Cache:
    """Serves equal requests from the store, and those in flight from one call.

    A hit costs nothing and changes nothing: `billed_usd` is 0, `list_usd` and `latency_s` are the paid call's.
    Answers are stored by the budget layer, in the transaction that books their money.

    Args:
        inner: The next layer.
        store: Where answers are kept.
        mode: `read_write`; `refresh` asks again and keeps the new answer; `off` asks again and keeps nothing.
    """

    def __init__(self, inner: ChatModel, *, store: ResponseCache, mode: CacheMode = "read_write") -> None:
        self._inner, self._store, self._mode = inner, store, mode
        self._flights: dict[str, asyncio.Future[Response | None]] = {}

    async def generate(self, request: Request) -> Response:
        """A stored answer, the answer of an equal request in flight, or the inner layer's."""
        if self._mode != "read_write":
            return await self._inner.generate(request)
        while (flight := self._flights.get(request.key)) is not None:
            try:
                answer = await asyncio.shield(flight)
            except ProviderError as error:
                shared = copy(error)
                shared.attempts = ()  # they are the leader's: booked once
                raise shared from error
            if answer is not None:
                return _hit(answer)
        stored = self._store.get(request.key)
        return await self._lead(request) if stored is None else _hit(stored)

    async def _lead(self, request: Request) -> Response:
        flight: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self._flights[request.key] = flight
        try:
            response = await self._inner.generate(request)
        except asyncio.CancelledError:
            flight.set_result(None)  # whoever waits takes over
            raise
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # nobody may be waiting for it
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del self._flights[request.key]


def _hit(paid: Response) -> Response:
    return replace(paid, from_cache=True, billed_usd=ZERO, attempts=())
