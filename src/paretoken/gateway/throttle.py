"""Keeps one model's calls within what its vendor allows, by waiting; a waiting call holds no money."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoken.core.errors import ProviderError, RateLimited, Unavailable
from paretoken.gateway.pace import Pace
from paretoken.gateway.waits import TellWait, tell_nobody
from paretoken.gateway.window import Window

if TYPE_CHECKING:
    from paretoken.core.calls import RateLimit, Request, Response
    from paretoken.core.protocols import ChatModel, Clock


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may be asked per minute and at once; None is no limit.

    Attributes:
        rpm: Requests per minute.
        tpm: Tokens per minute, prompt and answer together.
        concurrency: Requests at once, at most; fewer while the vendor turns requests away.
    """

    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None


NO_LIMIT = 1_000_000
ROW = 3
"""Rejections in a row, with no answer between, after which the whole model pauses and not one call."""
PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
"""First such pause where the vendor names none, and the longest; it doubles until an answer comes [s]."""
MAX_ASKED_S = 600.0
"""The longest pause that a vendor may ask for [s]."""
MEMORY = 0.95
"""Weight of the past in the share of expected tokens that is used; less until it rests on 20 answers."""
POLL_S = 0.2
"""How often a wait is looked at again: answers shorter than expected give tokens back, pauses get longer [s]."""


class Throttle:
    """Waits for a place, for the pace, and for what the vendor says of its own limits.

    Args:
        inner: The next layer.
        limits: Of this model.
        shared: Places of the whole run.
        clock: Time.
    """

    def __init__(
        self, inner: ChatModel, *, limits: Limits, shared: Window, clock: Clock, tell: TellWait = tell_nobody
    ) -> None:
        self._inner, self._shared, self._clock, self._tell = inner, shared, clock, tell
        self._window = Window(limits.concurrency or NO_LIMIT)
        self._requests = None if limits.rpm is None else Pace("requests per minute", limits.rpm, 1, clock)
        self._tokens = None if limits.tpm is None else Pace("tokens per minute", limits.tpm, limits.tpm / 60, clock)
        self._turn = asyncio.Lock()
        self._sent = self._n_in_a_row = 0
        self._turned_away: set[str] = set()
        self._paused_until = 0.0
        self._pause_s = PAUSE_S
        self._used_share = 1.0  # of the tokens that requests were expected to take
        self._n_used = 1
        self._noted = 0
        self._why = ""
        self._left: int | None = None  # requests that the vendor still takes before `_resets_at`
        self._resets_at = 0.0

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer, once the limits allow."""
        expected = _expected_tokens(request)
        if self._tokens:
            self._tokens.check(expected)
        await self._window.enter()
        try:
            number, reserved = await self._admit(request.model, expected)
            try:
                response = await self._inner.generate(request)
            except ProviderError as error:
                self._learn_from(error, request, number)
                raise
            finally:
                self._shared.leave()
        finally:
            self._window.leave()
        self._n_in_a_row, self._pause_s, self._why = 0, PAUSE_S, ""
        self._note(response.rate_limit, number)
        if request.key in self._turned_away:  # it came through by waiting: no evidence of capacity
            self._turned_away.discard(request.key)
        else:
            self._window.grow()
        if self._tokens:
            used = response.usage.input_tokens + response.usage.output_tokens
            self._tokens.take(used - reserved)
            self._n_used += 1
            memory = min(MEMORY, 1 - 1 / self._n_used)
            self._used_share = memory * self._used_share + (1 - memory) * min(used / expected, 1.0)
        return response

    async def _admit(self, model: str, expected: float) -> tuple[int, float]:
        """Wait for the pace and a shared place, and count a request as sent.

        Returns:
            Its number, and the tokens reserved for it.
        """
        if not (self._requests or self._tokens or self._blocked_s()):
            await self._shared.enter()
            return self._take(expected)
        async with self._turn:
            while True:
                while (wait_s := self._wait_s(expected)) > 0:  # a waiting call takes no place from other models
                    self._tell(model, wait_s, self._why or "its limits")
                    await self._clock.sleep(min(wait_s, POLL_S))
                await self._shared.enter()
                if self._wait_s(expected) <= 0:
                    return self._take(expected)
                self._shared.leave()

    def _wait_s(self, expected: float) -> float:
        return max(
            self._blocked_s(),
            self._requests.wait_s(1) if self._requests else 0.0,
            self._tokens.wait_s(expected * self._used_share) if self._tokens else 0.0,
        )

    def _blocked_s(self) -> float:
        """How long the vendor wants no request at all [s]."""
        if self._left is None and not self._paused_until:
            return 0.0
        now = self._clock.monotonic()
        if now >= self._resets_at:
            self._left = None
        if now >= self._paused_until:
            self._paused_until = 0.0
        used_up = self._left is not None and self._left <= 0
        return max(self._paused_until - now, self._resets_at - now if used_up else 0.0, 0.0)

    def _take(self, expected: float) -> tuple[int, float]:
        reserved = expected * self._used_share
        if self._left is not None:
            self._left -= 1
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(reserved)
        self._sent += 1
        return self._sent, reserved

    def _learn_from(self, error: ProviderError, request: Request, number: int) -> None:
        if error.billing == "none" and isinstance(error, (RateLimited, Unavailable)):
            self._window.shrink()
            self._turned_away.add(request.key)
            self._n_in_a_row += 1
            if self._n_in_a_row >= ROW:
                self._why = str(error)
                self._pause(error.retry_after_s)
        self._note(error.rate_limit, number)

    def _pause(self, asked_s: float | None) -> None:
        now = self._clock.monotonic()
        if asked_s:
            self._paused_until = max(self._paused_until, now + min(asked_s, MAX_ASKED_S))
        elif now >= self._paused_until:
            self._paused_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)

    def _note(self, said: RateLimit | None, number: int) -> None:
        """Take the vendor's count, less what was sent after the request it speaks of."""
        if said is not None and number > self._noted:
            self._noted = number
            self._left = said.remaining - (self._sent - number)
            self._resets_at = self._clock.monotonic() + said.reset_s


def _expected_tokens(request: Request) -> int:
    """Prompt bytes over four and the answer's limit: vendors count about so before they answer."""
    return sum(len(message.content.encode()) for message in request.messages) // 4 + request.max_tokens
