"""What every provider must hold. Subclass `ProviderSuite` in a test module and say how to make yours."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from paretoken.core.calls import Message, Origin, Request, Response
from paretoken.core.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from paretoken.core.protocols import Provider


def _promise(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


class ProviderSuite:
    """A provider's promises as tests.

    Attributes:
        counts_exactly: True if `count_tokens` gives the very number that the answer's usage has.
        concurrency: How many requests are sent at once.
    """

    counts_exactly: ClassVar[bool] = False
    concurrency: ClassVar[int] = 8

    def make_provider(self) -> Provider:
        """Make a fresh provider; override this."""
        raise NotImplementedError

    def make_request(self, number: int) -> Request:
        """Make a request that the provider can answer; equal numbers give equal requests."""
        return Request(
            model="suite",
            messages=(Message("system", "Answer briefly."), Message("user", f"Name {number + 2} red things, please.")),
            max_tokens=12,
            seed=7,
            origin=Origin(sample=str(number)),
        )

    def _with_provider(self, check: Callable[[Provider], Awaitable[None]]) -> None:
        async def main() -> None:
            provider = self.make_provider()
            try:
                await check(provider)
            finally:
                await provider.aclose()

        asyncio.run(main())

    def test_answers_with_text_and_a_reason_to_stop(self) -> None:
        """An answer is text and says why it ended; money and cache are the gateway's."""

        async def check(provider: Provider) -> None:
            response = await provider.generate(self.make_request(0))
            _promise(isinstance(response.text, str) and bool(response.text), "an answer has text")
            reasons = ("stop", "length", "content_filter", "tool_calls", "unknown")
            _promise(response.finish_reason in reasons, f"finish_reason is one of {reasons}")
            _promise(not response.from_cache and not response.attempts, "cache and attempts belong to the gateway")
            _promise(response.billed_usd == 0 and response.list_usd == 0, "a provider knows no prices")

        self._with_provider(check)

    def test_usage_is_totals_with_subsets(self) -> None:
        """Counts are totals that include their subsets."""

        async def check(provider: Provider) -> None:
            request = self.make_request(0)
            usage = (await provider.generate(request)).usage
            _promise(usage.requests == 1, "one request is one request")
            _promise(usage.input_tokens > 0 and usage.output_tokens > 0, "tokens are counted, or estimated")
            _promise(usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens, "cached is part of input")
            _promise(usage.reasoning_tokens <= usage.output_tokens, "reasoning is part of output")
            _promise(usage.compute_s >= 0, "engine time is not negative")
            _promise(
                provider.recorded or usage.estimated or usage.output_tokens <= request.max_tokens,
                "an answer has at most max_tokens tokens",
            )

        self._with_provider(check)

    def test_times_are_none_or_not_negative(self) -> None:
        """A time is missing or not negative."""

        async def check(provider: Provider) -> None:
            response = await provider.generate(self.make_request(0))
            _promise(response.latency_s is None or response.latency_s >= 0, "latency is not negative")
            if response.ttft_s is not None:
                _promise(
                    response.latency_s is not None and 0 <= response.ttft_s <= response.latency_s,
                    "the first token comes before the last",
                )

        self._with_provider(check)

    def test_a_greedy_request_gives_the_same_text_twice(self) -> None:
        """Temperature 0 and a seed can be repeated."""

        async def check(provider: Provider) -> None:
            first, second = [(await provider.generate(self.make_request(1))).text for _ in range(2)]
            _promise(first == second, "temperature 0 and a seed give the same text twice")

        self._with_provider(check)

    def test_requests_do_not_mix(self) -> None:
        """Requests in flight together get the answers they get alone."""

        async def check(provider: Provider) -> None:
            requests = [self.make_request(number) for number in range(self.concurrency)]
            together = await asyncio.gather(*(provider.generate(request) for request in requests))
            for request, response in zip(requests, together, strict=True):
                alone: Response = await provider.generate(request)
                _promise(response.text == alone.text, f"request {request.origin.sample} got its own answer")

        self._with_provider(check)

    def test_cancelling_leaves_it_usable(self) -> None:
        """Cancelled at any moment, it still answers the next request."""

        async def check(provider: Provider) -> None:
            await provider.generate(self.make_request(0))
            long = replace(self.make_request(1), max_tokens=64)
            for wait_s in (0, 0.001, 0.05):
                tasks = [asyncio.ensure_future(provider.generate(long)) for _ in range(self.concurrency)]
                await asyncio.wait(tasks, timeout=wait_s)
                for task in tasks:
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    _promise(
                        isinstance(result, Response | asyncio.CancelledError | ProviderError),
                        f"a cancelled request ends in nothing else than that, not in {result!r}",
                    )
            response = await provider.generate(self.make_request(0))
            _promise(bool(response.text), "it answers after cancellations")

        self._with_provider(check)

    def test_closing_twice_is_closing_once(self) -> None:
        """`aclose` is idempotent, used or not."""

        async def main() -> None:
            unused = self.make_provider()
            await unused.aclose()
            await unused.aclose()
            used = self.make_provider()
            await used.generate(self.make_request(0))
            await used.aclose()
            await used.aclose()

        asyncio.run(main())

    def test_counted_tokens_are_no_more_than_used_tokens(self) -> None:
        """Counting before sending never promises more than is used."""

        async def check(provider: Provider) -> None:
            request = self.make_request(2)
            counted = await provider.count_tokens(request)
            used = (await provider.generate(request)).usage.input_tokens
            if self.counts_exactly:
                _promise(counted == used, f"count_tokens is exact: {counted} counted, {used} used")
            else:
                _promise(counted is None or counted <= used, f"{counted} counted, only {used} used")

        self._with_provider(check)

    def test_it_says_what_it_is(self) -> None:
        """Slots and recorded have values the gateway can act on."""

        async def check(provider: Provider) -> None:
            _promise(provider.slots is None or provider.slots >= 1, "slots is None or at least 1")
            _promise(isinstance(provider.recorded, bool), "recorded is a bool")

        self._with_provider(check)
