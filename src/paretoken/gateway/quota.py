"""Requests and tokens per minute, and requests at once."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoken.core.errors import QuotaExceeded

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel, Clock


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may be asked per minute and at once; None is no limit.

    Attributes:
        rpm: Requests per minute.
        tpm: Tokens per minute, prompt and answer together.
        concurrency: Requests at once.
    """

    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None


POLL_S = 0.2
"""How often a wait is looked at again: answers shorter than expected give tokens back [s]."""
TICK_S = 1e-6
"""Waits shorter than this are over: sums of floats need not meet exactly [s]."""


class TokenBucket:
    """A rate that may be saved up for one second. Within any T seconds no more than `rate * T + capacity` is taken.

    A larger amount is taken from a full bucket and paid back before the next.

    Args:
        dimension: What is counted, for errors.
        per_minute: The rate.
        clock: Time.
    """

    def __init__(self, dimension: str, per_minute: float, clock: Clock) -> None:
        self._dimension, self._per_minute, self._clock = dimension, per_minute, clock
        self._rate = per_minute / 60
        self._capacity = max(self._rate, 1.0)
        self._level = self._capacity
        self._updated = clock.monotonic()

    def wait_s(self, amount: float) -> float:
        """Time until an amount may be taken, if nobody takes or gives back in between [s].

        Raises:
            QuotaExceeded: More than a whole minute's worth.
        """
        if amount > max(self._per_minute, self._capacity):
            raise QuotaExceeded(dimension=self._dimension, limit=self._per_minute, needed=amount)
        self._refill()
        wait_s = (min(amount, self._capacity) - self._level) / self._rate
        return wait_s if wait_s > TICK_S else 0.0

    def take(self, amount: float) -> None:
        """Take an amount; a negative one gives back."""
        self._refill()
        self._level -= amount

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._level = min(self._capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now


class Quota:
    """Keeps one model's calls within its limits by waiting, first come, first served; a waiting call holds no money."""

    def __init__(self, inner: ChatModel, *, limits: Limits, clock: Clock) -> None:
        self._inner, self._clock = inner, clock
        self._requests = None if limits.rpm is None else TokenBucket("requests per minute", limits.rpm, clock)
        self._tokens = None if limits.tpm is None else TokenBucket("tokens per minute", limits.tpm, clock)
        self._places = None if limits.concurrency is None else asyncio.Semaphore(limits.concurrency)
        self._turn = asyncio.Lock()

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer, once the limits allow."""
        async with self._places or nullcontext():
            expected = _expected_tokens(request)
            await self._wait(expected)
            response = await self._inner.generate(request)
            if self._tokens:
                self._tokens.take(response.usage.input_tokens + response.usage.output_tokens - expected)
            return response

    async def _wait(self, expected_tokens: int) -> None:
        wanted = [(bucket, n) for bucket, n in ((self._requests, 1), (self._tokens, expected_tokens)) if bucket]
        if not wanted:
            return
        async with self._turn:
            while (wait_s := max(bucket.wait_s(n) for bucket, n in wanted)) > 0:
                await self._clock.sleep(min(wait_s, POLL_S) if self._tokens else wait_s)
            for bucket, n in wanted:
                bucket.take(n)


def _expected_tokens(request: Request) -> int:
    """Prompt bytes over four and the answer's limit: vendors count about so before they answer."""
    return sum(len(message.content.encode()) for message in request.messages) // 4 + request.max_tokens
