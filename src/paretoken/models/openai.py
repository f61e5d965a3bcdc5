"""Any endpoint that speaks the OpenAI chat-completions format, over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from paretoken.core.errors import BadResponse, ProviderError, Refused, SpecError, Timeout, Unavailable
from paretoken.core.keys import hider
from paretoken.core.registry import suggest
from paretoken.models.chat_format import has_text, join_chunks, read_reply, write_body
from paretoken.models.dialect import Dialect
from paretoken.models.events import parse, read_events
from paretoken.models.failures import failure, read_error
from paretoken.models.headers import LIMITED, read_rate_limit, retry_after_s
from paretoken.models.options import read_options
from paretoken.models.proxies import find_proxy, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import Clock, Provider, ProviderConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """How one provider differs.

    Attributes:
        base_url: Where its API is, without `/chat/completions`.
        key_env: Environment variable that holds the key by convention; None for servers that need none.
    """

    base_url: str
    key_env: str | None = None


PRESETS = {
    "openai": Preset("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "deepseek": Preset("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "dashscope": Preset("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "zhipu": Preset("https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY"),
    "moonshot": Preset("https://api.moonshot.cn/v1", "MOONSHOT_API_KEY"),
    "doubao": Preset("https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY"),
    "vllm": Preset("http://127.0.0.1:8000/v1"),
    "ollama": Preset("http://127.0.0.1:11434/v1"),
    "llamacpp": Preset("http://127.0.0.1:8080/v1"),
}

_CONNECTIONS = 512
_CONNECT_S = 15.0
_LARGE_BODY = 2**20
_SHOWN_CHARACTERS = 400
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Options of an HTTP model.

    Attributes:
        stream: Ask for the answer piece by piece, which gives the time to the first token.
        reasoning: Whether the model takes `max_completion_tokens` and no temperature; None is by its name.
    """

    stream: bool = False
    reasoning: bool | None = None


