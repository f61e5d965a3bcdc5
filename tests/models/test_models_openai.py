from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from paretoken.core.calls import Message, RateLimit, Request, Response
from paretoken.core.clock import SystemClock
from paretoken.core.errors import (
    BadResponse,
    Denied,
    OutOfCredit,
    ProviderError,
    RateLimited,
    Refused,
    SpecError,
    Timeout,
    Unavailable,
)
from paretoken.core.protocols import Provider, ProviderConfig
from paretoken.core.registry import registered
from paretoken.models.openai import PRESETS, make
from paretoken.testing.models import ProviderSuite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-very/secret+0123456789"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASK = Request(model="openai/m", messages=(Message("user", "Say 红 once."),), max_tokens=9)
GOOD: dict[str, Any] = {
    "model": "m-2026-01-01",
    "system_fingerprint": "fp_1",
    "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "红"}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 2},
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FixedClock(SystemClock):
    def now(self) -> datetime:
        return NOW


def says(body: object, status: int = 200, **headers: str) -> Handler:
    """A server that always answers the same."""

    async def handle(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        kind = headers.pop("content_type", "application/json")
        return web.Response(
            status=status, text=text, content_type=kind, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return handle


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"{site.name}/v1"
    finally:
        await runner.cleanup()


def exchange(
    handler: Handler, request: Request = ASK, *, model: str = "openai/m", timeout_s: float = 20, **options: Any
) -> Response:
    async def main() -> Response:
        async with serving(handler) as base_url:
            config = ProviderConfig(
                id=model,
                name=model.partition("/")[2],
                base_url=base_url,
                api_key_env="THE_KEY",
                timeout_s=timeout_s,
                options=options,
            )
            provider = make(config, FixedClock())
            try:
                return await provider.generate(request)
            finally:
                await provider.aclose()

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)


def failure(handler: Handler, **kinds: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        exchange(handler, **kinds)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)
    return caught.value


class TestHttpKeepsThePromises(ProviderSuite):
    """Against a server in a thread of its own, that answers by what it was asked."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Any:
        from threading import Thread

        async def answer(request: web.Request) -> web.Response:
            body = await request.json()
            words = body["messages"][-1]["content"].split()
            usage = {"prompt_tokens": 20, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
            return web.json_response(
                {**GOOD, "choices": [{"message": {"content": " ".join(words[:5])}}], "usage": usage}
            )

        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever)
        thread.start()
        context = serving(answer)
        self.base_url = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(10)
        yield
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def make_provider(self) -> Provider:
        return make(ProviderConfig(id="vllm/m", name="m", base_url=self.base_url), SystemClock())


def test_an_answer_is_read_whole() -> None:
    answer = exchange(says(GOOD))
    assert (answer.text, answer.finish_reason, answer.model_version) == ("红", "stop", "m-2026-01-01 fp_1")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (11, 2, False)
    assert answer.latency_s is not None
    assert answer.latency_s > 0
    assert answer.ttft_s is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}, (9, 4, 6, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, (9, 4, 5, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 3}, (9, 4, 3, 0)),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3}},
            (9, 4, 0, 3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 16,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            (9, 7, 0, 3),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}, (9, 4, 0, 0)),
    ],
)
def test_usage_comes_in_our_convention(usage: dict[str, Any], expected: tuple[int, ...]) -> None:
    used = exchange(says({**GOOD, "usage": usage})).usage
    assert (used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens) == expected
    assert not used.estimated


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "9"}, {"prompt_tokens": -1, "completion_tokens": 2}])
def test_missing_usage_is_estimated_and_says_so(usage: object) -> None:
    used = exchange(says({**GOOD, "usage": usage})).usage
    assert (used.input_tokens, used.output_tokens, used.estimated) == (4, 1, True)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("sensitive", "content_filter"),
        ("tool_calls", "tool_calls"),
        (None, "unknown"),
    ],
)
def test_why_it_stopped(said: str | None, meant: str) -> None:
    reply = {**GOOD, "choices": [{"finish_reason": said, "message": {"content": "x"}}]}
    assert exchange(says(reply)).finish_reason == meant


def test_tool_calls_are_the_answer_where_there_is_no_text() -> None:
    calls = [{"id": "1", "function": {"name": "paint", "arguments": "{}"}}]
    reply = {**GOOD, "choices": [{"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}]}
    assert json.loads(exchange(says(reply)).text) == calls


def sent(request: Request, **kinds: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What went over the wire: body and headers."""
    seen: list[Any] = []

    async def handle(http: web.Request) -> web.Response:
        seen.extend((await http.json(), dict(http.headers)))
        return web.json_response(GOOD)

    exchange(handle, request, **kinds)
    return seen[0], seen[1]


def test_every_field_of_a_request_is_sent() -> None:
    tools = [{"type": "function", "function": {"name": "paint"}}]
    request = replace(
        ASK,
        messages=(Message("system", "s"), Message("user", "look", ("data:image/png;base64,AA",))),
        temperature=0.5,
        seed=3,
        params=(("stop", "END"), ("top_p", 0.9), ("user", None)),
        tools=json.dumps(tools),
        response_format='{"type": "json_object"}',
    )
    body, headers = sent(request)
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                ],
            },
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 3,
        "stop": "END",
        "top_p": 0.9,
        "tools": tools,
        "response_format": {"type": "json_object"},
    }
    assert headers["Authorization"] == f"Bearer {KEY}"


