"""Stops hammering an endpoint that does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.errors import BadResponse, Denied, EndpointDown, OutOfCredit, RateLimited, Timeout, Unavailable
from paretoken.gateway.waits import TellWait, tell_nobody

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.errors import ProviderError
    from paretoken.core.protocols import ChatModel, Clock

THRESHOLD = 10
"""Failures in a row, with no answer between, that open the breaker."""
COOL_DOWN_S, MAX_COOL_DOWN_S = 2.0, 60.0
"""Time to the first probe, and to each at most; it doubles with every probe that fails [s]."""
GIVE_UP_S = 120.0
"""How long an endpoint is waited for [s]."""
GIVE_UP_REJECTED_S = 300.0
"""How long an endpoint may turn every request away [s]."""
POLL_S = 1.0


class Breaker:
    """Lets one probe at a time through while an endpoint is down, and gives up on it in the end.

    Whoever waits here holds no money and uses up no attempt.

    Args:
        inner: The next layer.
        model: What is called, for the error.
        clock: Time.
    """

    def __init__(self, inner: ChatModel, *, model: str, clock: Clock, tell: TellWait = tell_nobody) -> None:
        self._inner, self._model, self._clock, self._tell = inner, model, clock, tell
        self._failures = self._denials = self._rejections = 0
        self._down_since: float | None = None
        self._next_probe_s = 0.0
        self._cool_down_s = COOL_DOWN_S
        self._last: ProviderError | None = None
        self._rejected_since: float | None = None

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer, if the endpoint is up.

        Raises:
            EndpointDown: It did not come back, or refuses this account.
        """
        while self._down_since is not None and not self._may_probe():
            self._tell(self._model, self._next_probe_s - self._clock.monotonic(), f"it does not answer: {self._last}")
            await self._clock.sleep(POLL_S)
        self._check_denied()
        try:
            response = await self._inner.generate(request)
        except (Unavailable, Timeout, BadResponse) as error:
            self._failed(error)
            raise
        except RateLimited as error:
            self._rejected(error)
            raise
        except OutOfCredit as error:
            self._denials, self._last = THRESHOLD, error
            raise EndpointDown(self._model, 1, error) from error
        except Denied as error:
            self._denials, self._last = self._denials + 1, error
            raise
        self._failures = self._denials = self._rejections = 0
        self._rejected_since = None
        self._down_since, self._cool_down_s = None, COOL_DOWN_S
        return response

    def _may_probe(self) -> bool:
        now = self._clock.monotonic()
        if self._down_since is not None and now - self._down_since >= GIVE_UP_S:
            raise EndpointDown(self._model, self._failures, self._last)
        if now < self._next_probe_s:
            return False
        self._cool_down_s = min(2 * self._cool_down_s, MAX_COOL_DOWN_S)
        self._next_probe_s = now + self._cool_down_s
        return True

    def _check_denied(self) -> None:
        if self._denials >= THRESHOLD:
            raise EndpointDown(self._model, self._denials, self._last)

    def _rejected(self, error: ProviderError) -> None:
        now = self._clock.monotonic()
        self._rejections += 1
        if self._rejected_since is None:
            self._rejected_since = now
        elif now - self._rejected_since >= GIVE_UP_REJECTED_S:
            raise EndpointDown(self._model, self._rejections, error) from error

    def _failed(self, error: ProviderError) -> None:
        self._failures, self._last = self._failures + 1, error
        if self._failures >= THRESHOLD and self._down_since is None:
            self._down_since = self._clock.monotonic()
            self._next_probe_s = self._down_since + self._cool_down_s
