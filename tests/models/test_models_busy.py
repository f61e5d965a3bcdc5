from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.models.busy import BusyTime


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0.001, 50)).map(lambda pair: (pair[0], pair[0] + pair[1])),
        min_size=1,
        max_size=12,
    )
)
def test_shares_add_up_to_the_time_the_engine_was_busy(stays: list[tuple[float, float]]) -> None:
    now = 0.0
    busy = BusyTime(lambda: now)
    tickets: dict[int, float] = {}
    shares: dict[int, float] = {}
    events = sorted((time, order, i) for i, stay in enumerate(stays) for time, order in zip(stay, (1, 0), strict=True))
    for time, entering, i in events:
        now = time
        if entering:
            tickets[i] = busy.enter()
        else:
            shares[i] = busy.leave(tickets[i])
    times = sorted({time for stay in stays for time in stay})
    wall_s = sum(b - a for a, b in pairwise(times) if any(start <= a and b <= end for start, end in stays))
    assert sum(shares.values()) == pytest.approx(wall_s, abs=1e-6)
    for i, (start, end) in enumerate(stays):
        assert -1e-9 <= shares[i] <= end - start + 1e-6


def test_requests_in_the_engine_together_share_each_moment_equally() -> None:
    now = 0.0
    busy = BusyTime(lambda: now)
    first = busy.enter()
    now = 2.0
    second = busy.enter()
    now = 6.0
    assert busy.leave(first) == 2.0 + 2.0
    now = 7.0
    assert busy.leave(second) == 2.0 + 1.0
    now = 100.0
    third = busy.enter()
    now = 101.0
    assert busy.leave(third) == 1.0
