"""The table of our own rows, as it lies in `rows.toml`."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exchange(TypedDict):
    """One currency's rate."""

    rate: str


class Table(TypedDict):
    """What `rows.toml` holds."""

    usd_per: Mapping[str, Exchange]
    row: list[Mapping[str, object]]


@cache
def table() -> Table:
    """The table, read once."""
    return cast(Table, tomllib.loads(files("paretoken.pricing").joinpath("rows.toml").read_text("utf-8")))


def currencies() -> tuple[str, ...]:
    """Currencies that can be converted."""
    return ("USD", *table()["usd_per"])


def usd_per(currency: str) -> Decimal:
    """USD per unit of a currency, at the rate and date that the table states."""
    return Decimal(1) if currency == "USD" else Decimal(table()["usd_per"][currency]["rate"])
