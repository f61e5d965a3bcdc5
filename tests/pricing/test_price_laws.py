from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.usage import Price, Rates, Usage
from paretoken.pricing import PriceBook

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)

amounts = st.decimals(min_value=0, max_value=500, places=4)
maybe_amounts = st.none() | amounts
rates = st.builds(Rates, amounts, amounts, maybe_amounts, maybe_amounts, maybe_amounts)
starts = st.lists(st.integers(0, 400_000), max_size=3, unique=True).map(sorted)


@st.composite
def prices(draw: st.DrawFn, *, tiered: bool, thinking: bool = False) -> Price:
    rated = st.builds(replace, rates, thinking_output_per_mtok=maybe_amounts) if thinking else rates
    tiers = tuple((start, draw(rated)) for start in (draw(starts) if tiered else ()))
    return Price("law", draw(rated), tiers, per_request=draw(amounts), per_compute_s=draw(amounts))


@st.composite
def usages(draw: st.DrawFn, max_input: int = 500_000, max_output: int = 100_000) -> Usage:
    tokens_in, tokens_out = draw(st.integers(0, max_input)), draw(st.integers(0, max_output))
    cached = draw(st.integers(0, tokens_in))
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, tokens_in - cached)),
        reasoning_tokens=draw(st.integers(0, tokens_out)),
        compute_s=draw(st.decimals(min_value=0, max_value=600, places=3)),
    )


@given(prices(tiered=False), usages(), usages())
def test_cost_adds_on_untiered_prices(price: Price, u: Usage, v: Usage):
    assert price.cost(u + v) == price.cost(u) + price.cost(v)


@given(prices(tiered=True, thinking=True), usages(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_usage_within_the_bound_costs_more(price: Price, usage: Usage, spare_in: int, spare_out: int):
    bound = price.bound(
        input_tokens=usage.input_tokens + spare_in,
        output_tokens=usage.output_tokens + spare_out,
        compute_s=usage.compute_s,
    )
    assert price.cost(usage) <= bound


MODELS = (
    ("openai/gpt-4o-mini", "openai", "gpt-4o-mini"),
    ("openai/gpt-5.5", "openai", "gpt-5.5"),
    ("openai/gpt-6-sol", "openai", "gpt-6-sol"),
    ("litellm/anthropic/claude-sonnet-4-6", "anthropic", "claude-sonnet-4-6"),
    ("litellm/anthropic/claude-3-5-haiku-20241022", "anthropic", "claude-3-5-haiku-20241022"),
    ("litellm/gemini/gemini-2.5-pro", "google", "gemini-2.5-pro"),
    ("litellm/groq/llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
    ("litellm/perplexity/sonar", "perplexity", "sonar"),
    ("litellm/perplexity/sonar-deep-research", "perplexity", "sonar-deep-research"),
    ("deepseek/deepseek-flash", "deepseek", "deepseek-flash"),
    ("moonshot/kimi-k3", "moonshotai", "kimi-k3"),
    ("zhipu/glm-4-plus", "zhipuai", "glm-4-plus"),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(("model", "provider", "ref"), MODELS)
@given(usage=usages(), at=moments)
def test_a_converted_price_costs_what_the_data_set_calculates(
    model: str, provider: str, ref: str, usage: Usage, at: datetime
):
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    theirs = calc_price(
        TheirUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
        ),
        ref,
        provider_id=provider,
        genai_request_timestamp=at.replace(hour=12) if provider == "deepseek" and at.weekday() >= 5 else at,
    )
    assert PriceBook().price(model, at).cost(usage) == theirs.total_price


@given(st.integers(-2, 2))
def test_a_tier_begins_after_its_start_as_in_the_data_set(offset: int):
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    price = PriceBook().price("openai/gpt-5.5", AT)
    tokens_in = price.tiers[0][0] + offset
    theirs = calc_price(TheirUsage(input_tokens=tokens_in), "gpt-5.5", provider_id="openai", genai_request_timestamp=AT)
    assert price.cost(Usage(input_tokens=tokens_in)) == theirs.total_price


@given(st.integers(0, 10_000_000), st.integers(0, 36_000))
def test_other_meters_cost_what_the_data_set_calculates(characters: int, seconds: int):
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    speech = calc_price(
        TheirUsage(input_characters=characters), "tts-1", provider_id="openai", genai_request_timestamp=AT
    )
    assert PriceBook().price("openai/tts-1", AT).cost(Usage(characters=characters)) == speech.total_price
    heard = TheirUsage(audio_seconds=seconds, input_audio_seconds=seconds)
    text = calc_price(heard, "whisper-1", provider_id="openai", genai_request_timestamp=AT)
    usage = replace(Usage(), media_s=Decimal(seconds))
    assert PriceBook().price("openai/whisper-1", AT).cost(usage) == text.total_price


def test_every_row_of_the_data_set_that_is_priced_costs_what_it_calculates():
    from genai_prices import Usage as TheirUsage
    from genai_prices import calc_price

    ours = Usage(
        input_tokens=300_000,
        output_tokens=5_000,
        cached_tokens=70_000,
        cache_write_tokens=30_000,
        reasoning_tokens=2_000,
    )
    usage = TheirUsage(
        input_tokens=300_000,
        output_tokens=5_000,
        cache_read_tokens=70_000,
        cache_write_tokens=30_000,
        output_reasoning_tokens=2_000,
    )
    checked = 0
    for model, price in PriceBook().search("/", AT):
        if price.row.startswith("genai-prices"):
            _, provider, ref = re.sub(r"@\d\d(\d\d-|:).*$", "", price.row).split("/", 2)
            theirs = calc_price(usage, ref, provider_id=provider, genai_request_timestamp=AT)
            assert price.cost(ours) == theirs.total_price, model
            checked += 1
    assert checked > 1000
