"""One connection of the test endpoint: just enough HTTP/1.1, and answers in the chat-completions format."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoken.testing.endpoint import Endpoint

_WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "glade", "heath")


class Connection(asyncio.Protocol):
    """One keep-alive connection: just enough of HTTP/1.1 for requests with a Content-Length.

    Args:
        endpoint: What is asked.
        others: All open connections, of which this is one.
    """

    def __init__(self, endpoint: Endpoint, others: set[asyncio.BaseTransport]) -> None:
        self._endpoint, self._others = endpoint, others
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._alive = True
        self._hung: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport: Any = transport
        self._endpoint.n["connections"] += 1
        self._others.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget calls that hung on it."""
        self._alive = False
        self._others.discard(self._transport)
        self._endpoint.flying -= self._hung

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            try:
                self._route(head.split(b" ", 2)[1], body)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._send_json(400, _error(f"cannot be read: {error!r}"))

    def _route(self, path: bytes, body: bytes) -> None:
        endpoint = self._endpoint
        if path.endswith(b"/chat/completions"):
            self._chat(json.loads(body))
        elif path == b"/stats":
            self._send_json(200, endpoint.stats())
        elif path == b"/reset":
            endpoint.reset()
            self._send_json(200, {})
        elif path == b"/config":
            self._send_json(200, endpoint.configure(json.loads(body)))
        else:
            self._send_json(404, _error("no such path"))

    def _send_json(self, status: int, body: object, headers: dict[str, str] | None = None) -> bool:
        return self._send(status, json.dumps(body).encode(), headers or {})

    def _send(self, status: int, body: bytes, headers: dict[str, str], kind: str = "application/json") -> bool:
        if self._alive:
            more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
            self._transport.write(head.encode() + body)
        return self._alive

    def _chat(self, asked: dict[str, Any]) -> None:
        endpoint, number = self._endpoint, id(asked)
        text = "\n".join(_content(message) for message in asked["messages"])
        key = hashlib.blake2b(f"{asked.get('model')}\0{text}".encode(), digest_size=16).digest()
        endpoint.first_s = endpoint.first_s or time.monotonic()
        endpoint.n["requests"] += 1
        endpoint.tries[key] += 1
        endpoint.flying.add(number)
        endpoint.most_active = max(endpoint.most_active, len(endpoint.flying))
        fits, headers = endpoint.admit(len(text) // 4 + int(asked.get("max_tokens") or 0))
        if not fits or 0 < endpoint.behaviour.capacity < len(endpoint.flying):
            endpoint.n["rejected"] += 1
            return self._reject(number, 429, "too many requests", headers)
        if endpoint.behaviour.status:
            return self._reject(number, endpoint.behaviour.status, "refused", headers)
        endpoint.coins[key] += 1
        fault = endpoint.fault(key)
        if fault:
            endpoint.n[fault] += 1
        if fault == "fhang":
            self._hung.add(number)
            return None
        if endpoint.behaviour.latency > 0:
            self._loop.call_later(endpoint.behaviour.latency, self._answer, asked, text, key, fault, headers)
        else:
            self._answer(asked, text, key, fault, headers)
        return None

    def _reject(self, number: int, status: int, message: str, headers: dict[str, str]) -> None:
        self._done(number)
        if status == 429 and self._endpoint.behaviour.retry_after:
            resets = [float(value.rstrip("s")) for name, value in headers.items() if "reset" in name]
            headers = {**headers, "retry-after": str(max(resets, default=self._endpoint.behaviour.retry_after))}
        self._send_json(status, _error(message), headers)

    def _done(self, number: int) -> None:
        self._endpoint.flying.discard(number)
        self._endpoint.last_s = time.monotonic()

    def _answer(self, asked: dict[str, Any], text: str, key: bytes, fault: str | None, headers: dict[str, str]) -> None:
        if fault in ("f429", "f500", "f503"):
            return self._reject(id(asked), int(fault[1:]), "as told", headers)
        if fault == "freset":
            self._done(id(asked))
            return self._transport.abort()  # type: ignore[no-any-return]
        if fault == "ftype":
            self._done(id(asked))
            self._send(200, b"<html>busy</html>", headers, "text/html")
            return None
        answer = self._write(asked, text, key, fault)
        self._endpoint.pay(key, answer["usage"])
        if fault == "fnousage":
            del answer["usage"]
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        body = _stream(answer) if asked.get("stream") else json.dumps(answer).encode()
        if fault == "ftrunc":
            body = body[: len(body) // 2]
        if fault == "ftrickle":
            self._drip(asked, body, kind, list(range(20)))
            return None
        self._done(id(asked))
        if not self._send(200, body, headers, kind):
            self._endpoint.n["undelivered"] += 1
        return None

    def _write(self, asked: dict[str, Any], text: str, key: bytes, fault: str | None) -> dict[str, Any]:
        seed = int.from_bytes(key[:8], "big")
        words = [_WORDS[(seed >> (i % 40)) % len(_WORDS)] for i in range(self._endpoint.behaviour.out_words)]
        said = f"{'positive' if seed % 4 else 'negative'}: {' '.join(words)}"
        limit = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or len(said))
        cut = said[: 4 * limit]
        reason = "stop" if cut == said else "length"
        if fault == "ffilter":
            cut, reason = "", "content_filter"
        usage: dict[str, Any] = {
            "prompt_tokens": max(1, len(text.encode()) // 4),
            "completion_tokens": max(1, -(-len(cut) // 4)),
        }
        usage["total_tokens"] = sum(usage.values())
        if self._endpoint.behaviour.subsets:
            usage["prompt_tokens_details"] = {"cached_tokens": usage["prompt_tokens"] // 2}
            usage["completion_tokens_details"] = {"reasoning_tokens": usage["completion_tokens"] // 3}
        return {
            "id": f"chatcmpl-{key.hex()}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": asked.get("model", ""),
            "system_fingerprint": "fp_mock",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": cut}, "finish_reason": reason}],
            "usage": usage,
        }

    def _drip(self, asked: dict[str, Any], body: bytes, kind: str, drops: list[int]) -> None:
        """Send an answer in twentieths."""
        if drops[0] == 0:
            head = f"HTTP/1.1 200 -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode())
        step, *rest = drops
        if self._alive:
            self._transport.write(body[step * len(body) // 20 : (step + 1) * len(body) // 20])
        else:
            self._endpoint.n["undelivered"] += 1
        if self._alive and rest:
            self._loop.call_later(self._endpoint.behaviour.trickle_s / 20, self._drip, asked, body, kind, rest)
        else:
            self._done(id(asked))


def _content(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "mock"}}


def _stream(answer: dict[str, Any]) -> bytes:
    """The same answer as server-sent events."""
    (choice,) = answer.pop("choices")
    usage = {"usage": answer.pop("usage")} if "usage" in answer else {}
    base = {**answer, "object": "chat.completion.chunk"}
    events = [
        {**base, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        {**base, "choices": [], **usage},
    ]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
