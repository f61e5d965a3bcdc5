from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from random import Random

import pytest
from gateway_rig import Scripted, answer, ask
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Message, RateLimit, Request, Response
from paretoken.core.errors import EndpointDown, QuotaExceeded, RateLimited, Unavailable
from paretoken.gateway.breaker import Breaker
from paretoken.gateway.pace import MARGIN, Pace
from paretoken.gateway.retry import Backoff, Retry
from paretoken.gateway.throttle import Limits, Throttle
from paretoken.gateway.window import Window
from paretoken.testing.clock import VirtualClock

CLOSE = 1e-3


def _send(limits: Limits, arrivals: list[tuple[float, Request]], provider: Scripted) -> list[object]:
    """Send requests, each at its time, and check that they go in the order in which they came."""
    throttle = Throttle(provider, limits=limits, shared=Window(10**6), clock=provider.clock)
    came: list[Request] = []

    async def send(at_s: float, request: Request) -> object:
        await provider.clock.sleep(at_s)
        came.append(request)
        return await throttle.generate(request)

    async def main() -> list[object]:
        return await asyncio.gather(*(send(*arrival) for arrival in arrivals), return_exceptions=True)

    outcomes = provider.clock.run(main())
    sent = [request for _, request in provider.sent]
    assert sent == [request for request in came if request in sent]
    return outcomes


def _sized(tokens: int, number: int = 0) -> Request:
    """A request expected to use this many tokens, two of them in the prompt."""
    return Request("m", (Message("user", f"{number:08d}"),), tokens - 2)


def _check_windows(taken: list[tuple[float, float]], rate: float, burst: float) -> None:
    """No window of T seconds has more than `rate * T + burst`."""
    for i, (start, _) in enumerate(taken):
        total = 0.0
        for end, amount in taken[i:]:
            total += amount
            assert total <= rate * (end - start) + burst + CLOSE


@settings(max_examples=60)
@given(
    st.sampled_from([0.5, 1, 7, 60, 90, 600, 6000]),
    st.lists(st.floats(0, 20), min_size=1, max_size=40),
    st.floats(0, 5),
)
def test_no_window_has_more_requests_than_the_rate(rpm: float, arrivals: list[float], takes_s: float):
    provider = Scripted(VirtualClock(), [answer()], takes_s)
    _send(Limits(rpm=rpm), [(at_s, ask(str(i))) for i, at_s in enumerate(arrivals)], provider)
    assert len(provider.sent) == len(arrivals)
    _check_windows([(time, 1) for time in provider.times], MARGIN * rpm / 60, 1)


@settings(max_examples=60)
@given(
    st.sampled_from([600, 6000, 60_000]),
    st.lists(st.tuples(st.floats(0, 20), st.integers(3, 600)), min_size=1, max_size=25),
)
def test_no_window_has_more_tokens_than_the_rate(tpm: int, arrivals: list[tuple[float, int]]):
    provider = Scripted(VirtualClock(), [lambda request: answer("x", 2, request.max_tokens)])
    _send(Limits(tpm=tpm), [(at_s, _sized(size, i)) for i, (at_s, size) in enumerate(arrivals)], provider)
    assert len(provider.sent) == len(arrivals)
    taken = [(time, request.max_tokens + 2) for time, request in provider.sent]
    _check_windows(taken, tpm / 60, max(tpm / 60, 1, *(amount for _, amount in taken)))


def test_the_rate_is_used_in_full():
    provider = Scripted(VirtualClock(), [answer()])
    _send(Limits(rpm=60), [(0, ask(str(i))) for i in range(31)], provider)
    assert provider.times[0] == 0
    assert provider.times[-1] == pytest.approx(30 / MARGIN, abs=0.01)


def test_tokens_that_were_not_used_are_given_back():
    provider = Scripted(VirtualClock(), [answer("x", 2, 8)])
    _send(Limits(tpm=6000), [(0, _sized(1000, i)) for i in range(40)], provider)
    assert provider.times[-1] < 10  # 40 x 10 tokens take 4 s; the 40 x 1000 expected would take 400 s


def test_tokens_used_beyond_the_expected_are_taken():
    provider = Scripted(VirtualClock(), [answer("x", 500, 8)])
    _send(Limits(tpm=6000, concurrency=1), [(0, _sized(10, i)) for i in range(5)], provider)
    assert all(after - before > 4.1 for before, after in pairwise(provider.times))


