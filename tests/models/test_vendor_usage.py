"""What every vendor reports becomes one usage, streamed or not, and what cannot be is missing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Message, Request
from paretoken.core.usage import Price, Rates, Usage
from paretoken.models.chat_format import join_chunks, read_reply
from paretoken.models.vendor_usage import merge_reports, read_usage

ASK = Request("m", (Message("user", "Describe the lamp."),), 400)

SHAPES: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": {"cached_tokens": 32, "audio_tokens": 0, "cache_write_tokens": 16},
         "completion_tokens_details": {"reasoning_tokens": 12, "accepted_prediction_tokens": 0}},
        Usage(90, 40, 32, 16, 12),
    ),
    "openai, responses": (
        {"input_tokens": 90, "output_tokens": 40, "total_tokens": 130, "input_tokens_details": {"cached_tokens": 32},
         "output_tokens_details": {"reasoning_tokens": 12}},
        Usage(90, 40, 32, 0, 12),
    ),
    "gemini: thinking only in the total": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 650},
        Usage(90, 560, reasoning_tokens=520),
    ),
    "gateway before gemini: reasoning at the top": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130, "reasoning_tokens": 520},
        Usage(90, 560, reasoning_tokens=520),
    ),
    "deepseek": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130, "prompt_cache_hit_tokens": 64,
         "prompt_cache_miss_tokens": 26, "prompt_tokens_details": {"cached_tokens": 64},
         "completion_tokens_details": {"reasoning_tokens": 30}},
        Usage(90, 40, 64, 0, 30),
    ),
    "dashscope": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": {"cached_tokens": 10, "cache_creation_input_tokens": 50,
                                   "cache_creation": {"ephemeral_5m_input_tokens": 50}}},
        Usage(90, 40, 10, 50),
    ),
    "zhipu": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": {"cached_tokens": 8}},
        Usage(90, 40, 8),
    ),
    "moonshot": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130, "cached_tokens": 44}, Usage(90, 40, 44)
    ),
    "doubao": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": {"cached_tokens": 0},
         "completion_tokens_details": {"reasoning_tokens": 25}},
        Usage(90, 40, reasoning_tokens=25),
    ),
    "mistral": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130, "prompt_audio_seconds": None},
        Usage(90, 40),
    ),
    "xai: reasoning beside the completion": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 430,
         "prompt_tokens_details": {"cached_tokens": 3},
         "completion_tokens_details": {"reasoning_tokens": 300}},
        Usage(90, 340, 3, 0, 300),
    ),
    "vllm": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": None},
        Usage(90, 40),
    ),
    "ollama": ({"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130}, Usage(90, 40)),
    "llama.cpp": ({"completion_tokens": 40, "prompt_tokens": 90, "total_tokens": 130}, Usage(90, 40)),
    "litellm, anthropic": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130,
         "prompt_tokens_details": {"cached_tokens": 0},
         "cache_read_input_tokens": 60, "cache_creation_input_tokens": 20},
        Usage(90, 40, 60, 20),
    ),
    "anthropic: cache beside the input": (
        {"input_tokens": 10, "output_tokens": 40, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 20},
        Usage(90, 40, 60, 20),
    ),
    "a gateway that leaves the cache out of the prompt": (
        {"prompt_tokens": 10, "completion_tokens": 40, "total_tokens": 130, "cache_read_input_tokens": 80},
        Usage(90, 40, 80),
    ),
    "openrouter": (
        {"prompt_tokens": 90, "completion_tokens": 40, "total_tokens": 130, "cost": 0.0012, "is_byok": False,
         "completion_tokens_details": {"reasoning_tokens": 12}},
        Usage(90, 40, reasoning_tokens=12),
    ),
    "counts as decimals": ({"prompt_tokens": 90.0, "completion_tokens": 40.0, "total_tokens": 130.0}, Usage(90, 40)),
    "counts as texts": ({"prompt_tokens": "90", "completion_tokens": " 40", "total_tokens": "130"}, Usage(90, 40)),
}  # fmt: skip


@pytest.mark.parametrize("vendor", SHAPES)
def test_every_vendor_is_read(vendor: str):
    block, expected = SHAPES[vendor]
    assert read_usage(block, answered=True) == expected
    reply = {"choices": [{"message": {"content": "A lamp."}, "finish_reason": "stop"}], "usage": block}
    assert read_reply(reply, ASK, latency_s=1).usage == expected


def _chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}],
        **more,
    }


@pytest.mark.parametrize("vendor", SHAPES)
@pytest.mark.parametrize(
    "place", ["last chunk", "last choice", "in the choice", "every chunk", "then zeros", "in halves"]
)
def test_every_vendor_is_read_from_a_stream(vendor: str, place: str):
    block, expected = SHAPES[vendor]
    zeros = {name: 0 if isinstance(value, int | float | str) else value for name, value in block.items()}
    halves = [{k: v for k, v in block.items() if ("put" in k or "completion" in k) == out} for out in (False, True)]
    chunks = {
        "last chunk": [
            _chunk("A "),
            _chunk("lamp.", usage=None),
            _chunk(finish="stop"),
            {"choices": [], "usage": block},
        ],
        "last choice": [_chunk("A lamp."), _chunk(finish="stop", usage=block)],
        "in the choice": [_chunk("A lamp."), {"choices": [{"delta": {}, "finish_reason": "stop", "usage": block}]}],
        "every chunk": [_chunk("A ", usage=zeros), _chunk("lamp.", usage=block), _chunk(finish="stop", usage=block)],
        "then zeros": [_chunk("A lamp.", usage=block), _chunk(finish="stop"), {"choices": [], "usage": zeros}],
        "in halves": [_chunk("A lamp.", usage=halves[0]), _chunk(finish="stop", usage=halves[1])],
    }[place]
    answer = read_reply(join_chunks(chunks), ASK, latency_s=1)
    assert (answer.text, answer.usage) == ("A lamp.", expected)


IMPOSSIBLE: list[Any] = [
    None, [], "90", 7, {}, {"prompt_tokens": 90}, {"completion_tokens": 40},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": 90, "completion_tokens": 0},
    {"prompt_tokens": 0, "completion_tokens": 40},
    {"prompt_tokens": 90, "completion_tokens": -4},
    {"prompt_tokens": True, "completion_tokens": True},
    {"prompt_tokens": float("nan"), "completion_tokens": 4},
    {"prompt_tokens": float("inf"), "completion_tokens": 4},
    {"prompt_tokens": 9.5, "completion_tokens": 4},
    {"prompt_tokens": "many", "completion_tokens": 4},
    {"prompt_tokens": 10**30, "completion_tokens": 4},
    {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 18}},
    {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cached_tokens": 8,
     "cache_creation_input_tokens": 8},
]  # fmt: skip


@pytest.mark.parametrize("block", IMPOSSIBLE, ids=repr)
def test_what_cannot_be_is_missing_and_estimated(block: Any):
    assert read_usage(block, answered=True) is None
    reply = {"choices": [{"message": {"content": "A lamp."}, "finish_reason": "stop"}], "usage": block}
    usage = read_reply(reply, ASK, latency_s=1).usage
    assert usage.estimated
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


def test_an_empty_answer_may_have_no_output():
    assert read_usage({"prompt_tokens": 9, "completion_tokens": 0}, answered=False) == Usage(9, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens",
         "reasoning_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "prompt_tokens_details",
         "completion_tokens_details", "cache_creation")  # fmt: skip
COUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(-2, 10**6) | JSON)


@given(COUNTS | JSON, COUNTS | JSON, st.booleans())
def test_no_report_breaks_the_reader(first: Any, second: Any, answered: bool):
    read_usage(first, answered=answered)
    read_usage(merge_reports(first, second), answered=answered)


PRICE = Price("p", Rates(Decimal(2), Decimal(8), Decimal("0.5"), Decimal("2.5")))


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)
)
def test_nothing_that_a_vendor_shows_goes_unbilled(prompt: int, output: int, cached: int, hidden: int, reasoning: int):
    block = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output + hidden,
        "reasoning_tokens": reasoning,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    usage = read_usage(block, answered=True)
    if usage is None:
        assert cached > prompt
        return
    assert usage.input_tokens + usage.output_tokens >= prompt + output + hidden
    assert usage.reasoning_tokens >= reasoning
    if not hidden and reasoning <= output:
        assert usage == Usage(prompt, output, cached, 0, reasoning)
    uncached = Usage(usage.input_tokens, usage.output_tokens)
    assert PRICE.cost(usage) <= PRICE.cost(uncached)
    assert PRICE.cost(usage) >= PRICE.cost(Usage(prompt, output, min(cached, prompt)))