def test_reasoning_models_of_openai_take_their_own_names() -> None:
    body, _ = sent(ASK, model="openai/o4-mini")
    assert body["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature"} & body.keys()
    assert sent(replace(ASK, temperature=1.0), model="openai/gpt-5-mini")[0]["temperature"] == 1.0
    assert sent(ASK, model="vllm/o4-mini")[0]["max_tokens"] == 9


def test_a_large_body_is_sent_too() -> None:
    image = "data:image/png;base64," + "A" * (2 << 20)

    async def handle(http: web.Request) -> web.Response:
        received = (await http.content.read()).decode()
        return web.json_response({**GOOD, "choices": [{"message": {"content": str(image in received)}}]})

    assert exchange(handle, replace(ASK, messages=(Message("user", "look", (image,)),))).text == "True"


@pytest.mark.parametrize("name", ["n", "max_tokens", "stream", "model"])
def test_params_cannot_break_the_bound(name: str) -> None:
    with pytest.raises(Refused, match=repr(name)):
        exchange(says(GOOD), replace(ASK, params=((name, 5),)))


def test_tools_that_are_not_json_are_refused() -> None:
    with pytest.raises(Refused, match="`tools`"):
        exchange(says(GOOD), replace(ASK, tools="{"))


@pytest.mark.parametrize(
    ("status", "kind", "billing"),
    [
        (400, Refused, "none"),
        (401, Denied, "none"),
        (402, OutOfCredit, "none"),
        (403, Denied, "none"),
        (404, Denied, "none"),
        (422, Refused, "none"),
        (308, Refused, "none"),
        (408, Timeout, "unknown"),
        (429, RateLimited, "none"),
        (500, Unavailable, "unknown"),
        (504, Unavailable, "unknown"),
        (503, Unavailable, "none"),
    ],
)
def test_a_status_becomes_its_error(status: int, kind: type[ProviderError], billing: str) -> None:
    error = failure(says({"error": {"message": f"wrong: {KEY} is it"}}, status))
    assert type(error) is kind
    assert error.billing == billing
    assert f"HTTP {status}: wrong: *** is it" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        f"<html>{KEY}</html>",
        {"detail": KEY},
        {"error": KEY},
        {"message": KEY},
        [KEY],
        f'{{"error": "{KEY}"}}'.replace("/", "\\/"),
    ],
)
def test_no_shape_of_error_lets_the_key_through(body: object) -> None:
    assert "***" in str(failure(says(body, 401)))