def test_a_request_that_can_never_fit_is_refused_and_takes_nothing():
    provider = Scripted(VirtualClock(), [answer("x", 2, 8)])
    limits = Limits(rpm=600, tpm=6000)
    outcomes = _send(limits, [(0, _sized(6001)), (0, _sized(6000)), (0, _sized(10))], provider)
    assert isinstance(outcomes[0], QuotaExceeded)
    assert (outcomes[0].dimension, outcomes[0].limit, outcomes[0].needed) == ("tokens per minute", 6000, 6001)
    assert outcomes[0].exit_code == 4
    assert [request.max_tokens for _, request in provider.sent] == [5998, 8]
    assert provider.times[0] == 0
    assert provider.times[1] < 1  # the tokens that were not used came back


def test_both_limits_hold_at_once():
    provider = Scripted(VirtualClock(), [lambda request: answer("x", 2, request.max_tokens)])
    _send(Limits(rpm=60, tpm=600), [(0, _sized(100, i)) for i in range(7)], provider)
    assert provider.times[-1] == pytest.approx(60 / MARGIN, abs=0.3)
    provider = Scripted(VirtualClock(), [lambda request: answer("x", 2, request.max_tokens)])
    _send(Limits(rpm=6, tpm=60_000), [(0, _sized(100, i)) for i in range(7)], provider)
    assert provider.times[-1] == pytest.approx(60 / MARGIN, abs=0.3)


def test_no_more_requests_at_once_than_places_in_order_of_arrival():
    provider = Scripted(VirtualClock(), [answer()], takes_s=1)
    _send(Limits(concurrency=3), [(0, ask(str(i))) for i in range(10)], provider)
    assert provider.most_in_flight == 3
    assert len(provider.sent) == 10
    assert provider.clock.monotonic() == pytest.approx(4)


def test_a_failure_gives_its_place_free():
    provider = Scripted(VirtualClock(), [Unavailable("no"), answer()], takes_s=1)
    outcomes = _send(Limits(concurrency=1), [(0, ask("a")), (0, ask("b"))], provider)
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] == answer()


def test_who_stops_waiting_takes_nothing_and_holds_nobody_up():
    provider = Scripted(VirtualClock(), [answer()])
    throttle = Throttle(provider, limits=Limits(rpm=6), shared=Window(9), clock=provider.clock)

    async def main() -> None:
        await throttle.generate(ask("first"))
        waiting = [asyncio.create_task(throttle.generate(ask(str(i)))) for i in range(4)]
        await provider.clock.sleep(5)
        for task in waiting[:3]:
            task.cancel()
        await asyncio.wait(waiting)

    provider.clock.run(main())
    assert [request.messages[0].content for _, request in provider.sent] == ["first", "3"]
    assert provider.times[1] == pytest.approx(10 / MARGIN, abs=0.01)


def test_no_limits_never_wait():
    provider = Scripted(VirtualClock(), [answer()])
    _send(Limits(), [(0, ask(str(i), max_tokens=10**9)) for i in range(200)], provider)
    assert provider.clock.monotonic() == 0


def test_a_pause_is_saved_up_no_longer_than_the_burst():
    clock = VirtualClock()
    pace = Pace("requests per minute", 600, 10, clock)
    clock.advance(3600)
    pace.take(10)
    assert pace.wait_s(1) == pytest.approx(0.1 / MARGIN)
    pace.take(-1000)
    pace.take(10)
    assert pace.wait_s(10) == pytest.approx(1 / MARGIN)


@pytest.mark.parametrize("callers", [1, 20, 128])
@pytest.mark.parametrize("asks", [None, 1.0])
def test_a_limit_that_nobody_states_loses_no_call(callers: int, asks: float | None):
    vendor = Vendor(VirtualClock(), rpm=60, takes_s=(0.05, 0.2), asks_s=asks)
    throttle = Throttle(vendor, limits=Limits(concurrency=64), shared=Window(64), clock=vendor.clock)
    breaker = Breaker(throttle, model="m", clock=vendor.clock)
    retry = Retry(breaker, clock=vendor.clock, backoff=Backoff(), seed=1)
    work = iter(range(300))

    async def caller() -> None:
        for number in work:
            await retry.generate(ask(str(number)))

    async def main() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    vendor.clock.run(main())
    assert vendor.n_accepted == 300
    assert vendor.clock.monotonic() < 480, "60 a minute take at least 240 s"


def test_an_endpoint_that_turns_everything_away_is_given_up():
    vendor = Vendor(VirtualClock(), rpm=0)
    throttle = Throttle(vendor, limits=Limits(concurrency=64), shared=Window(64), clock=vendor.clock)
    breaker = Breaker(throttle, model="m", clock=vendor.clock)
    retry = Retry(breaker, clock=vendor.clock, backoff=Backoff(), seed=1)

    async def main() -> list[object]:
        return await asyncio.gather(*(retry.generate(ask(str(i))) for i in range(50)), return_exceptions=True)

    outcomes = vendor.clock.run(main())
    assert any(isinstance(outcome, EndpointDown) for outcome in outcomes)
    assert all(isinstance(outcome, EndpointDown | RateLimited) for outcome in outcomes)
    assert vendor.n_rejected < 50 * 12, "ever fewer"


