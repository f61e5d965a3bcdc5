from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from gateway_rig import BOUND, answer, ask
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Origin
from paretoken.core.errors import BudgetExceeded
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.scopes import Cap

ZONES = st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]).map(ZoneInfo)
TIMES = st.integers(0, 500_000_000).map(lambda s: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


@given(TIMES, ZONES, st.sampled_from(["day", "week", "month"]))
def test_a_window_lasts_until_it_resets(at: datetime, zone: ZoneInfo, window: str):
    cap = Cap("all", Decimal(1), window, zone)
    resets_at = cap.resets_at(at)
    assert at < resets_at <= at + timedelta(days={"day": 2, "week": 8, "month": 32}[window])
    assert cap.row(resets_at.astimezone(UTC) - timedelta(microseconds=1)) == cap.row(at)
    assert cap.row(resets_at.astimezone(UTC)) != cap.row(at)
    local = resets_at.astimezone(zone)
    assert (local.hour, local.minute) == (0, 0)
    assert window != "week" or local.weekday() == 0
    assert window != "month" or local.day == 1


@pytest.mark.parametrize(
    ("window", "row"),
    [("day", "all day 2026-12-01"), ("week", "all week 2026-11-30"), ("month", "all month 2026-12-01"), (None, "all")],
)
def test_the_day_begins_where_the_cap_says(window: str | None, row: str):
    at = datetime(2026, 11, 30, 16, 30, tzinfo=UTC)  # half past midnight in Shanghai
    assert Cap("all", None, window, ZoneInfo("Asia/Shanghai")).row(at) == row


def test_caps_nest_and_the_one_that_is_reached_is_named(make_rig):
    rig = make_rig(answer(), cap="1")
    caps = [Cap("department:content", 2 * BOUND, "day"), Cap("department:content", 3 * BOUND, "month")]
    gate = HoldGate(rig.ledger, rig.clock, caps, patience_s=1)
    origin = Origin("run", "s", "v", scopes=("run", "department:content"))

    def spend(text: str) -> None:
        gate.settle(rig.clock.run(gate.hold(ask(text, origin=origin), BOUND)), BOUND, Decimal(0))

    spend("a")
    spend("b")
    with pytest.raises(BudgetExceeded) as caught:
        spend("c")
    error = caught.value
    assert (error.scope, error.limit, error.needed) == ("department:content day 2026-01-01", 2 * BOUND, BOUND)
    assert error.resets_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert "resets at 2026-01-02" in str(error)

    rig.clock.advance(86_400)
    gate = HoldGate(rig.ledger, rig.clock, caps, patience_s=1)
    spend("tomorrow")
    with pytest.raises(BudgetExceeded, match="department:content month 2026-01-01"):
        spend("the month is used up")
    assert rig.ledger.spent("run") == (3 * BOUND, 0), "what was refused is held nowhere"