class HttpChat:
    """One model behind one endpoint. Keeps one session per event loop; concurrency is bounded by whoever calls."""

    slots: int | None = None
    recorded = False

    def __init__(self, config: ProviderConfig, clock: Clock, preset: Preset, base_url: str, key: str) -> None:
        self._clock, self._key, self._hide = clock, key, hider([key])
        self._id, self._model, self._timeout_s = config.id, config.name, config.timeout_s
        self._url = f"{base_url}/chat/completions"
        self._proxy = find_proxy(self._url)
        self._via = f" through the proxy {urlsplit(self._proxy).netloc.rpartition('@')[2]}" if self._proxy else ""
        options = read_options(config, HttpOptions)
        self._stream = options.stream
        self.dialect = Dialect(config.name, of_openai=preset is PRESETS["openai"], reasoning=options.reasoning)
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    async def generate(self, request: Request) -> Response:
        """Send the request and read the whole answer; once more if a refusal, which costs nothing, said how.

        Raises:
            ProviderError: No usable answer.
        """
        while True:
            body = self._body(request)
            try:
                return await self._send(request, body)
            except Refused as error:
                if not self.dialect.learn(body, str(error)) or self._body(request) == body:
                    raise

    async def _send(self, request: Request, said: dict[str, Any]) -> Response:
        streaming, body = "stream" in said, _to_json(said).encode()
        session = self._sessions.get(asyncio.get_running_loop()) or self._connect()
        ttft_s = None
        started_s = self._clock.monotonic()
        whole: Any
        try:
            async with session.post(
                self._url, data=body if len(body) < _LARGE_BODY else BytesIO(body), allow_redirects=False
            ) as reply:
                headers = reply.headers
                if reply.status >= 300:
                    raise self._error(reply.status, headers, await reply.read())
                if streaming and reply.content_type == "text/event-stream":
                    whole, ttft_s = await self._read_stream(reply.content, started_s)
                else:
                    whole = parse(await reply.read(), reply.content_type)
                latency_s = self._clock.monotonic() - started_s
        except aiohttp.ClientHttpProxyError as error:
            raise Unavailable(
                f"{self._id}: the proxy refuses: {error.status} {error.message}", billing="none"
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise Unavailable(f"{self._id}: cannot connect{self._via}: {error}", billing="none") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise Timeout(f"{self._id}: cannot connect in time", billing="none") from error
        except TimeoutError as error:
            raise Timeout(f"{self._id}: no complete answer within {self._timeout_s:g} s") from error
        except aiohttp.ClientPayloadError as error:
            raise BadResponse(f"{self._id}: the answer broke off") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._id}: the connection broke: {error}") from error
        try:
            answer = read_reply(whole, request, latency_s=latency_s, ttft_s=ttft_s)
        except ProviderError as error:
            error.retry_after_s = retry_after_s(headers, self._clock.now(), str(error))
            error.rate_limit = read_rate_limit(headers, self._clock.now())
            error.args = (f"{self._id}: {self._clean(str(error))}",)
            raise
        if LIMITED in headers:
            answer = replace(answer, rate_limit=read_rate_limit(headers, self._clock.now()))
        hidden = self._hide(answer.text)
        return answer if hidden == answer.text else replace(answer, text=hidden)

    async def _read_stream(
        self, content: aiohttp.StreamReader, started_s: float
    ) -> tuple[dict[str, Any], float | None]:
        """A streamed reply, whole, and the time to its first token [s].

        An answer that has its finish reason is whole and paid, whatever becomes of the connection after it.
        """
        events: list[Any] = []
        ttft_s = None
        try:
            async for event in read_events(content.iter_any()):
                events.append(event)
                if ttft_s is None and has_text(event):
                    ttft_s = self._clock.monotonic() - started_s
        except (TimeoutError, aiohttp.ClientError, OSError):
            if "choices" not in join_chunks(events):
                raise
        return join_chunks(events), ttft_s

    async def count_tokens(self, request: Request) -> int | None:
        """Unknown: the tokeniser is elsewhere."""
        return None

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _body(self, request: Request) -> dict[str, Any]:
        body = write_body(request)
        body["model"] = self._model
        self.dialect.apply(body)
        if self._stream and request.tools is None:
            body["stream"], body["stream_options"] = True, {"include_usage": True}
        return body

    def _connect(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "User-Agent": "paretoken"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=min(_CONNECT_S, self._timeout_s)),
        )
        self._sessions[asyncio.get_running_loop()] = session
        return session

    def _error(self, status: int, headers: Mapping[str, str], raw: bytes) -> ProviderError:
        try:
            reply = json.loads(raw)
        except ValueError:
            reply = raw.decode(errors="replace")
        message = f"{self._id}: HTTP {status}: {self._clean(read_error(reply))}{_HINTS.get(status, '')}"
        asked_s = retry_after_s(headers, self._clock.now(), message)
        error = failure(status, reply, message, retry_after_s=asked_s)
        error.rate_limit = read_rate_limit(headers, self._clock.now())
        return error

    def _clean(self, text: str) -> str:
        """A provider's words, short and without the key."""
        text = self._hide(text)
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


_HINTS = {
    301: " Check `base_url`.",
    302: " Check `base_url`.",
    307: " Check `base_url`.",
    308: " Check `base_url`.",
    401: " Check the API key.",
    403: " Check what the API key may do.",
    404: " Check `base_url` and the model's name.",
}


def make(config: ProviderConfig, clock: Clock) -> Provider:
    """Make the model of an HTTP provider; `base_url` and `api_key_env` override its preset.

    Raises:
        SpecError: The URL is none, or the key's environment variable is not set.
    """
    provider = config.id.partition("/")[0]
    preset = PRESETS.get(provider)
    if preset is None:
        raise SpecError(f"unknown provider {provider!r}.", fix=suggest(provider, PRESETS), field="id")
    if not config.name:
        raise SpecError(f"{config.id!r} names no model.", fix=f"Write {provider}/<model>.", field="id")
    base_url = (config.base_url or preset.base_url).rstrip("/")
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(
            f"{base_url!r} is not an http(s) URL.", fix=f"Write it like {preset.base_url}.", field="base_url"
        )
    if parts.username or parts.password:
        raise SpecError("the URL holds a secret.", fix="Name the key's variable in api_key_env.", field="base_url")
    key_env = config.api_key_env or (None if is_loopback(base_url) else preset.key_env)
    key = os.environ.get(key_env, "").strip() if key_env else ""
    if key_env and not (key and key.isascii() and key.isprintable()):
        problem = "holds characters that no key has" if key else "is not set"
        raise SpecError(
            f"the environment variable {key_env} {problem}; it should hold the API key of {config.id}.",
            fix=f"Run `export {key_env}=...`, or name another variable in `api_key_env`.",
            field="api_key_env",
        )
    return HttpChat(config, clock, preset, base_url, key)
