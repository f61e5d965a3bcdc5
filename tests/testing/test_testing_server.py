"""The shipped endpoint keeps its own promises."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from paretoken.testing.server import Behaviour, MockServer

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def ask(behaviour: Behaviour, *texts: str, at_once: bool = False, **body: object) -> tuple[list[Any], MockServer]:
    """Send prompts; gives `(status, headers, body or error)` of each."""

    async def main() -> tuple[list[Any], MockServer]:
        async with MockServer(behaviour) as server, aiohttp.ClientSession() as session:

            async def send(text: str) -> Any:
                sent = {"model": "m", "messages": [{"role": "user", "content": text}], **body}
                try:
                    async with session.post(f"{server.url}/chat/completions", json=sent) as reply:
                        return reply.status, reply.headers, await reply.json()
                except (aiohttp.ClientError, ValueError) as error:
                    return type(error).__name__, {}, None

            if at_once:
                return list(await asyncio.gather(*map(send, texts))), server
            return [await send(text) for text in texts], server

    return asyncio.run(main())


def test_answers_are_cut_counted_and_the_same_every_time() -> None:
    (first, second), server = ask(Behaviour(latency=0), "hello", "hello", max_tokens=5)
    assert first[2] == second[2]
    (choice,) = first[2]["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"]) == 20
    assert first[2]["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    stats = server.stats()
    assert (stats["requests"], stats["keys"], stats["paid"], stats["paid_again"]) == (2, 1, 2, 1)
    assert stats["usd"] == pytest.approx(2 * (1 + 4 * 5) * 1e-6)


@pytest.mark.parametrize(
    ("fault", "status", "paid"),
    [("f429", 429, 0), ("f500", 500, 0), ("f503", 503, 0), ("freset", "ServerDisconnectedError", 0),
     ("ftrunc", "JSONDecodeError", 1), ("ftype", "ContentTypeError", 0), ("fnousage", 200, 1), ("ffilter", 200, 1),
     ("ftrickle", 200, 1)],
)  # fmt: skip
def test_every_fault_is_itself(fault: str, status: int | str, paid: int) -> None:
    ((got, headers, body),), server = ask(Behaviour(latency=0, trickle_s=0.1, **{fault: 1.0}), "hello")
    assert got == status
    assert server.stats()["paid"] == paid
    assert server.stats()["faults"] == {fault: 1}
    assert ("retry-after" in headers) == (fault == "f429")
    assert body is None or got != 200 or ("usage" in body) == (fault != "fnousage")
    assert fault != "ffilter" or body["choices"][0]["finish_reason"] == "content_filter"


def test_faults_come_at_their_rate_and_at_the_same_requests() -> None:
    texts = [str(i) for i in range(400)]
    first, server = ask(Behaviour(latency=0, f500=0.2), *texts)
    second, _ = ask(Behaviour(latency=0, f500=0.2), *texts)
    assert [status for status, *_ in first] == [status for status, *_ in second]
    assert 50 < server.stats()["faults"]["f500"] < 110


def test_limits_are_kept_and_told() -> None:
    replies, server = ask(Behaviour(latency=0, rpm=3), *"abcde")
    assert [status for status, *_ in replies] == [200, 200, 200, 429, 429]
    assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in replies] == list("21000")
    assert 59 < float(replies[-1][1]["x-ratelimit-reset-requests"].rstrip("s")) <= 60
    assert server.stats()["rejected"] == 2
    replies, _ = ask(Behaviour(latency=0.05, capacity=2), *"abcde", at_once=True)
    assert sorted(status for status, *_ in replies) == [200, 200, 429, 429, 429]


def test_a_stream_says_the_same() -> None:
    async def main() -> bytes:
        async with MockServer(Behaviour(latency=0)) as server, aiohttp.ClientSession() as session:
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}
            async with session.post(f"{server.url}/chat/completions", json=body) as reply:
                return await reply.read()

    events = asyncio.run(main()).split(b"\n\n")
    assert events[-2] == b"data: [DONE]"
    assert b'"usage"' in events[2]
    assert b'"finish_reason": "stop"' in events[1]


def test_what_cannot_be_read_is_refused_and_a_hung_call_leaves_with_its_client() -> None:
    async def main() -> None:
        async with MockServer(Behaviour(latency=0, fhang=1.0)) as server, aiohttp.ClientSession() as session:
            async with session.post(f"{server.url}/chat/completions", data=b"{") as reply:
                assert reply.status == 400
            root = server.url.removesuffix("/v1")
            async with session.post(f"{root}/config", json={"nonsense": 1}) as reply:
                assert reply.status == 400
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), session.post(f"{server.url}/chat/completions", json=BODY):
                    pass
            while server.stats()["active"]:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            server.behaviour.fhang, server.behaviour.latency = 0.0, 0.02
            asked = asyncio.create_task(session.post(f"{server.url}/chat/completions", json=BODY))
            while not server.stats()["active"]:  # noqa: ASYNC110
                await asyncio.sleep(0)
            server.reset()
            (await asked).release()
            assert server.stats()["active"] == 0

    asyncio.run(main())