def test_a_token_limit_is_used_though_answers_are_shorter_than_they_may_be():
    clock = VirtualClock()
    provider = Scripted(clock, [lambda request: answer("x", 10, request.max_tokens // 4)], takes_s=3)
    _send(Limits(tpm=60_000, concurrency=64), [(0, _sized(1000, i)) for i in range(1000)], provider)
    used = sum(10 + request.max_tokens // 4 for _, request in provider.sent)
    assert used / (clock.monotonic() / 60) >= 0.9 * 60_000


@pytest.mark.parametrize("said", [None, RateLimit(9000, 500.0), RateLimit(1, 0.0), RateLimit(10**6, 1e9)])
def test_a_token_limit_is_used_whatever_the_vendor_says_of_its_requests(said: RateLimit | None):
    clock = VirtualClock()
    provider = Scripted(clock, [replace(answer("x", 10, 20), rate_limit=said)], takes_s=1)
    _send(Limits(tpm=60_000, concurrency=64), [(0, _sized(1000, i)) for i in range(3000)], provider)
    assert 3000 * 30 / (clock.monotonic() / 60) >= 0.97 * 60_000


@settings(max_examples=8)
@given(st.floats(0.1, 1), st.floats(0.01, 4), st.sampled_from([6_000, 12_000]), st.booleans())
def test_what_a_token_limit_allows_is_used(share: float, takes_s: float, tpm: int, told: bool):
    clock = VirtualClock()
    tokens = max(1, round(share * 300))
    said = RateLimit(10_000, 60.0) if told else None
    provider = Scripted(clock, [replace(answer("x", 2, tokens), rate_limit=said)], takes_s=takes_s)
    enough = 6 * tpm // (tokens + 2) + 1
    _send(Limits(tpm=tpm), [(0, _sized(302, i)) for i in range(enough)], provider)
    assert enough * (tokens + 2) / ((clock.monotonic() - takes_s) / 60) >= 0.97 * tpm


@given(st.lists(st.sampled_from([None, RateLimit(50, 3.0), RateLimit(5, 60.0)]), min_size=12, max_size=12))
@settings(max_examples=30)
def test_pauses_double_until_an_answer_comes_whatever_headers_say(said: list[RateLimit | None]):
    def turned_away(limit: RateLimit | None) -> RateLimited:
        error = RateLimited("no")
        error.rate_limit = limit
        return error

    provider = Scripted(VirtualClock(), [*map(turned_away, said), answer()])
    _send(Limits(concurrency=1), [(0, ask(str(i))) for i in range(12)], provider)
    pauses = [after - before for before, after in pairwise(provider.times)][2:]
    assert all(pause >= min(2**k, 60) - 0.01 for k, pause in enumerate(pauses))


@dataclass
class Vendor:
    """Turns requests away: over a sliding minute, or when too many are on the way. Answers after a random time."""

    clock: VirtualClock
    rpm: int = 10**9
    capacity: int = 10**9
    takes_s: tuple[float, float] = (0.2, 2.0)
    tells: bool = False
    asks_s: float | None = None
    accepted: deque[float] = field(default_factory=deque)
    n_accepted: int = 0
    n_rejected: int = 0
    active: int = 0
    random: Random = field(default_factory=lambda: Random(7))

    async def generate(self, request: Request) -> Response:
        await self.clock.sleep(self.random.uniform(0, 0.1))  # to travel
        now = self.clock.monotonic()
        while self.accepted and self.accepted[0] <= now - 60:
            self.accepted.popleft()
        if len(self.accepted) >= self.rpm or self.active >= self.capacity:
            self.n_rejected += 1
            error = RateLimited("slow down", retry_after_s=self.asks_s)
            error.rate_limit = self._said(now)
            raise error
        self.accepted.append(now)
        self.n_accepted += 1
        said = self._said(now)
        self.active += 1
        try:
            await self.clock.sleep(self.random.uniform(*self.takes_s))
        finally:
            self.active -= 1
        return replace(answer(), rate_limit=said)

    def _said(self, now: float) -> RateLimit | None:
        if not self.tells:
            return None
        return RateLimit(self.rpm - len(self.accepted), self.accepted[0] + 60 - now if self.accepted else 0.0)


def _flood(vendor: Vendor, limits: Limits, seconds: float) -> None:
    """Two hundred callers who ask without a pause, and ask again when they are turned away."""
    throttle = Throttle(vendor, limits=limits, shared=Window(200), clock=vendor.clock)

    async def caller(number: int) -> None:
        for i in count():
            while True:
                try:
                    await throttle.generate(ask(f"{number} {i}"))
                    break
                except RateLimited:
                    await vendor.clock.sleep(vendor.random.uniform(0, 1))

    async def main() -> None:
        callers = [asyncio.create_task(caller(i)) for i in range(200)]
        await vendor.clock.sleep(seconds)
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    vendor.clock.run(main())


def test_a_stated_limit_is_used_to_97_percent_with_hardly_a_rejection():
    vendor = Vendor(VirtualClock(), rpm=200)
    _flood(vendor, Limits(rpm=200, concurrency=64), 600)
    assert vendor.n_accepted >= 0.97 * 200 * 10
    assert vendor.n_rejected < 0.01 * vendor.n_accepted


def test_a_limit_that_only_the_vendor_states_is_kept():
    vendor = Vendor(VirtualClock(), rpm=200, tells=True)
    _flood(vendor, Limits(concurrency=32), 600)
    assert vendor.n_accepted >= 0.97 * 200 * 10
    assert vendor.n_rejected < 0.05 * vendor.n_accepted


def test_concurrency_finds_what_the_vendor_takes():
    vendor = Vendor(VirtualClock(), capacity=16)
    _flood(vendor, Limits(concurrency=64), 600)
    most = 16 * 600 / (sum(vendor.takes_s) / 2)
    assert vendor.n_accepted >= 0.8 * most
    assert vendor.n_rejected < 0.07 * vendor.n_accepted


def test_every_request_turned_away_costs_a_place_and_retried_ones_prove_nothing():
    window = Window(64)
    provider = Scripted(VirtualClock(), [RateLimited("no")] * 32 + [answer()], takes_s=1)
    throttle = Throttle(provider, limits=Limits(concurrency=64), shared=Window(64), clock=provider.clock)
    throttle._window = window

    async def main() -> None:
        requests = [ask(str(i)) for i in range(32)]
        await asyncio.gather(*map(throttle.generate, requests), return_exceptions=True)
        assert window.places == 32
        await asyncio.gather(*map(throttle.generate, requests))
        assert window.places == 32
        await asyncio.gather(*(throttle.generate(ask(f"new {i}")) for i in range(66)))
        assert window.places == 34

    provider.clock.run(main())


def test_retry_after_three_times_in_a_row_pauses_the_whole_model():
    provider = Scripted(VirtualClock(), [RateLimited("no", retry_after_s=20)] * 3 + [answer()])
    outcomes = _send(Limits(), [(i, ask(str(i))) for i in range(5)], provider)
    assert all(isinstance(outcome, RateLimited) for outcome in outcomes[:3])
    assert provider.times == [0, 1, 2, pytest.approx(22, abs=0.3), pytest.approx(22, abs=0.3)]


def test_a_stray_rejection_holds_up_nobody_else():
    steps = [RateLimited("no", retry_after_s=20), answer()] * 20
    provider = Scripted(VirtualClock(), steps)
    _send(Limits(concurrency=64), [(i / 10, ask(str(i))) for i in range(40)], provider)
    assert provider.times[-1] == pytest.approx(3.9)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(0, 9)), min_size=1, max_size=30), st.integers(1, 4))
def test_cancelled_at_any_moment_no_place_is_lost(plans: list[tuple[float, float | None]], places: int):
    provider = Scripted(VirtualClock(), [answer()], takes_s=1)
    throttle = Throttle(provider, limits=Limits(rpm=120, concurrency=places), shared=Window(3), clock=provider.clock)

    async def send(i: int, at_s: float) -> None:
        await provider.clock.sleep(at_s)
        await throttle.generate(ask(str(i)))

    async def main() -> None:
        tasks = [asyncio.create_task(send(i, at_s)) for i, (at_s, _) in enumerate(plans)]
        for task, (_, cancelled_at_s) in zip(tasks, plans, strict=True):
            if cancelled_at_s is not None:
                asyncio.get_running_loop().call_later(cancelled_at_s, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert provider.most_in_flight <= min(places, 3)
        sent = len(provider.sent)
        started_s = provider.clock.monotonic()
        await asyncio.gather(*(throttle.generate(ask(f"after {i}")) for i in range(places)))
        assert len(provider.sent) == sent + places
        assert provider.clock.monotonic() - started_s < 1 + 0.51 / MARGIN * (places + 1) + (places > 3)

    provider.clock.run(main())
