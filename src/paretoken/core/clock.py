"""Time as an argument, so that limits are tested in virtual time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Current time in UTC, for records and price dates."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, for latencies and limits [s]."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait [s]."""
        await asyncio.sleep(seconds)
