from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.errors import UnknownPrice
from paretoken.core.usage import Price, Rates, Usage
from paretoken.pricing import PriceBook, free, genai, rows
from paretoken.testing.prices import PriceSourceSuite

if TYPE_CHECKING:
    from paretoken.core.protocols import PriceSource

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
ONE_MTOK = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


class TestBook(PriceSourceSuite):
    known = (
        "openai/gpt-4o-mini",
        "openai/gpt-5.5",
        "openai/tts-1",
        "litellm/anthropic/claude-sonnet-4-6",
        "litellm/gemini/gemini-3-pro-preview",
        "litellm/perplexity/sonar",
        "replay/gpt-4o",
        "zhipu/glm-4-plus",
        "moonshot/kimi-k3",
        *rows.rows(),
    )
    at = AT
    changes = (
        ("openai/o3", datetime(2025, 6, 9, 23, 59, tzinfo=UTC), datetime(2025, 6, 10, tzinfo=UTC)),
        ("dashscope/qwen3-max", datetime(2026, 1, 22, 23, 59, tzinfo=UTC), datetime(2026, 1, 23, tzinfo=UTC)),
        ("deepseek/deepseek-chat", datetime(2025, 9, 28, tzinfo=UTC), datetime(2025, 9, 29, tzinfo=UTC)),
        ("deepseek/deepseek-flash", datetime(2026, 11, 2, 5, tzinfo=UTC), datetime(2026, 11, 2, 6, tzinfo=UTC)),
    )

    def make_source(self) -> PriceSource:
        return PriceBook()


def test_a_list_price_is_what_the_vendor_lists():
    price = PriceBook().price("openai/gpt-4o-mini", AT)
    assert price.cost(ONE_MTOK) == Decimal("0.75")
    assert price.cost(replace(ONE_MTOK, cached_tokens=1_000_000)) == Decimal("0.675")
    assert price.row == "genai-prices-0.2.3/openai/gpt-4o-mini"


def test_a_price_before_a_change_is_the_old_one():
    book = PriceBook()
    assert book.price("openai/o3", datetime(2025, 6, 9, tzinfo=UTC)).cost(ONE_MTOK) == 50
    after = book.price("openai/o3", datetime(2025, 6, 10, tzinfo=UTC))
    assert after.cost(ONE_MTOK) == 10
    assert after.row.endswith("@2025-06-10")


def test_days_begin_in_utc():
    east = timezone(timedelta(hours=8))
    book = PriceBook()
    assert book.price("dashscope/qwen3-max", datetime(2026, 1, 23, 7, tzinfo=east)).row.endswith("@2025-12-01")
    assert book.price("dashscope/qwen3-max", datetime(2026, 1, 23, 8, tzinfo=east)).row.endswith("@2026-01-23")


def test_a_model_has_no_price_before_its_first_row():
    with pytest.raises(UnknownPrice):
        PriceBook().price("dashscope/qwen-plus", datetime(2025, 11, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("model", "usage", "cny"),
    [
        ("dashscope/qwen-plus", Usage(input_tokens=1000, output_tokens=1000), "0.0028"),
        ("dashscope/qwen-plus", Usage(input_tokens=1000, output_tokens=1000, reasoning_tokens=500), "0.0088"),
        ("dashscope/qwen-plus", Usage(input_tokens=200_000, output_tokens=1000), "0.5"),
        ("dashscope/paraformer-v2", Usage(media_s=Decimal(3600)), "0.288"),
        ("zhipu/cogview-4", Usage(images=5), "0.3"),
        ("doubao/doubao-seed-2-0-lite-260215", Usage(input_tokens=32_000, output_tokens=1000), "0.0228"),
    ],
)
def test_chinese_lists_are_converted_at_the_stated_rate(model: str, usage: Usage, cny: str):
    price = PriceBook().price(model, AT)
    assert price.currency == "CNY"
    assert price.cost(usage) == Decimal(cny) * price.usd_rate
    assert Decimal("0.13") < price.usd_rate < Decimal("0.16")


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("openai/tts-1", Usage(characters=2000), "0.03"),
        ("openai/whisper-1", Usage(media_s=Decimal(90)), "0.009"),
        ("litellm/perplexity/sonar", Usage(input_tokens=1000), "0.013"),
        ("dashscope/cosyvoice-v3-plus", Usage(characters=10_000), "0.286706"),
        ("dashscope/wan2.2-s2v", Usage(media_s=Decimal(10)), "1.29018"),
    ],
)
def test_meters_beyond_tokens(model: str, usage: Usage, usd: str):
    assert PriceBook().price(model, AT).cost(usage) == Decimal(usd)


def test_what_the_spec_states_wins():
    stated = Price(row="spec", rates=Rates(Decimal(7), Decimal(8)))
    book = PriceBook({"openai/gpt-4o-mini": stated, "dashscope/qwen-plus": stated, "local/smollm2-135m": free("spec")})
    assert book.price("openai/gpt-4o-mini", AT) is stated
    assert book.price("dashscope/qwen-plus", AT) is stated
    assert book.price("local/smollm2-135m", AT).is_free


