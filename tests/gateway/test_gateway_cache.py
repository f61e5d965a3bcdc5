from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from gateway_rig import BOUND, COST, answer, ask

from paretoken.core.calls import Origin
from paretoken.core.errors import BudgetExceeded, RateLimited, Refused, Unavailable
from paretoken.core.usage import ZERO
from paretoken.gateway.onion import Backoff


def test_a_hit_costs_nothing_and_changes_nothing(make_rig):
    rig = make_rig(answer(), answer("another"))
    (paid,), (hit,) = rig.ask_all(ask()), rig.ask_all(ask(origin=Origin("run", "s2", "w")))
    assert hit == replace(paid, from_cache=True, billed_usd=ZERO, attempts=())
    assert (paid.billed_usd, paid.list_usd, paid.latency_s) == (COST, COST, 0.5)
    assert rig.spent == (COST, 0)
    first, second = rig.calls
    assert second.response == hit
    assert (first.billed_usd, second.billed_usd) == (COST, 0)
    assert second.origin.sample == "s2"


def test_equal_requests_in_flight_are_sent_once(make_rig):
    rig = make_rig(answer(), answer("another"), takes_s=1)
    outcomes = rig.ask_all(*(ask(origin=Origin("run", str(i), scopes=("run",))) for i in range(9)), ask("else"))
    assert len(rig.provider.sent) == 2
    assert [outcome.from_cache for outcome in outcomes] == [False] + [True] * 8 + [False]
    assert {outcome.text for outcome in outcomes[:9]} == {"A kettle."}
    assert sum(outcome.billed_usd for outcome in outcomes) == rig.spent[0] == 2 * COST
    assert len(rig.calls) == 10
    assert len(rig.attempts) == 2


@pytest.mark.parametrize("change", [{"repeat": 1}, {"salt": "x"}, {"seed": 0}, {"temperature": 1}, {"max_tokens": 9},
                                    {"base_url": "http://b"}, {"params": (("top_p", 1),)}, {"tools": "[]"},
                                    {"response_format": "{}"}])  # fmt: skip
def test_requests_that_differ_do_not_share_an_answer(make_rig, change):
    rig = make_rig(answer(), takes_s=1)
    rig.ask_all(ask(), ask(**change))
    assert len(rig.provider.sent) == 2


def test_when_the_leader_is_cancelled_a_follower_takes_over(make_rig):
    rig = make_rig(answer(), takes_s=10)
    onion = rig.onion()

    async def main() -> list[object]:
        leader, *followers = [asyncio.create_task(onion.generate(ask())) for _ in range(4)]
        await rig.clock.sleep(5)
        leader.cancel()
        return await asyncio.gather(leader, *followers, return_exceptions=True)

    leader, *others = rig.clock.run(main())
    assert isinstance(leader, asyncio.CancelledError)
    assert len(rig.provider.sent) == 2
    assert sorted(other.from_cache for other in others) == [False, True, True]
    assert rig.spent == (COST, BOUND)
    assert rig.clock.monotonic() == pytest.approx(15)


def test_when_all_are_cancelled_nothing_more_is_sent(make_rig):
    rig = make_rig(answer(), takes_s=10)
    onion = rig.onion()

    async def main() -> list[object]:
        tasks = [asyncio.create_task(onion.generate(ask())) for _ in range(4)]
        await rig.clock.sleep(5)
        for task in tasks:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in rig.clock.run(main()))
    assert len(rig.provider.sent) == 1
    assert rig.spent == (0, BOUND)


def test_a_cancelled_follower_leaves_the_leader_alone(make_rig):
    rig = make_rig(answer(), takes_s=10)
    onion = rig.onion()

    async def main() -> list[object]:
        leader, follower = [asyncio.create_task(onion.generate(ask())) for _ in range(2)]
        await rig.clock.sleep(5)
        follower.cancel()
        return await asyncio.gather(leader, follower, return_exceptions=True)

    leader, follower = rig.clock.run(main())
    assert leader.text == "A kettle."
    assert isinstance(follower, asyncio.CancelledError)
    assert len(rig.provider.sent) == 1


def test_followers_get_the_leaders_error_but_not_its_attempts(make_rig):
    rig = make_rig(Unavailable("broken", retry_after_s=0), takes_s=1)
    leader, *followers = rig.ask_all(*[ask()] * 3, backoff=Backoff(attempts=2))
    assert len(leader.attempts) == 2
    for follower in followers:
        assert isinstance(follower, Unavailable)
        assert (str(follower), follower.attempts, follower.billing) == ("broken", (), "unknown")
    assert sorted(call.billed_usd for call in rig.calls) == [0, 0, 2 * BOUND]
    assert rig.spent == (0, 2 * BOUND)


def test_followers_stop_with_a_leader_that_a_limit_stops(make_rig):
    rig = make_rig(answer(), cap="0.00000001")
    outcomes = rig.ask_all(*[ask()] * 3)
    assert all(isinstance(outcome, BudgetExceeded) for outcome in outcomes)
    assert rig.provider.sent == []
    assert rig.calls == []


def test_failures_are_not_kept(make_rig):
    rig = make_rig(Refused("no"), RateLimited("no"), answer())
    for _ in range(2):
        rig.ask_all(ask())
    (answered,) = rig.ask_all(ask())
    assert (answered.text, answered.from_cache) == ("A kettle.", False)


def test_mode_off_reads_and_keeps_nothing(make_rig):
    rig = make_rig(answer("one"), answer("two"), answer("three"))
    (kept,) = rig.ask_all(ask())
    (off,) = rig.ask_all(ask(), cache_mode="off")
    (hit,) = rig.ask_all(ask())
    assert [response.text for response in (kept, off, hit)] == ["one", "two", "one"]
    rig.ask_all(ask("else"), cache_mode="off")
    assert rig.store.get(ask("else").key) is None


def test_mode_refresh_asks_again_and_keeps_the_new_answer(make_rig):
    rig = make_rig(answer("one"), answer("two"))
    texts = [rig.ask_all(ask(), cache_mode=mode)[0].text for mode in ("read_write", "refresh", "read_write")]
    assert texts == ["one", "two", "two"]
    assert len(rig.provider.sent) == 2


def test_a_hit_needs_no_money_and_no_quota(make_rig):
    rig = make_rig(answer())
    rig.ask_all(ask())
    rig.ledger.set_limits({"run": Decimal(0)})
    (hit,) = rig.ask_all(ask())
    assert hit.from_cache
