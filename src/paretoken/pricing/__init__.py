"""Prices as dated, sourced rows for any meter."""

from paretoken.pricing.book import PriceBook
from paretoken.pricing.spec import free, parse_price

__all__ = ["PriceBook", "free", "parse_price"]
