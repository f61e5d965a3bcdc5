from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from paretoken.core.calls import Message, Request
from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.protocols import Provider, ProviderConfig
from paretoken.core.registry import load
from paretoken.testing.models import ProviderSuite


class FrozenClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def make_echo(**options: object) -> Provider:
    config = ProviderConfig(id="echo/any", name="any", options=options)
    provider: Provider = load("paretoken.models", "echo")(config, FrozenClock())
    return provider


class TestEchoKeepsThePromises(ProviderSuite):
    counts_exactly = True

    def make_provider(self) -> Provider:
        return load("paretoken.models", "echo")(ProviderConfig(id="echo/any", name="any"), SystemClock())


def test_it_repeats_the_last_user_message_up_to_max_tokens_words() -> None:
    messages = (Message("user", "first"), Message("assistant", "ok"), Message("user", "one  two three"))
    cut = asyncio.run(make_echo().generate(Request(model="echo/any", messages=messages, max_tokens=2)))
    whole = asyncio.run(make_echo().generate(Request(model="echo/any", messages=messages, max_tokens=3)))
    assert (cut.text, cut.finish_reason) == ("one two", "length")
    assert (whole.text, whole.finish_reason) == ("one two three", "stop")
    assert (cut.usage.input_tokens, cut.usage.output_tokens) == (5, 2)


def test_its_latency_passes_on_the_clock() -> None:
    request = Request(model="echo/any", messages=(Message("user", "hi"),), max_tokens=2)
    assert asyncio.run(make_echo(latency_s=2.5).generate(request)).latency_s == 2.5
    assert asyncio.run(make_echo(latency_s=1).generate(request)).latency_s == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latency": 1}, "Did you mean 'latency_s'"),
        ({"latency_s": "1"}, "'1' is not float"),
        ({"latency_s": True}, "True is not float"),
        ({"latency_s": -1}, "negative"),
        ({"latency_s": float("nan")}, "negative"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make_echo(**options)
