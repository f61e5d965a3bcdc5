"""Rows from genai-prices, a data set of list prices that ships with its package; its online update is never used.

It selects a tier as `Price` does: the whole request is billed at the rates of the highest tier whose start is below the
number of prompt tokens. Left out are the rates of other than text tokens, of pages, searches and storage, of caches
that live longer than the standard, and of service tiers that a request has to ask for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING

from paretoken.core.usage import ZERO, Price, Rates

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice

OURS = {"deepseek": "deepseek", "moonshot": "moonshotai", "openai": "openai", "zhipu": "zhipuai"}
"""Our provider prefixes and the data set's names."""

LITELLM = {"bedrock": "aws", "fireworks_ai": "fireworks", "gemini": "google", "together_ai": "together", "xai": "x-ai"}
"""Prefixes of litellm that differ from the data set's names."""

MAKERS = {
    "anthropic",
    "cohere",
    "elevenlabs",
    "google",
    "meta",
    "minimax",
    "mistral",
    "perplexity",
    "voyageai",
    "x-ai",
    "zai",
}
"""Vendors of the data set, beside those of `OURS`, that sell models of their own."""

UNDERSTATED = {"zhipuai": {"GLM-4.5-Air", "GLM-4.7", "GLM-5", "GLM-5-Turbo", "GLM-5.1"}}
"""Models whose row holds the cheapest of several tiers, by the data set's own note: no bound can rest on it."""

PEAK_ON_WORKDAYS = {"deepseek": {"deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro"}}
"""Models whose peak hours are Monday to Friday, which the data set cannot say. They lie between 9:00 and 18:00 in
Beijing, so the day is that of UTC. Chinese public holidays have none either; there the price is an upper bound.

Source: https://api-docs.deepseek.com/quick_start/pricing.
"""
SATURDAY = 5


def find(provider: str | None, name: str, at: datetime) -> Price | None:
    """The row in force for a model.

    Args:
        provider: The data set's name of the provider; None if the model's name tells it.
        name: The model as the provider calls it.
        at: Time of the request.

    Returns:
        The price, which may be of nothing, or None.
    """
    try:
        vendor, model = _snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    if model.id in UNDERSTATED.get(vendor.id, ()):
        return None
    listed = _on_this_day(vendor.id, model, at).get_prices(at)
    price = _convert(listed)
    return Price(
        row=f"{_release()}/{vendor.id}/{model.id}{_condition(model, listed)}",
        rates=price.rates,
        tiers=price.tiers,
        per_request=price.per_request,
        per_minute=price.per_minute,
        per_mchar=price.per_mchar,
        source=f"{_release()}, {(vendor.pricing_urls or [vendor.name])[0]}",
    )


def _on_this_day(vendor: str, model: ModelInfo, at: datetime) -> ModelInfo:
    """The model without peak hours on days that have none."""
    from genai_prices.types import ModelPrice, TimeOfDateConstraint

    weekend = at.astimezone(UTC).weekday() >= SATURDAY
    if not weekend or model.id not in PEAK_ON_WORKDAYS.get(vendor, ()) or isinstance(model.prices, ModelPrice):
        return model
    every_hour = [entry for entry in model.prices if not isinstance(entry.constraint, TimeOfDateConstraint)]
    return replace(model, prices=every_hour)


@cache
def ids() -> tuple[str, ...]:
    """Ids of all models in the data set, as the spec writes them."""
    ours = {theirs: prefix for prefix, theirs in OURS.items()}
    via = {theirs: prefix for prefix, theirs in LITELLM.items()}
    return tuple(
        f"{ours.get(vendor.id) or 'litellm/' + via.get(vendor.id, vendor.id)}/{model.id}"
        for vendor in _snapshot().providers
        for model in vendor.models
    )


@cache
def _snapshot() -> DataSnapshot:
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)


def _release() -> str:
    from genai_prices import __version__

    return f"genai-prices-{__version__}"


def _condition(model: ModelInfo, listed: ModelPrice) -> str:
    from genai_prices.types import ModelPrice, StartDateConstraint

    if isinstance(model.prices, ModelPrice):
        return ""
    constraint = next(entry.constraint for entry in model.prices if entry.prices is listed)
    if constraint is None:
        return ""
    if isinstance(constraint, StartDateConstraint):
        return f"@{constraint.start_date}"
    return f"@{constraint.start_time:%H:%M}-{constraint.end_time:%H:%M}"


def _convert(listed: ModelPrice) -> Price:
    from genai_prices.types import TieredPrices

    def rate(key: str, start: int) -> Decimal | None:
        value: Decimal | TieredPrices | None = getattr(listed, key)
        if not isinstance(value, TieredPrices):
            return value
        return next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)

    def flat(key: str) -> Decimal:
        return rate(key, -1) or ZERO

    def rates(start: int) -> Rates:
        return Rates(
            input_per_mtok=rate("input_mtok", start) or ZERO,
            output_per_mtok=rate("output_mtok", start) or ZERO,
            cached_per_mtok=rate("cache_read_mtok", start),
            cache_write_per_mtok=rate("cache_write_mtok", start),
            reasoning_per_mtok=rate("output_reasoning_mtok", start),
        )

    starts = {tier.start for value in vars(listed).values() if isinstance(value, TieredPrices) for tier in value.tiers}
    return Price(
        row="",
        rates=rates(-1),
        tiers=tuple((start, rates(start)) for start in sorted(starts)),
        per_request=flat("requests_kcount") / 1000,
        per_minute=max(flat("audio_hours"), flat("input_audio_hours")) / 60,
        per_mchar=flat("input_mchars"),
    )
