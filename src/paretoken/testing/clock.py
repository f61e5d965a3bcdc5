"""Time that passes only when everybody waits: limits, back-off and time-outs are tested in no time."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")
START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """A `Clock` whose time jumps to the next wake-up once no task can go on.

    `run` gives a coroutine an event loop in this time, so `asyncio.timeout` and `asyncio.sleep` inside it are virtual
    as well. Connections and threads have no place in it: nothing real is ever waited for.

    ```python
    clock = VirtualClock()
    clock.run(clock.sleep(3600))
    assert clock.monotonic() == 3600
    ```

    Args:
        start: What `now` says at the beginning.
    """

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        """Current virtual time in UTC."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Seconds since the beginning [s]."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time [s].

        Raises:
            RuntimeError: The running loop is not this clock's.
        """
        if getattr(asyncio.get_running_loop(), "clock", None) is not self:
            raise RuntimeError("virtual time passes only inside VirtualClock.run")
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass at once, e.g. between two calls of `run` [s]."""
        self._elapsed_s += seconds

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run until `main` is done.

        Raises:
            RuntimeError: Every task waits for something that no task will do.
        """
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(main)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_VirtualSelector(clock))

    def time(self) -> float:
        return self.clock.monotonic()


class _VirtualSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("every task waits for something that no task will do")
        self._clock.advance(timeout)
        return []
