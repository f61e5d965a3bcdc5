from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace

import pytest

from paretoken.core.calls import Message, Request
from paretoken.core.clock import SystemClock
from paretoken.core.errors import ProviderError, RateLimited, Refused, SpecError, Timeout, Unavailable
from paretoken.core.protocols import Provider, ProviderConfig
from paretoken.models import litellm
from paretoken.models.litellm import make

ASK = Request(model="litellm/v/m", messages=(Message("user", "hi"),), max_tokens=5, seed=3)
KEY = "sk-secret-0123456789"


def provider(**kinds: str) -> Provider:
    return make(ProviderConfig(id="litellm/v/m", name="v/m", **kinds), SystemClock())  # type: ignore[arg-type]


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'paretoken\[litellm\]'"):
        provider()
    assert "litellm" not in sys.modules


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the library: keeps what it was asked, and fails if it is told to."""
    library = SimpleNamespace(asked={}, supported=["seed"], error=None)

    async def acompletion(**asked: object) -> SimpleNamespace:
        library.asked = asked
        if library.error is not None:
            raise library.error
        reply = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
        return SimpleNamespace(model_dump=lambda: reply)

    library.acompletion = acompletion
    library.get_supported_openai_params = lambda model: library.supported
    monkeypatch.setattr(litellm, "find_spec", lambda name: object())
    monkeypatch.setattr(litellm, "_litellm", lambda: library)
    return library


def test_it_asks_once_and_drops_a_seed_the_vendor_does_not_take(stub: SimpleNamespace) -> None:
    answer = asyncio.run(provider().generate(ASK))
    assert (answer.text, answer.usage.estimated, stub.asked["num_retries"]) == ("hello", True, 0)
    assert (stub.asked["model"], stub.asked["seed"], stub.asked["max_tokens"]) == ("v/m", 3, 5)
    stub.supported = None
    asyncio.run(provider().generate(ASK))
    assert "seed" not in stub.asked


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("RateLimitError", 429, RateLimited),
        ("AuthenticationError", 401, Refused),
        ("InternalServerError", 500, Unavailable),
        ("APIConnectionError", 500, Unavailable),
        ("Timeout", 408, Timeout),
        ("ValueError", None, Unavailable),
    ],
)
def test_its_errors_become_ours(
    stub: SimpleNamespace, name: str, status: int | None, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    stub.error = type(name, (Exception,), {"status_code": status})(f"wrong: {KEY}")
    with pytest.raises(kind, match=rf"{name}: wrong: \*\*\*") as caught:
        asyncio.run(provider(api_key_env="THE_KEY").generate(ASK))
    assert KEY not in str(caught.value)


def test_a_missing_key_names_its_variable(stub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    with pytest.raises(SpecError, match="THE_KEY is not set"):
        provider(api_key_env="THE_KEY")
