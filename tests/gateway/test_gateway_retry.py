from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from gateway_rig import BOUND, COST, answer, ask
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.errors import (
    BadResponse,
    BrokenBound,
    BudgetExceeded,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
    Unavailable,
)
from paretoken.gateway.onion import Backoff

RETRYABLE = (RateLimited, Timeout, Unavailable, BadResponse)


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e4))
def test_a_wait_has_bounds(attempt: int, jitter: float, asked_s: float | None):
    backoff = Backoff(base_s=0.5, max_s=30)
    wait_s = backoff.wait_s(attempt, jitter, asked_s)
    assert wait_s >= (asked_s or 0.0)
    assert wait_s <= max(min(30, 0.5 * 2 ** (attempt - 1)), asked_s or 0.0)


def test_the_wait_can_use_the_whole_range():
    assert Backoff(base_s=1).wait_s(4, 0.999, None) == pytest.approx(8, rel=0.01)
    assert Backoff(base_s=1).wait_s(4, 0.0, None) == 0


def test_what_may_succeed_is_sent_again_and_every_attempt_counts(make_rig):
    rig = make_rig(*(kind("no") for kind in RETRYABLE), answer())
    (response,) = rig.ask_all(ask(), backoff=Backoff(attempts=5))
    assert [attempt.outcome for attempt in response.attempts] == [*(kind.outcome for kind in RETRYABLE), "ok"]
    assert [
        replace(attempt, origin=replace(attempt.origin, scopes=())) for attempt in response.attempts
    ] == rig.attempts
    assert response.billed_usd == COST
    assert rig.spent == (COST, 3 * BOUND)  # being rate limited is free, the others may be billed
    (call,) = rig.calls
    assert call.billed_usd == COST + 3 * BOUND
    assert call.error is None


@pytest.mark.parametrize("error", [Refused("no"), BrokenBound("no"), ProviderError("no")])
def test_what_cannot_succeed_is_sent_once(make_rig, error: ProviderError):
    rig = make_rig(error, answer())
    (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=5))
    assert outcome is error
    assert len(rig.provider.sent) == 1


def test_the_last_failure_carries_all_attempts(make_rig):
    errors = [Unavailable(f"no {i}") for i in range(3)]
    rig = make_rig(*errors, answer())
    (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=3))
    assert outcome is errors[2]
    assert [attempt.error for attempt in outcome.attempts] == ["no 0", "no 1", "no 2"]
    (call,) = rig.calls
    assert (call.error, call.billed_usd) == ("no 2", 3 * BOUND)


def test_an_error_raised_again_counts_each_time(make_rig):
    rig = make_rig(Unavailable("always the same object"))
    (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=3))
    assert len(outcome.attempts) == 3
    assert rig.calls[0].billed_usd == sum(rig.spent)


def test_what_the_provider_asks_for_is_waited(make_rig):
    rig = make_rig(RateLimited("slow down", retry_after_s=17), RateLimited("slow down", retry_after_s=3), answer())
    rig.ask_all(ask(), backoff=Backoff(attempts=3, base_s=0.001))
    first, second, third = rig.provider.times
    assert second - first == pytest.approx(17)
    assert third - second == pytest.approx(3)


def test_waits_grow_stay_below_their_ceiling_and_are_seeded(make_rig):
    def times(seed: int) -> list[float]:
        rig = make_rig(Unavailable("no"))
        rig.ask_all(ask(), backoff=Backoff(attempts=8, base_s=1, max_s=20), seed=seed)
        return rig.provider.times

    for seed in range(5):
        waits = [after - before for before, after in pairwise(times(seed))]
        assert all(wait <= min(20, 2**k) for k, wait in enumerate(waits))
    assert times(1) == times(1) != times(2)


def test_waiting_holds_no_money_and_no_place_in_the_latency(make_rig):
    rig = make_rig(RateLimited("slow down", retry_after_s=100), answer(), takes_s=0.5)
    (response,) = rig.ask_all(ask(), backoff=Backoff(attempts=2))
    assert rig.clock.monotonic() >= 100
    assert response.latency_s == 0.5


def test_a_retry_that_does_not_fit_the_budget_is_not_sent(make_rig):
    rig = make_rig(Timeout("late"), answer(), cap=f"{BOUND * 3 / 2:f}")
    (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=5))
    assert isinstance(outcome, BudgetExceeded)
    assert len(rig.provider.sent) == 1
    assert rig.spent == (0, BOUND)


def test_cancelled_while_waiting_nothing_more_is_sent(make_rig):
    rig = make_rig(RateLimited("slow down", retry_after_s=100))
    onion = rig.onion(backoff=Backoff(attempts=5))

    async def main() -> None:
        task = asyncio.create_task(onion.generate(ask()))
        await rig.clock.sleep(50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    rig.clock.run(main())
    assert len(rig.provider.sent) == 1
