"""Laws 5 and 8 on values, and entries that come back from JSON as they were."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response, Score
from paretoken.core.usage import NO_USAGE, Usage, from_pico, to_pico
from paretoken.records.codec import decode, decode_response, encode, encode_response

counts = st.integers(0, 10**9)
seconds = st.decimals(0, 10**6, places=6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens_in, tokens_out = draw(counts), draw(counts)
    cached = draw(st.integers(0, tokens_in))
    return Usage(
        tokens_in, tokens_out, cached, draw(st.integers(0, tokens_in - cached)), draw(st.integers(0, tokens_out)),
        draw(st.integers(0, 9)), draw(seconds), draw(seconds), draw(counts), draw(counts), draw(st.booleans()),
    )  # fmt: skip


texts = st.text(max_size=40)
halves = st.text(st.characters(), max_size=40)  # halves of surrogate pairs included
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | floats | texts
money = st.integers(0, 10**18).map(from_pico)
moments = st.datetimes(timezones=st.just(UTC))
roles = st.sampled_from(["subject", "judge", "optimizer"])
origins = st.builds(Origin, texts, texts, texts, counts, roles, st.lists(texts, max_size=2).map(tuple))
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), texts,
                     st.lists(texts, max_size=2).map(tuple))  # fmt: skip
requests = st.builds(
    Request,
    model=texts,
    messages=st.lists(messages, max_size=3).map(tuple),
    max_tokens=counts,
    temperature=st.floats(0, 2),
    seed=st.none() | st.integers(),
    base_url=texts,
    params=st.dictionaries(texts, scalars, max_size=3).map(lambda d: tuple(sorted(d.items()))),
    tools=st.none() | texts,
    response_format=st.none() | texts,
    repeat=counts,
    salt=texts,
    origin=origins,
)
responses = st.builds(
    Response,
    text=halves,
    usage=usages(),
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls", "unknown"]),
    latency_s=st.none() | floats,
    ttft_s=st.none() | floats,
    model_version=texts,
    list_usd=money,
    billed_usd=money,
    price_row=texts,
    from_cache=st.booleans(),
)
attempts = st.builds(Attempt, texts, origins, moments, texts, st.none() | usages(), money, money, texts,
                     st.none() | floats, st.none() | halves)  # fmt: skip
calls = st.builds(Call, requests, moments, st.none() | responses, st.none() | halves, money)
scores = st.builds(Score, origins, texts, texts, floats, st.none() | texts.filter(bool), texts) | st.builds(
    Score, origins, texts, texts, st.none(), halves.filter(bool), texts
)


@given(attempts | calls | scores)
def test_an_entry_comes_back_as_it_was(entry: Attempt | Call | Score):
    kind, body = encode(entry)
    body.encode()
    found = decode(kind, body, entry.origin)
    assert found == entry
    if isinstance(entry, Call):
        assert found.request.key == entry.request.key
    if isinstance(entry, Attempt):
        assert to_pico(found.assumed_usd) == to_pico(entry.assumed_usd)


@given(responses)
def test_an_answer_comes_back_as_it_was(response: Response):
    body = encode_response(response)
    body.encode()
    assert decode_response(body) == response


@given(calls, st.sampled_from(["hash", "none"]))
def test_withheld_content_changes_texts_alone(call: Call, content: str):
    found = decode(*encode(call, content), call.origin)
    assert (found.at, found.error, found.billed_usd) == (call.at, call.error, call.billed_usd)
    blank = tuple(Message(message.role, "", ("",) * len(message.images)) for message in call.request.messages)
    texts_of = {"messages": blank, "tools": None, "response_format": None}
    assert replace(found.request, **texts_of) == replace(call.request, **texts_of)
    if call.response is not None:
        assert replace(found.response, text="") == replace(call.response, text="")


@given(usages(), usages(), usages())
def test_usage_is_a_monoid(u: Usage, v: Usage, w: Usage):
    assert u + v == v + u
    assert (u + v) + w == u + (v + w)
    assert u + NO_USAGE == NO_USAGE + u == u
    assert (u + v).input_tokens == u.input_tokens + v.input_tokens
    assert (u + v).estimated == (u.estimated or v.estimated)


@given(usages(), st.integers(1, 10**6))
def test_a_subset_larger_than_its_total_is_refused(usage: Usage, excess: int):
    free = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    for name, value in (
        ("cached_tokens", usage.cached_tokens + free + excess),
        ("cache_write_tokens", usage.cache_write_tokens + free + excess),
        ("reasoning_tokens", usage.output_tokens + excess),
    ):
        with pytest.raises(ValueError, match=f"{name}.*subset"):
            replace(usage, **{name: value})


@given(st.sampled_from(["input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"]))
def test_a_negative_count_is_refused(name: str):
    with pytest.raises(ValueError, match=f"{name} is negative"):
        Usage(**{name: -1})


@given(st.integers(-(10**30), 10**30))
def test_pico_dollars_are_exact(pico: int):
    if abs(pico) < 10**28:
        assert to_pico(from_pico(pico)) == pico


def test_money_is_rounded_half_even_once():
    halves = [from_pico(2 * n + 1) / 2 for n in range(4)]
    assert [to_pico(half) for half in halves] == [0, 2, 2, 4]


def test_a_missing_score_needs_a_reason_and_nan_is_none_at_all():
    with pytest.raises(ValueError, match="missing without a reason"):
        Score(Origin(), "s", "m", None)
    with pytest.raises(ValueError, match="missing without a reason"):
        Score(Origin(), "s", "m", None, "")
    with pytest.raises(ValueError, match="NaN"):
        Score(Origin(), "s", "m", math.nan)
    assert Score(Origin(), "s", "m", 0.0).value == 0