def test_an_empty_account_is_not_worth_waiting_for() -> None:
    assert type(failure(says({"error": {"code": "insufficient_quota", "message": "pay"}}, 429))) is OutOfCredit


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30.0),
        ({"retry_after": format_datetime(NOW - timedelta(seconds=30), usegmt=True)}, 0.0),
        ({"retry_after": "soon"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_read_from_the_headers(headers: dict[str, str], wait_s: float | None, status: int) -> None:
    assert failure(says({}, status, **headers)).retry_after_s == pytest.approx(wait_s)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"remaining_requests": "7", "reset_requests": "1.5s"}, RateLimit(7, 1.5)),
        ({"remaining_requests": "0", "reset_requests": "6m0s"}, RateLimit(0, 360.0)),
        ({"remaining_requests": "7", "reset_requests": "120ms", "remaining_tokens": "0", "reset_tokens": "3"},
         RateLimit(0, 3.0)),
        ({"remaining_requests": "7", "reset_requests": "2", "remaining_tokens": "90", "reset_tokens": "9s"},
         RateLimit(7, 2.0)),
        ({"remaining_requests": "7", "reset_requests": "later"}, None),
        ({"remaining_requests": "many", "reset_requests": "1s"}, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 429, 503])
def test_what_is_left_is_read_from_the_headers(
    headers: dict[str, str], expected: RateLimit | None, status: int
) -> None:
    said = {f"x_ratelimit_{name}": value for name, value in headers.items()}
    if status == 200:
        assert exchange(says(GOOD, **said)).rate_limit == expected
    else:
        assert failure(says({}, status, **said)).rate_limit == expected


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        json.dumps(GOOD)[:-20],
        "<html>busy</html>",
        b"\xff\xfe".decode("latin-1"),
        "[]",
        "null",
        "{}",
        {"choices": []},
        {"choices": [{}]},
        {"choices": 3},
        {"choices": [{"message": {"content": 5}}]},
        {"error": {"message": "overloaded"}},
    ],
)
def test_an_unusable_answer_may_have_been_paid(body: object) -> None:
    error = failure(says(body))
    assert type(error) is BadResponse
    assert (error.billing, error.usage) == ("unknown", None)


def test_an_unusable_answer_with_a_count_is_paid_by_that_count() -> None:
    error = failure(says({**GOOD, "choices": []}))
    assert type(error) is BadResponse
    assert error.billing == "known"
    assert error.usage is not None
    assert (error.usage.input_tokens, error.usage.output_tokens) == (11, 2)


def test_a_wrong_content_type_is_named() -> None:
    assert "text/html" in str(failure(says("<html></html>", content_type="text/html")))


def test_a_refused_connection_costs_nothing() -> None:
    async def main() -> None:
        async with serving(says(GOOD)) as base_url:
            pass
        provider = make(ProviderConfig(id="vllm/m", name="m", base_url=base_url), SystemClock())
        try:
            await provider.generate(ASK)
        finally:
            await provider.aclose()

    with pytest.raises(Unavailable, match="cannot connect") as caught:
        asyncio.run(main())
    assert caught.value.billing == "none"


def test_a_connection_that_breaks_after_sending_may_have_cost() -> None:
    async def reset(http: web.Request) -> web.Response:
        await http.read()
        assert http.transport is not None
        http.transport.abort()
        return web.Response()

    error = failure(reset)
    assert type(error) is Unavailable
    assert error.billing == "unknown"


def test_an_answer_that_breaks_off_may_have_cost() -> None:
    async def stop_short(http: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
        await reply.prepare(http)
        await reply.write(b'{"choices": [')
        assert http.transport is not None
        http.transport.close()
        return reply

    error = failure(stop_short)
    assert type(error) is BadResponse
    assert error.billing == "unknown"


def test_a_silent_server_times_out_and_may_have_cost() -> None:
    async def silent(http: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    error = failure(silent, timeout_s=0.05)
    assert type(error) is Timeout
    assert error.billing == "unknown"


def streamed(*events: object, done: bool = True) -> Handler:
    async def handle(http: web.Request) -> web.StreamResponse:
        body = await http.json()
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(http)
        lines = [": comment", *(f"data: {json.dumps(event, ensure_ascii=False)}" for event in events)]
        text = "\n\n".join([*lines, *(["data: [DONE]"] if done else [])]) + "\n\n"
        raw = text.encode()
        for start in range(0, len(raw), 7):  # pieces that cut lines and characters
            await reply.write(raw[start : start + 7])
        return reply

    return handle


def piece(text: str | None, finish: str | None = None) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"delta": {"content": text}, "finish_reason": finish}], "usage": None}


COUNTED = {"model": "m-1", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 2}}


