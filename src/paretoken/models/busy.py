"""Who used the engine: its busy time, divided among the requests that were in it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class BusyTime:
    """Processor sharing: while `k` requests are in the engine, each accrues `dt / k`.

    The shares of all requests add up to the time during which at least one was in the engine.

    Args:
        monotonic: Seconds that never go back [s].
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._active = 0
        self._seen_s = 0.0
        self._accrued_s = 0.0
        """What a request that was in the engine from the beginning would have accrued."""

    def enter(self) -> float:
        """A request enters the engine; returns its ticket for `leave`."""
        with self._lock:
            self._advance()
            self._active += 1
            return self._accrued_s

    def leave(self, ticket: float) -> float:
        """The request has left; returns its share [s]."""
        with self._lock:
            self._advance()
            self._active -= 1
            return self._accrued_s - ticket

    def _advance(self) -> None:
        now_s = self._monotonic()
        if self._active:
            self._accrued_s += (now_s - self._seen_s) / self._active
        self._seen_s = now_s
