"""Sends again what may succeed the next time."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paretoken.core.errors import ProviderError, RateLimited
from paretoken.gateway.waits import TellWait, tell_nobody

if TYPE_CHECKING:
    from paretoken.core.calls import Attempt, Request, Response
    from paretoken.core.protocols import ChatModel, Clock


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before attempt k: full jitter below `base_s * 2**(k-1)`, at most `max_s`.

    Being asked to slow down is no failure: such attempts cost nothing and do not count against `attempts`, but for the
    first. Nobody is waited for longer than `max_asked_s` altogether.

    Source: AWS Architecture Blog, "Exponential Backoff and Jitter" (2015), "full jitter".
    """

    attempts: int = 4
    base_s: float = 0.5
    max_s: float = 30.0
    max_asked_s: float = 600.0

    def wait_s(self, attempt: int, jitter: float, asked_s: float | None) -> float:
        """Seconds to wait after a failed attempt.

        Args:
            attempt: Its number, counted from 1.
            jitter: Uniform in [0, 1).
            asked_s: What the provider asked for; never waited less [s].
        """
        ceiling_s: float = min(self.max_s, self.base_s * 2 ** (attempt - 1))
        return max(jitter * ceiling_s, asked_s or 0.0)


class Retry:
    """Retries failures that say they are worth it; every attempt stays visible in the call."""

    def __init__(
        self, inner: ChatModel, *, clock: Clock, backoff: Backoff, seed: int, tell: TellWait = tell_nobody
    ) -> None:
        self._inner, self._clock, self._backoff, self._tell = inner, clock, backoff, tell
        self._random = random.Random(f"retry/{seed}")  # noqa: S311 - jitter, no secret

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer, in one or several attempts."""
        failed: tuple[Attempt, ...] = ()
        sent = counted = 0
        gives_up_at = self._clock.monotonic() + self._backoff.max_asked_s
        while True:
            try:
                response = await self._inner.generate(request)
            except ProviderError as error:
                failed = error.attempts = (*failed, *error.attempts)
                sent += 1
                counted += not isinstance(error, RateLimited)
                wait_s = self._backoff.wait_s(sent, self._random.random(), error.retry_after_s)
                asked = isinstance(error, RateLimited) or bool(error.retry_after_s)
                too_long = asked and self._clock.monotonic() + wait_s > gives_up_at
                if not error.retryable or max(counted, 1) >= self._backoff.attempts:
                    raise
                if too_long:
                    error.args = (f"{error}; it asks to wait {wait_s:.0f} s, which is too long",)
                    raise
                self._tell(request.model, wait_s, str(error))
                await self._clock.sleep(wait_s)
            else:
                return replace(response, attempts=(*failed, *response.attempts)) if failed else response
