"""How many requests and tokens may be sent per minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.errors import QuotaExceeded

if TYPE_CHECKING:
    from paretoken.core.protocols import Clock

MARGIN = 0.99
"""Share of a limit that is used: requests travel for different times, and a vendor's minute is not ours."""
TICK_S = 1e-6
"""Waits shorter than this are over: sums of floats need not meet exactly [s]."""


class Pace:
    """An even rate: within any T seconds no more than `MARGIN * rate * T + burst` is taken.

    Vendors enforce a limit per minute within seconds, or over a sliding minute; an even rate keeps both. An amount
    above the burst is taken at once and paid back before the next.

    Args:
        dimension: What is counted, for errors.
        per_minute: The limit.
        burst: What may be taken at once after a pause.
        clock: Time.
    """

    def __init__(self, dimension: str, per_minute: float, burst: float, clock: Clock) -> None:
        self._dimension, self._per_minute, self._burst, self._clock = dimension, per_minute, burst, clock
        self._rate = MARGIN * per_minute / 60
        self._level = burst
        self._updated = clock.monotonic()

    def check(self, amount: float) -> None:
        """Refuse what can never fit.

        Raises:
            QuotaExceeded: More than a whole minute's worth.
        """
        if amount > max(self._per_minute, self._burst):
            raise QuotaExceeded(dimension=self._dimension, limit=self._per_minute, needed=amount)

    def wait_s(self, amount: float) -> float:
        """Time until an amount may be taken, if nobody takes or gives back in between [s]."""
        self._refill()
        wait_s = (min(amount, self._burst) - self._level) / self._rate
        return wait_s if wait_s > TICK_S else 0.0

    def take(self, amount: float) -> None:
        """Take an amount; a negative one gives back."""
        self._refill()
        self._level -= amount

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._level = min(self._burst, self._level + (now - self._updated) * self._rate)
        self._updated = now
