from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from paretoken.core.clock import SystemClock
from paretoken.testing.clock import START, VirtualClock


def test_the_systems_time_is_utc_and_never_goes_back():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    asyncio.run(clock.sleep(0))
    assert clock.monotonic() >= before


def test_virtual_time_passes_in_order_of_wake_up():
    clock = VirtualClock()
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async def main() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (86_400, 3, 0, 1.5, 3600)))

    clock.run(main())
    assert woken == [(seconds, pytest.approx(seconds)) for seconds in (0, 1.5, 3, 3600, 86_400)]
    assert clock.now() - START == timedelta(days=1)


def test_virtual_time_stands_still_while_there_is_work():
    clock = VirtualClock()

    async def main() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    clock.run(main())
    assert clock.monotonic() == 0


def test_timeouts_are_virtual_too():
    clock = VirtualClock()

    async def main() -> None:
        async with asyncio.timeout(60):
            await clock.sleep(3600)

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.monotonic() == pytest.approx(60)


def test_a_deadlock_is_found_instead_of_waited_for():
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="waits for something"):
        VirtualClock().run(main())


def test_virtual_time_is_not_mixed_with_real_time():
    with pytest.raises(RuntimeError, match=r"inside VirtualClock\.run"):
        asyncio.run(VirtualClock().sleep(1))
