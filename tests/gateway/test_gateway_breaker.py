from __future__ import annotations

import asyncio

import pytest
from gateway_rig import Scripted, answer, ask

from paretoken.core.errors import BadResponse, Denied, EndpointDown, RateLimited, Refused, Timeout, Unavailable
from paretoken.gateway.breaker import GIVE_UP_S, THRESHOLD, Breaker
from paretoken.gateway.onion import Backoff
from paretoken.testing.clock import VirtualClock


def _rush(provider: Scripted, n: int) -> list[object]:
    breaker = Breaker(provider, model="m", clock=provider.clock)

    async def main() -> list[object]:
        return await asyncio.gather(*(breaker.generate(ask(str(i))) for i in range(n)), return_exceptions=True)

    return provider.clock.run(main())


def _one_after_the_other(provider: Scripted, n: int) -> list[object]:
    breaker, outcomes = Breaker(provider, model="m", clock=provider.clock), []

    async def main() -> None:
        for i in range(n):
            try:
                outcomes.append(await breaker.generate(ask(str(i))))
            except Exception as error:
                outcomes.append(error)

    provider.clock.run(main())
    return outcomes


@pytest.mark.parametrize("error", [Unavailable("down"), Timeout("late"), BadResponse("a page")])
def test_a_dead_endpoint_is_left_alone_and_given_up(error: Exception):
    provider = Scripted(VirtualClock(), [error])
    outcomes = _one_after_the_other(provider, THRESHOLD + 20)
    assert outcomes[:THRESHOLD] == [error] * THRESHOLD
    down = outcomes[-1]
    assert isinstance(down, EndpointDown)
    assert down.exit_code == 4
    assert f"{error}" in str(down)
    assert "run the same command" in str(down)
    assert len(provider.sent) <= THRESHOLD + 6, "probes, ever fewer"
    assert GIVE_UP_S <= provider.clock.monotonic() < GIVE_UP_S + 61


def test_an_endpoint_that_comes_back_goes_on():
    provider = Scripted(VirtualClock(), [Unavailable("down")] * (THRESHOLD + 2) + [answer()])
    outcomes = _one_after_the_other(provider, THRESHOLD + 10)
    assert outcomes[THRESHOLD + 2 :] == [answer()] * 8
    assert provider.clock.monotonic() < 20


def test_who_waits_is_let_through_when_the_probe_succeeds():
    provider = Scripted(VirtualClock(), [Unavailable("down")] * THRESHOLD + [answer()])
    breaker = Breaker(provider, model="m", clock=provider.clock)

    async def main() -> list[object]:
        for i in range(THRESHOLD):
            with pytest.raises(Unavailable):
                await breaker.generate(ask(str(i)))
        return await asyncio.gather(*(breaker.generate(ask(f"waits {i}")) for i in range(50)))

    assert provider.clock.run(main()) == [answer()] * 50
    assert provider.clock.monotonic() <= 4


def test_failures_on_the_way_together_open_once_and_each_is_told():
    outcomes = _rush(Scripted(VirtualClock(), [Unavailable("down")], takes_s=1), 64)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)


def test_some_failures_among_answers_are_no_outage():
    steps = ([Unavailable("no")] * (THRESHOLD - 1) + [answer()]) * 5
    provider = Scripted(VirtualClock(), steps)
    _one_after_the_other(provider, len(steps))
    assert provider.clock.monotonic() == 0


@pytest.mark.parametrize("error", [RateLimited("slow"), Refused("bad request")])
def test_what_says_nothing_of_the_endpoint_does_not_open(error: Exception):
    provider = Scripted(VirtualClock(), [error])
    assert _one_after_the_other(provider, 40) == [error] * 40
    assert provider.clock.monotonic() == 0


def test_an_account_that_is_refused_stops_the_run():
    provider = Scripted(VirtualClock(), [Denied("HTTP 401: who are you?")])
    outcomes = _one_after_the_other(provider, 40)
    assert len(provider.sent) == THRESHOLD
    assert all(isinstance(outcome, EndpointDown) and "401" in str(outcome) for outcome in outcomes[THRESHOLD:])


def test_waiting_for_an_endpoint_uses_up_no_attempt_and_holds_no_money(make_rig):
    rig = make_rig(*[Unavailable("down", billing="none")] * THRESHOLD, answer())
    requests = [ask(f"Describe kettle {i}") for i in range(THRESHOLD)]
    outcomes = rig.ask_all(*requests, backoff=Backoff(attempts=2))
    assert [outcome.text for outcome in outcomes] == ["A kettle."] * THRESHOLD
    assert rig.spent[1] == 0


def test_an_absurd_wait_is_not_waited(make_rig):
    rig = make_rig(RateLimited("come back tomorrow", retry_after_s=86_400), answer())
    (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=3))
    assert isinstance(outcome, RateLimited)
    assert rig.clock.monotonic() == 0
