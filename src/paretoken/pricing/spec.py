"""Prices as the spec states them."""

from __future__ import annotations

from dataclasses import fields as fields_of
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import TYPE_CHECKING

from paretoken.core.errors import SpecError
from paretoken.core.usage import ZERO, Price, Rates
from paretoken.pricing.table import currencies, usd_per

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_KEYS = tuple(f.name for f in fields_of(Rates))
METER_KEYS = ("per_request", "per_compute_s", "per_minute", "per_mchar", "per_image")
KEYS = (*TOKEN_KEYS, *METER_KEYS, "currency")


def free(row: str) -> Price:
    """A price of nothing, for a model that the spec says is free.

    Args:
        row: Identity of the row.
    """
    return Price(row=row, source="stated as free in the spec")


def parse_price(fields: Mapping[str, object], *, row: str, field: str = "price") -> Price:
    """Read a price from the spec.

    Args:
        fields: The mapping below `price:`; amounts are strings, in `currency` (USD unless stated).
        row: Identity of the row.
        field: Dotted path of the mapping in the spec, for errors.

    Returns:
        The price in USD.

    Raises:
        SpecError: A key is unknown, an amount is no string, no number or negative, every amount is zero, or only one
            of input and output has a price.
    """
    for key in fields:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, n=1)
            fix = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(KEYS)}."
            raise SpecError("unknown key", fix=fix, field=f"{field}.{key}")
    currency = fields.get("currency", "USD")
    if not isinstance(currency, str) or currency not in currencies():
        raise SpecError(
            f"cannot convert {currency!r} to USD.", fix=f"Use {' or '.join(currencies())}.", field=f"{field}.currency"
        )
    usd_rate = usd_per(currency)
    amounts = {key: _amount(value, f"{field}.{key}") * usd_rate for key, value in fields.items() if key != "currency"}
    if not any(amounts.values()):
        raise SpecError("nothing in it costs anything.", fix="If that is meant, write `price: free`.", field=field)
    rates = {key: amount for key, amount in amounts.items() if key in TOKEN_KEYS}
    for key in ("input_per_mtok", "output_per_mtok"):
        if rates and key not in rates:
            raise SpecError(
                "tokens have a price, these have none.",
                fix=f'Write {key}: "0" if they are free.',
                field=f"{field}.{key}",
            )
    meters = {key: amounts.get(key, ZERO) for key in METER_KEYS}
    return Price(
        row=row,
        rates=Rates(**rates),
        per_request=meters["per_request"],
        per_compute_s=meters["per_compute_s"],
        per_minute=meters["per_minute"],
        per_mchar=meters["per_mchar"],
        per_image=meters["per_image"],
        source="stated in the spec",
        currency=currency,
        usd_rate=usd_rate,
    )


def _amount(value: object, field: str) -> Decimal:
    if not isinstance(value, str):
        raise SpecError(f"{value!r} is not text.", fix=f'Money is decimal: write it in quotes, "{value}".', field=field)
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise SpecError(f"{value!r} is not an amount.", fix='Write it as "0.15", not negative.', field=field)
    return amount