@pytest.mark.parametrize(
    ("model", "same"),
    [
        ("replay/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("replay/qwen-plus", "dashscope/qwen-plus"),
        ("replay/openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("litellm/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("litellm/volcengine/doubao-seed-2-0-lite-260215", "doubao/doubao-seed-2-0-lite-260215"),
        ("litellm/moonshot/kimi-k3", "moonshot/kimi-k3"),
    ],
)
def test_ways_to_the_same_price(model: str, same: str):
    assert PriceBook().price(model, AT) == PriceBook().price(same, AT)


@pytest.mark.parametrize(
    "model",
    [
        "local/gpt-4o-mini",
        "ollama/gpt-4o-mini",
        "replay/smollm2-135m",
        "zhipu/glm-4-flash",
        "zhipu/glm-5",
        "litellm/google/gemma-3",
        "litellm/openrouter/openai/gpt-oss-20b:free",
        "litellm/mistral/mistral-ocr-2512",
        "openai/gpt-99-ultra",
    ],
)
def test_neither_free_nor_guessed(model: str):
    with pytest.raises(UnknownPrice):
        PriceBook().price(model, AT)


def test_an_unknown_model_is_told_its_priced_neighbours():
    book = PriceBook({"dashscope/qwen-pluto": free("spec")})
    with pytest.raises(UnknownPrice) as caught:
        book.price("dashscope/qwen-pluss", AT)
    assert caught.value.nearest[0] == "dashscope/qwen-plus"
    assert "dashscope/qwen-pluto" in caught.value.nearest
    for near in caught.value.nearest:
        book.price(near, AT)


def test_search_gives_ids_that_resolve_to_the_price_shown():
    book = PriceBook({"local/qwen-tiny": free("spec")})
    found = book.search("QWEN-", AT)
    assert {"dashscope/qwen-plus", "local/qwen-tiny"} <= {model for model, _ in found}
    for model, price in found:
        assert "qwen-" in model.lower()
        assert book.price(model, AT) == price


def test_every_row_of_ours_is_dated_sourced_and_says_something():
    for model, found in rows.rows().items():
        starts = [row.start for row in found]
        assert starts == sorted(set(starts)), f"{model} has two rows for one day"
        for row in found:
            assert row.price.source.count("https://") == 1
            assert row.price.checked is not None
            assert not row.price.is_free
            assert [start for start, _ in row.price.tiers] == sorted({start for start, _ in row.price.tiers})


def test_an_old_check_is_stale_and_a_missing_one_is_not():
    price = replace(free("x"), checked=date(2025, 1, 1))
    assert not PriceBook.is_stale(price, datetime(2026, 2, 5, tzinfo=UTC))
    assert PriceBook.is_stale(price, datetime(2026, 2, 6, tzinfo=UTC))
    assert not PriceBook.is_stale(free("x"), datetime(2099, 1, 1, tzinfo=UTC))


def test_understated_rows_exist_in_the_data_set():
    models = {model for model in genai.ids() if model.startswith("zhipu/")}
    assert {f"zhipu/{name}" for name in genai.UNDERSTATED["zhipuai"]} <= models


def test_the_data_set_is_loaded_only_when_it_is_needed():
    code = (
        "import sys; from datetime import datetime, UTC; from paretoken.pricing import PriceBook;"
        "PriceBook().price('dashscope/qwen-plus', datetime(2026, 11, 1, tzinfo=UTC));"
        "assert 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PEAK = "deepseek/deepseek-flash", "deepseek/deepseek-v4-flash", "deepseek/deepseek-v4-pro"


@pytest.mark.parametrize("model", PEAK)
@given(st.datetimes(datetime(2026, 10, 1), datetime(2027, 3, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_deepseek_has_peak_hours_on_workdays_only(model: str, at: datetime):
    book = PriceBook()
    quiet = book.price(model, at.replace(hour=12))
    peak = at.weekday() < 5 and (1 <= at.hour < 4 or 6 <= at.hour < 10)
    assert book.price(model, at).cost(ONE_MTOK) == (2 if peak else 1) * quiet.cost(ONE_MTOK)
    elsewhere = at.astimezone(timezone(timedelta(hours=8)))
    assert book.price(model, elsewhere) == book.price(model, at)


def test_the_old_hours_of_deepseek_were_daily():
    saturday = datetime(2025, 8, 2, tzinfo=UTC)
    day, night = (genai.find("deepseek", "deepseek-chat", saturday.replace(hour=hour)) for hour in (12, 20))
    assert day is not None
    assert night is not None
    assert day.cost(ONE_MTOK) > night.cost(ONE_MTOK)


def test_thinking_mode_has_a_rate_of_its_own_for_thoughts_and_answer():
    price = PriceBook().price("dashscope/qwen-plus", AT)
    usage = Usage(input_tokens=0, output_tokens=1000)
    quiet, thought = price.cost(usage), price.cost(replace(usage, reasoning_tokens=1))
    assert (quiet / price.usd_rate, thought / price.usd_rate) == (Decimal("0.002"), Decimal("0.008"))
    assert price.bound(input_tokens=0, output_tokens=1000, compute_s=Decimal(0)) >= thought


@pytest.mark.parametrize("asked", ["gpt-5", "GPT-5", "gpt-4o", "o3", "claude-sonnet-4-6", "glm-4-plus", "kimi-k3"])
def test_the_vendors_own_row_comes_first(asked: str):
    found = [model for model, _ in PriceBook().search(asked, AT)]
    named = {model for model in found if model.rpartition("/")[2].lower() == asked.lower()}
    assert set(found[: len(named)]) == named
    assert found[0].startswith(("openai/", "litellm/anthropic/", "zhipu/", "moonshot/"))