def test_a_stream_gives_the_same_answer_and_the_time_of_its_first_token() -> None:
    answer = exchange(streamed(piece(None), piece("红色"), piece("车"), piece(None, "stop"), COUNTED), stream=True)
    assert (answer.text, answer.finish_reason, answer.model_version) == ("红色车", "stop", "m-1")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 2)
    assert answer.ttft_s is not None
    assert answer.latency_s is not None
    assert 0 < answer.ttft_s <= answer.latency_s


def test_a_stream_without_a_count_is_estimated() -> None:
    assert exchange(streamed(piece("红色"), piece(None, "stop"), done=False), stream=True).usage.estimated


@pytest.mark.parametrize(
    ("events", "billing"),
    [
        ([piece("a")], "unknown"),
        ([piece("a"), {"error": {"message": "overloaded"}}], "unknown"),
        ([piece("a"), COUNTED], "known"),
        (["text"], "unknown"),
        ([{"choices": [3, {"delta": 4}]}], "unknown"),
    ],
)
def test_a_stream_that_does_not_end_is_no_answer(events: list[object], billing: str) -> None:
    error = failure(streamed(*events), stream=True)
    assert type(error) is BadResponse
    assert error.billing == billing


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    assert exchange(says(GOOD), stream=True).text == "红"


def test_every_registered_http_provider_has_a_preset() -> None:
    assert set(PRESETS) == set(registered("paretoken.models")) - {"echo", "litellm", "local", "replay"}


@pytest.mark.parametrize("provider", sorted(name for name, preset in PRESETS.items() if preset.key_env))
def test_a_missing_key_names_its_variable(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = PRESETS[provider].key_env
    assert variable is not None
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SpecError, match=f"{variable} is not set"):
        make(ProviderConfig(id=f"{provider}/m", name="m"), SystemClock())
    monkeypatch.setenv(variable, "  ")
    with pytest.raises(SpecError, match=f"{variable} is not set"):
        make(ProviderConfig(id=f"{provider}/m", name="m"), SystemClock())


def test_a_key_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "sk-1\nsk-2")
    with pytest.raises(SpecError, match="THE_KEY holds characters") as caught:
        make(ProviderConfig(id="openai/m", name="m", api_key_env="THE_KEY"), SystemClock())
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/v1", "http://localhost:1/v1", "http://[::1]:1/v1"])
def test_a_loopback_server_gets_no_key_unless_one_is_named(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    make(ProviderConfig(id="openai/m", name="m", base_url=base_url), SystemClock())
    with pytest.raises(SpecError, match="NO_SUCH_KEY"):
        make(ProviderConfig(id="openai/m", name="m", base_url=base_url, api_key_env="NO_SUCH_KEY"), SystemClock())


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ProviderConfig(id="vllm/m", name="m", base_url="127.0.0.1:8000"), "not an http"),
        (ProviderConfig(id="vllm/", name=""), "names no model"),
        (ProviderConfig(id="vllm/m", name="m", options={"steam": True}), "Did you mean 'stream'"),
        (ProviderConfig(id="vllm/m", name="m", options={"stream": "yes"}), "'yes' is not bool"),
    ],
)
def test_wrong_entries_are_named(config: ProviderConfig, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make(config, SystemClock())


def test_a_proxy_of_the_environment_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def main() -> tuple[str, str]:
        async with serving(says(GOOD)) as base_url:
            monkeypatch.setenv("http_proxy", base_url.removesuffix("/v1"))
            far = make(ProviderConfig(id="vllm/m", name="m", base_url="http://model.invalid/v1"), SystemClock())
            through = (await far.generate(ASK)).text
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
            near = make(ProviderConfig(id="vllm/m", name="m", base_url=base_url), SystemClock())
            direct = (await near.generate(ASK)).text
            await far.aclose()
            await near.aclose()
            return through, direct

    assert asyncio.run(main()) == ("红", "红")


def test_one_provider_serves_several_event_loops() -> None:
    provider: list[Provider] = []

    async def main() -> str:
        async with serving(says(GOOD)) as base_url:
            if not provider:
                provider.append(make(ProviderConfig(id="vllm/m", name="m", base_url=base_url), SystemClock()))
            provider[0]._url = f"{base_url}/chat/completions"  # type: ignore[attr-defined]
            try:
                return (await provider[0].generate(ASK)).text
            finally:
                await provider[0].aclose()

    assert [asyncio.run(main()) for _ in range(2)] == ["红", "红"]
