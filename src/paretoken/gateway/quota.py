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


class TokenBucket:
    """A rate that may be saved up for one second. Waiting is first come, first served.

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

    def reserve(self, amount: float) -> float:
        """Take an amount, now or on credit.

        Returns:
            Seconds to wait until the credit is paid back [s].

        Raises:
            QuotaExceeded: More than a whole minute's worth.
        """
        if amount > self._per_minute:
            raise QuotaExceeded(dimension=self._dimension, limit=self._per_minute, needed=amount)
        self._refill()
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def give_back(self, amount: float) -> None:
        """Return what was reserved and not used; a negative amount takes more."""
        self._refill()
        self._level = min(self._capacity, self._level + amount)

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._level = min(self._capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now


class Quota:
    """Keeps one model's calls within its limits by waiting; a waiting call holds no money."""

    def __init__(self, inner: ChatModel, *, limits: Limits, clock: Clock) -> None:
        self._inner, self._clock = inner, clock
        self._requests = None if limits.rpm is None else TokenBucket("requests per minute", limits.rpm, clock)
        self._tokens = None if limits.tpm is None else TokenBucket("tokens per minute", limits.tpm, clock)
        self._places = None if limits.concurrency is None else asyncio.Semaphore(limits.concurrency)

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer, once the limits allow."""
        async with self._places or nullcontext():
            expected = _expected_tokens(request) if self._tokens else 0
            wait_s = max(
                self._requests.reserve(1) if self._requests else 0.0,
                self._tokens.reserve(expected) if self._tokens else 0.0,
            )
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            response = await self._inner.generate(request)
            if self._tokens:
                self._tokens.give_back(expected - response.usage.input_tokens - response.usage.output_tokens)
            return response


def _expected_tokens(request: Request) -> int:
    """Prompt bytes over four and the answer's limit: vendors count about so before they answer."""
    return sum(len(message.content.encode()) for message in request.messages) // 4 + request.max_tokens
