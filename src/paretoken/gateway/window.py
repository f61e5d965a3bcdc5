"""How many requests may be on the way at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Window:
    """Places for requests, first come, first served.

    Their number adapts: a place more for every windowful that went through, one less for every request turned away,
    never above where it began. So it falls at once by what was too much, and a vendor's stray rejections do not empty
    it, as a fixed factor would.

    Source: Chiu and Jain (1989), "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance".

    Args:
        places: Places at most.
    """

    def __init__(self, places: int) -> None:
        self._most = self._size = float(places)
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def places(self) -> int:
        """Places now."""
        return int(self._size)

    async def enter(self) -> None:
        """Take a place, waiting for one."""
        if self._taken >= self.places or self._queue:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.leave()  # the place was given in the same moment
                raise
        else:
            self._taken += 1

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._admit()

    def grow(self) -> None:
        """A request went through: one place more for every windowful of them."""
        self._size = min(self._most, self._size + 1 / self._size)
        self._admit()

    def shrink(self) -> None:
        """A request was turned away."""
        self._size = max(1.0, self._size - 1)

    def _admit(self) -> None:
        while self._queue and self._taken < self.places:
            turn = self._queue.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
