from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from test_models_openai import ASK, GOOD, KEY, serving

from paretoken.core.clock import SystemClock
from paretoken.core.errors import Refused
from paretoken.core.protocols import ProviderConfig
from paretoken.models.dialect import Dialect
from paretoken.models.openai import make

OTHER_LIMIT = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
NO_TEMPERATURE = "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is."


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("THE_KEY", KEY)


def _talk(n: int, refuses: dict[str, str], model: str = "openai/alias", **options: Any):
    """Send n requests one after the other to an endpoint that refuses fields, each with its words."""
    seen: list[dict[str, Any]] = []

    async def answer(http: web.Request) -> web.Response:
        body = await http.json()
        seen.append(body)
        said = next((words for field, words in refuses.items() if field in body), None)
        if said is not None:
            return web.json_response({"error": {"message": said}}, status=400)
        return web.json_response(GOOD)

    async def main():
        async with serving(answer) as base_url:
            config = ProviderConfig(model, model.partition("/")[2], base_url, "THE_KEY", options=options)
            provider = make(config, SystemClock())
            try:
                for _ in range(n):
                    await provider.generate(ASK)
            finally:
                await provider.aclose()
            return provider.dialect.lessons

    return seen, asyncio.run(main())


def test_an_endpoint_that_says_how_it_wants_to_be_asked_is_obeyed_at_once_and_for_good():
    seen, lessons = _talk(3, {"max_tokens": OTHER_LIMIT, "temperature": NO_TEMPERATURE})
    assert len(seen) == 2 + 3
    for body in seen[2:]:
        assert body["max_completion_tokens"] == ASK.max_tokens
        assert not {"max_tokens", "temperature"} & body.keys()
    assert len(lessons) == 2
    assert "max_completion_tokens" in lessons[0]
    assert "temperature" in lessons[1]


@pytest.mark.parametrize(
    "said",
    [
        "temperature must be between 0 and 1",
        "Only values in the range (0, 1) are allowed for temperature",
        "max_tokens or max_completion_tokens is too large: 9. This model supports at most 4.",
        "The messages are too long.",
    ],
)
def test_other_refusals_stand(said: str):
    with pytest.raises(Refused, match="HTTP 400"):
        _talk(1, {"messages": said})


def test_an_endpoint_that_refuses_whatever_it_is_told_is_asked_no_more():
    with pytest.raises(Refused):
        _talk(1, {"max_tokens": OTHER_LIMIT, "max_completion_tokens": OTHER_LIMIT})


def test_a_deployment_with_a_name_of_its_own_can_be_said_to_reason():
    seen, lessons = _talk(1, {}, reasoning=True)
    assert seen[0]["max_completion_tokens"] == ASK.max_tokens
    assert "temperature" not in seen[0]
    assert lessons == []
    seen, _ = _talk(1, {}, "openai/gpt-5-mini", reasoning=False)
    assert (seen[0]["max_tokens"], seen[0]["temperature"]) == (ASK.max_tokens, ASK.temperature)


@pytest.mark.parametrize(
    ("model", "temperature", "effort", "sent"),
    [
        ("gpt-5", 0.0, None, None), ("gpt-5-mini-2025-08-07", 0.7, None, None), ("o4-mini", 0.0, None, None),
        ("gpt-5-mini", 1.0, None, 1.0), ("gpt-5-chat-latest", 0.0, None, 0.0), ("gpt-5.1", 0.0, "none", 0.0),
        ("gpt-5.4-mini", 0.3, None, 0.3), ("gpt-4o", 0.0, None, 0.0),
    ],
)  # fmt: skip
def test_a_temperature_is_sent_where_the_model_takes_one(
    model: str, temperature: float, effort: str | None, sent: float | None
):
    body = {"max_tokens": 9, "temperature": temperature, **({"reasoning_effort": effort} if effort else {})}
    Dialect(model, of_openai=True, reasoning=None).apply(body)
    assert body.get("temperature") == sent


def test_what_was_refused_at_one_effort_is_sent_at_another():
    dialect = Dialect("gpt-5.4", of_openai=True, reasoning=None)
    assert dialect.learn({"temperature": 0.0, "reasoning_effort": "high"}, NO_TEMPERATURE)
    for effort, sent in (("high", False), ("none", True)):
        body = {"max_tokens": 9, "temperature": 0.0, "reasoning_effort": effort}
        dialect.apply(body)
        assert ("temperature" in body) is sent


@given(
    st.sampled_from(["gpt-5", "o3", "gpt-4o", "my-model"]), st.booleans(), st.sampled_from([None, True, False]),
    st.lists(st.sampled_from([OTHER_LIMIT, NO_TEMPERATURE, "no"]), max_size=4), st.integers(1, 10**6),
)  # fmt: skip
def test_a_request_keeps_its_bound_whatever_is_learnt(name, of_openai, reasoning, refusals, most):
    dialect = Dialect(name, of_openai=of_openai, reasoning=reasoning)
    for refusal in [*refusals, ""]:
        body = {"max_tokens": most, "temperature": 0.0, "seed": 1}
        dialect.apply(body)
        limits = [body[field] for field in ("max_tokens", "max_completion_tokens") if field in body]
        assert limits == [most]
        assert json.loads(json.dumps(body))["seed"] == 1
        dialect.learn(body, refusal)


def test_requests_in_flight_together_learn_together():
    seen: list[dict[str, Any]] = []
    arrived = asyncio.Event()

    async def answer(http: web.Request) -> web.Response:
        body = await http.json()
        seen.append(body)
        if "max_tokens" not in body:
            return web.json_response(GOOD)
        if len(seen) == 5:
            arrived.set()
        await arrived.wait()
        return web.json_response({"error": {"message": OTHER_LIMIT}}, status=400)

    async def main() -> None:
        async with serving(answer) as base_url:
            provider = make(ProviderConfig("openai/a", "a", base_url, "THE_KEY"), SystemClock())
            await asyncio.gather(*(provider.generate(replace(ASK, repeat=i)) for i in range(5)))
            await provider.aclose()

    asyncio.run(main())
    assert len(seen) == 10
