from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from paretoken.core.calls import Message, Request, Response
from paretoken.core.clock import SystemClock
from paretoken.core.errors import Refused, SpecError, Unavailable
from paretoken.core.protocols import Provider, ProviderConfig
from paretoken.models.local import make
from paretoken.models.weights import ensure_weights
from paretoken.testing.models import ProviderSuite

if TYPE_CHECKING:
    from pathlib import Path

NAME = "smollm2-135m"
ASK = Request(
    model=f"local/{NAME}", messages=(Message("user", "Count from one to twenty in words."),), max_tokens=12, seed=1
)


def model(name: str = NAME, root: Path | None = None, **options: object) -> Provider:
    config = ProviderConfig(id=f"local/{name}", name=name, options=options)
    return make(config if root is None else replace(config, root=root), SystemClock())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("smollm2", {}, "Did you mean 'smollm2-135m'"),
        ("./missing.gguf", {}, r"there is no file .*missing\.gguf"),
        (NAME, {"slots": 0}, "slots: 0 is not positive"),
        (NAME, {"threads": -1}, "threads: -1 is not positive"),
        (NAME, {"context_tokens": 1.5}, "context_tokens: 1.5 is not int"),
        (NAME, {"slot": 2}, "Did you mean 'slots'"),
    ],
)
def test_wrong_entries_are_named_without_loading(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        model(name, **options)


def test_a_file_that_is_no_model_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nothing")
    provider = model("./broken.gguf", tmp_path)
    with pytest.raises(SpecError, match=r"cannot load .*broken\.gguf"):
        asyncio.run(provider.generate(ASK))
    assert capfd.readouterr() == ("", "")


def test_one_slot_if_it_must_be_deterministic() -> None:
    assert (model().slots, model(slots=2).slots, model(slots=2, deterministic=True).slots) == (4, 2, 1)


@pytest.mark.slow
class TestLocalKeepsThePromises(ProviderSuite):
    counts_exactly = True
    concurrency = 3

    def make_provider(self) -> Provider:
        return model(deterministic=True, context_tokens=512)


@pytest.mark.slow
def test_the_engine(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One engine for many questions, as loading it takes a second."""

    async def main() -> None:
        provider = model(slots=2, context_tokens=256)
        ensure_weights(NAME)
        capfd.readouterr()
        try:
            await _greedy_and_seeded(provider)
            await _counts(provider)
            await _engine_time_is_shared(provider)
            await _context(provider)
            await _json_and_refusals(provider)
            await _cancelled(provider)
        finally:
            await provider.aclose()

    asyncio.run(main())
    assert capfd.readouterr() == ("", "")


async def _greedy_and_seeded(provider: Provider) -> None:
    greedy = [(await provider.generate(replace(ASK, seed=seed))).text for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    warm = replace(ASK, temperature=1.5, max_tokens=16)
    texts = [(await provider.generate(replace(warm, seed=seed))).text for seed in (1, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


async def _counts(provider: Provider) -> None:
    conversation = (
        Message("system", "You sell bikes."),
        Message("user", "红色自行车?"),
        Message("assistant", "Yes."),
        Message("user", "Why?"),
    )
    for messages in (ASK.messages, conversation):
        request = replace(ASK, messages=messages)
        first, again = await provider.generate(request), await provider.generate(request)
        assert await provider.count_tokens(request) == first.usage.input_tokens == again.usage.input_tokens
        assert 0 < again.usage.cached_tokens < again.usage.input_tokens
    cut = await provider.generate(ASK)
    assert (cut.finish_reason, cut.usage.output_tokens) == ("length", ASK.max_tokens)
    assert cut.ttft_s is not None
    assert cut.latency_s is not None
    assert 0 < cut.ttft_s <= cut.latency_s
    assert cut.model_version.startswith("SmolLM2-135M-Instruct.Q4_1.gguf xllamacpp ")


async def _engine_time_is_shared(provider: Provider) -> None:
    requests = [replace(ASK, messages=(Message("user", f"Tell me about number {n}."),)) for n in range(4)]
    clock = SystemClock()
    started_s = clock.monotonic()
    responses = await asyncio.gather(*(provider.generate(request) for request in requests))
    wall_s = clock.monotonic() - started_s
    latencies = [response.latency_s or 0.0 for response in responses]
    shares = [float(response.usage.compute_s) for response in responses]
    assert all(0 < share <= latency for share, latency in zip(shares, latencies, strict=True))
    assert sum(shares) <= wall_s
    assert sum(latencies) <= 2 * wall_s  # two slots: waiting for one is no latency


async def _context(provider: Provider) -> None:
    long = replace(ASK, messages=(Message("user", "red bike " * 300),))
    with pytest.raises(Refused, match="context_tokens") as caught:
        await provider.generate(long)
    assert caught.value.billing == "none"
    tight = replace(ASK, messages=(Message("user", "List numbers: " + "one two three " * 60),), max_tokens=200)
    with pytest.raises(Refused, match="leave no room for 200 more") as caught:
        await provider.generate(tight)
    assert caught.value.billing == "known"
    assert caught.value.usage is not None
    assert caught.value.usage.compute_s > 0


async def _json_and_refusals(provider: Provider) -> None:
    schema = {"type": "object", "properties": {"bikes": {"type": "boolean"}}, "required": ["bikes"]}
    shape = json.dumps({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})
    assert "bikes" in json.loads((await provider.generate(replace(ASK, response_format=shape, max_tokens=40))).text)
    with pytest.raises(Refused, match="reads text only"):
        await provider.generate(replace(ASK, messages=(Message("user", "look", ("data:image/png;base64,AA",)),)))
    with pytest.raises(Refused, match="top_p"):
        await provider.generate(replace(ASK, params=(("top_p", "high"),)))
    tools = '[{"type": "function", "function": {"name": "paint", "parameters": {"type": "object", "properties": {}}}}]'
    assert (await provider.generate(replace(ASK, tools=tools))).usage.output_tokens > 0


async def _cancelled(provider: Provider) -> None:
    endless = replace(ASK, messages=(Message("user", "Hello there"),), max_tokens=190, params=(("ignore_eos", True),))
    tasks = [asyncio.ensure_future(provider.generate(endless)) for _ in range(6)]
    await asyncio.wait(tasks, timeout=0.2)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    answer: Response = await provider.generate(ASK)
    assert answer.text
    assert provider._busy._active == 0  # type: ignore[attr-defined]


@pytest.mark.slow
def test_closing_stops_what_runs_and_refuses_what_comes() -> None:
    async def main() -> None:
        provider = model(slots=1)
        endless = replace(ASK, max_tokens=1500, params=(("ignore_eos", True),))
        tasks = [asyncio.ensure_future(provider.generate(endless)) for _ in range(2)]
        while not provider._busy._active:  # type: ignore[attr-defined]
            await asyncio.wait(tasks, timeout=0.05)
        await provider.aclose()
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in errors] == [Unavailable, Unavailable]
        with pytest.raises(Unavailable):
            await provider.generate(ASK)
        with pytest.raises(Unavailable):
            await provider.count_tokens(ASK)

    asyncio.run(main())
