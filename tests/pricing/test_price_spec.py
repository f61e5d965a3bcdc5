from __future__ import annotations

from decimal import Decimal

import pytest

from paretoken.core.errors import SpecError
from paretoken.core.usage import Usage
from paretoken.pricing import free, parse_price

TOKENS = {"input_per_mtok": "0.02", "output_per_mtok": "0.08"}


def test_a_stated_price_is_read_exactly():
    price = parse_price({**TOKENS, "cached_per_mtok": "0", "per_request": "0.001"}, row="spec:local/x")
    assert price.row == "spec:local/x"
    assert price.rates.cached_per_mtok == 0
    assert price.rates.cache_write_per_mtok is None
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000, cached_tokens=500_000)
    assert price.cost(usage) == Decimal("0.091")


@pytest.mark.parametrize(
    ("key", "usage"),
    [
        ("per_request", Usage()),
        ("per_compute_s", Usage(compute_s=Decimal(1))),
        ("per_minute", Usage(media_s=Decimal(60))),
        ("per_mchar", Usage(characters=1_000_000)),
        ("per_image", Usage(images=1)),
    ],
)
def test_every_meter_alone(key: str, usage: Usage):
    assert parse_price({key: "1.5"}, row="x").cost(usage) == Decimal("1.5")


def test_yuan_are_converted_and_say_so():
    price = parse_price({**TOKENS, "currency": "CNY"}, row="x")
    assert price.currency == "CNY"
    assert price.rates.output_per_mtok == Decimal("0.08") * price.usd_rate
    assert price.usd_rate != 1


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"input_per_mtok": 0.02, "output_per_mtok": "0.08"}, "price.input_per_mtok", '"0.02"'),
        ({"input_per_mtok": 2, "output_per_mtok": "0.08"}, "price.input_per_mtok", "quotes"),
        ({**TOKENS, "per_request": True}, "price.per_request", "quotes"),
        ({**TOKENS, "per_request": "-1"}, "price.per_request", "not negative"),
        ({**TOKENS, "per_request": "cheap"}, "price.per_request", "not an amount"),
        ({**TOKENS, "per_request": "NaN"}, "price.per_request", "not an amount"),
        ({**TOKENS, "per_request": "Infinity"}, "price.per_request", "not an amount"),
        ({**TOKENS, "currency": "EUR"}, "price.currency", "USD or CNY"),
        ({**TOKENS, "currency": ["USD"]}, "price.currency", "USD or CNY"),
        ({"input_per_mtoks": "1"}, "price.input_per_mtoks", "Did you mean input_per_mtok?"),
        ({"zzz": "1"}, "price.zzz", "per_compute_s"),
        ({}, "price", "price: free"),
        ({"currency": "CNY"}, "price", "price: free"),
        ({"input_per_mtok": "0", "output_per_mtok": "0.00"}, "price", "price: free"),
        ({"input_per_mtok": "0.02"}, "price.output_per_mtok", 'output_per_mtok: "0"'),
        ({"reasoning_per_mtok": "1", "output_per_mtok": "1"}, "price.input_per_mtok", 'input_per_mtok: "0"'),
    ],
)
def test_a_bad_price_names_the_field_and_the_fix(fields: dict[str, object], field: str, says: str):
    with pytest.raises(SpecError) as caught:
        parse_price(fields, row="x")
    assert caught.value.field == field
    assert says in str(caught.value)


def test_the_field_is_named_as_the_caller_knows_it():
    with pytest.raises(SpecError, match=r"models\[1\]\.price\.per_image"):
        parse_price({"per_image": 1}, row="x", field="models[1].price")


def test_free_is_free():
    assert free("x").is_free
    assert free("x").bound(input_tokens=10**9, output_tokens=10**9, compute_s=Decimal(10**6)) == 0
