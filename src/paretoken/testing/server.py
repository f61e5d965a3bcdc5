"""A deterministic chat-completions endpoint that counts what it was asked and paid, and fails on cue.

`python -m paretoken.testing.server --port 8899 --latency 0.05` serves on loopback and prints `ready 8899`. `GET /stats`
gives the counters, `POST /reset` clears them, `POST /config` sets fields of `Behaviour` and clears them too.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import signal
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

USD_PER_PROMPT_TOKEN = 1e-6
USD_PER_ANSWER_TOKEN = 4e-6
WINDOW_S = 60.0
_WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "glade", "heath")


@dataclass(slots=True)
class Behaviour:
    """How the endpoint answers.

    Rates are shares of all requests; a request fails by a coin that its text and number of tries decide, so every run
    meets the same faults.

    Attributes:
        latency: Time to an answer [s].
        out_words: Words of an answer that no `max_tokens` cuts.
        seed: Of the coins.
        retry_after: What a 429 says; empty leaves the header out.
        f429, f500, f503: Refused with that status, unpaid.
        freset: The connection breaks before an answer, unpaid.
        ftrunc: Half of the answer's JSON comes, paid.
        ftrickle: The answer drips for `trickle_s`, paid.
        fhang: Nothing comes, ever; unpaid.
        ftype: An HTML page comes with status 200, unpaid.
        fnousage: The answer says nothing of its usage, paid.
        ffilter: The answer is empty with `finish_reason` content_filter, paid.
        subsets: The usage names cached and reasoning tokens.
        status: Every request is refused with this status; 0 is off.
        rpm, tpm: Requests and tokens accepted within any 60 s; 0 is off.
        capacity: Requests worked on at once, more are refused with 429; 0 is off.
    """

    latency: float = 0.05
    out_words: int = 30
    seed: int = 1
    retry_after: str = "1"
    f429: float = 0.0
    f500: float = 0.0
    f503: float = 0.0
    freset: float = 0.0
    ftrunc: float = 0.0
    ftrickle: float = 0.0
    fhang: float = 0.0
    ftype: float = 0.0
    fnousage: float = 0.0
    ffilter: float = 0.0
    trickle_s: float = 5.0
    subsets: bool = False
    status: int = 0
    rpm: int = 0
    tpm: int = 0
    capacity: int = 0


_FAULTS = tuple(f.name for f in fields(Behaviour) if f.name[0] == "f")


class MockServer:
    """The endpoint; `async with MockServer() as server` serves it at `server.url`.

    Attributes:
        behaviour: How it answers; may be changed while it serves.
        url: Its base URL, with `/v1`.
    """

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0) -> None:
        self.behaviour = behaviour or Behaviour()
        self.port = port
        self._server: asyncio.Server | None = None
        self.reset()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    def reset(self) -> None:
        """Forget what was asked."""
        self.tries: Counter[bytes] = Counter()
        self.paid: Counter[bytes] = Counter()
        self.n: Counter[str] = Counter()
        self.usd = 0.0
        self.active = self.most_active = 0
        self.window: deque[tuple[float, int]] = deque()
        self.first_s = self.last_s = 0.0

    def stats(self) -> dict[str, Any]:
        """What was asked and paid since the last reset; a key is a model with its messages."""
        return {
            "requests": self.n["requests"],
            "keys": len(self.tries),
            "paid": self.paid.total(),
            "paid_keys": len(self.paid),
            "paid_again": self.paid.total() - len(self.paid),
            "repeats": self.n["requests"] - len(self.tries),
            "undelivered_paid": self.n["undelivered"],
            "faults": {name: count for name, count in self.n.items() if name[0] == "f"},
            "rejected": self.n["rejected"],
            "never_answered": len(self.tries) - len(self.paid),
            "attempts_hist": {str(k): v for k, v in sorted(Counter(self.tries.values()).items())},
            "max_concurrency": self.most_active,
            "active": self.active,
            "connections": self.n["connections"],
            "usd": round(self.usd, 9),
            "window_s": round(self.last_s - self.first_s, 4),
        }

    def configure(self, values: dict[str, Any]) -> dict[str, Any]:
        """Change the behaviour and forget what was asked."""
        for name, value in values.items():
            setattr(self.behaviour, name, type(getattr(self.behaviour, name))(value))
        self.reset()
        return asdict(self.behaviour)

    def fault(self, key: bytes) -> str | None:
        """Which fault the next answer to a key has."""
        b = self.behaviour
        if not any(getattr(b, name) for name in _FAULTS):
            return None
        coin = random.Random(f"{b.seed}/{key.hex()}/{self.tries[key]}").random()  # noqa: S311 - no secret
        for name in _FAULTS:
            coin -= getattr(b, name)
            if coin < 0:
                return name
        return None

    def admit(self, tokens: int) -> tuple[bool, dict[str, str]]:
        """Whether the sliding window has room, and the headers that say what is left of it."""
        b = self.behaviour
        if not (b.rpm or b.tpm):
            return True, {}
        now = time.monotonic()
        while self.window and self.window[0][0] <= now - WINDOW_S:
            self.window.popleft()
        requests, used = len(self.window), sum(n for _, n in self.window)
        fits = (not b.rpm or requests < b.rpm) and (not b.tpm or used + tokens <= b.tpm)
        if fits:
            self.window.append((now, tokens))
            requests, used = requests + 1, used + tokens
        reset_s = f"{self.window[0][0] + WINDOW_S - now:.3f}s" if self.window else "0s"
        headers: dict[str, str] = {}
        for meter, limit, taken in (("requests", b.rpm, requests), ("tokens", b.tpm, used)):
            if limit:
                headers |= {
                    f"x-ratelimit-limit-{meter}": str(limit),
                    f"x-ratelimit-remaining-{meter}": str(max(limit - taken, 0)),
                    f"x-ratelimit-reset-{meter}": reset_s,
                }
        return fits, headers


class _Connection(asyncio.Protocol):
    """One keep-alive connection: just enough of HTTP/1.1 for requests with a Content-Length."""

    def __init__(self, server: MockServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._server.n["connections"] += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._alive = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._route(head.split(b" ", 2)[1], body)

    def _route(self, path: bytes, body: bytes) -> None:
        server = self._server
        if path.endswith(b"/chat/completions"):
            self._chat(json.loads(body))
        elif path == b"/stats":
            self._send_json(200, server.stats())
        elif path == b"/reset":
            server.reset()
            self._send_json(200, {})
        elif path == b"/config":
            self._send_json(200, server.configure(json.loads(body)))
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
        server = self._server
        text = "\n".join(_content(message) for message in asked["messages"])
        key = hashlib.blake2b(f"{asked.get('model')}\0{text}".encode(), digest_size=16).digest()
        server.first_s = server.first_s or time.monotonic()
        server.n["requests"] += 1
        server.tries[key] += 1
        server.active += 1
        server.most_active = max(server.most_active, server.active)
        fits, headers = server.admit(len(text) // 4 + int(asked.get("max_tokens") or 0))
        if server.behaviour.capacity and server.active > server.behaviour.capacity:
            fits = False
        if not fits:
            server.n["rejected"] += 1
            return self._reject(429, "too many requests", headers)
        if server.behaviour.status:
            return self._reject(server.behaviour.status, "refused", headers)
        fault = server.fault(key)
        if fault:
            server.n[fault] += 1
        if fault == "fhang":
            return None
        if server.behaviour.latency > 0:
            self._loop.call_later(server.behaviour.latency, self._answer, asked, text, key, fault, headers)
        else:
            self._answer(asked, text, key, fault, headers)
        return None

    def _reject(self, status: int, message: str, headers: dict[str, str]) -> None:
        self._done()
        if status == 429 and self._server.behaviour.retry_after:
            headers = {**headers, "retry-after": self._server.behaviour.retry_after}
        self._send_json(status, _error(message), headers)

    def _done(self) -> None:
        self._server.active -= 1
        self._server.last_s = time.monotonic()

    def _answer(self, asked: dict[str, Any], text: str, key: bytes, fault: str | None, headers: dict[str, str]) -> None:
        if fault in ("f429", "f500", "f503"):
            return self._reject(int(fault[1:]), "as told", headers)
        if fault == "freset":
            self._done()
            return self._transport.abort()  # type: ignore[no-any-return]
        if fault == "ftype":
            self._done()
            self._send(200, b"<html>busy</html>", headers, "text/html")
            return None
        answer = self._write(asked, text, key, fault)
        self._server.paid[key] += 1
        self._server.usd += (
            answer["usage"]["prompt_tokens"] * USD_PER_PROMPT_TOKEN
            + answer["usage"]["completion_tokens"] * USD_PER_ANSWER_TOKEN
        )
        if fault == "fnousage":
            del answer["usage"]
        kind = "text/event-stream" if asked.get("stream") else "application/json"
        body = _stream(answer) if asked.get("stream") else json.dumps(answer).encode()
        if fault == "ftrunc":
            body = body[: len(body) // 2]
        if fault == "ftrickle":
            self._drip(body, kind, list(range(20)))
            return None
        self._done()
        if not self._send(200, body, headers, kind):
            self._server.n["undelivered"] += 1
        return None

    def _write(self, asked: dict[str, Any], text: str, key: bytes, fault: str | None) -> dict[str, Any]:
        seed = int.from_bytes(key[:8], "big")
        words = [_WORDS[(seed >> (i % 40)) % len(_WORDS)] for i in range(self._server.behaviour.out_words)]
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
        if self._server.behaviour.subsets:
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

    def _drip(self, body: bytes, kind: str, drops: list[int]) -> None:
        """Send an answer in twentieths."""
        if drops[0] == 0:
            head = f"HTTP/1.1 200 -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode())
        step, *rest = drops
        if self._alive:
            self._transport.write(body[step * len(body) // 20 : (step + 1) * len(body) // 20])
        else:
            self._server.n["undelivered"] += 1
        if self._alive and rest:
            self._loop.call_later(self._server.behaviour.trickle_s / 20, self._drip, body, kind, rest)
        else:
            self._done()


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


async def _serve(server: MockServer, ready: Callable[[int], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        ready(server.port)
        await stop.wait()


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m paretoken.testing.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8899, help="0 takes a free one")
    for name, value in asdict(Behaviour()).items():
        kind = (lambda text: text == "1") if isinstance(value, bool) else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    options = vars(parser.parse_args(arguments))
    port = options.pop("port")

    def ready(taken: int) -> None:
        print("ready", taken, flush=True)

    asyncio.run(_serve(MockServer(Behaviour(**options), port), ready))


if __name__ == "__main__":
    main(sys.argv[1:])
