"""Our own rows: prices that genai-prices lacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, cast

from paretoken.pricing.spec import KEYS, parse_price
from paretoken.pricing.table import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.core.usage import Price


@dataclass(frozen=True, slots=True)
class Row:
    """A price and the first day it is in force (UTC)."""

    start: date
    price: Price


def in_force(model: str, at: datetime) -> Price | None:
    """The row of a model with the latest start that is not after the time, or None."""
    day = at.astimezone(UTC).date()
    return next((row.price for row in reversed(rows().get(model, ())) if row.start <= day), None)


@cache
def rows() -> Mapping[str, tuple[Row, ...]]:
    """Rows by model id, earliest first."""
    by_model: dict[str, list[Row]] = {}
    for entry in table()["row"]:
        by_model.setdefault(str(entry["model"]), []).append(_row(entry))
    return {model: tuple(sorted(found, key=lambda row: row.start)) for model, found in by_model.items()}


def _row(entry: Mapping[str, object]) -> Row:
    start = cast(date, entry["from"])
    name = f"paretoken/{entry['model']}@{start}"
    price = parse_price({key: value for key, value in entry.items() if key in KEYS}, row=name, field=name)
    tiers = []
    for tier in cast("list[Mapping[str, object]]", entry.get("tiers", [])):
        stated = {key: value for key, value in tier.items() if key != "above"} | {"currency": price.currency}
        tiers.append((cast(int, tier["above"]), parse_price(stated, row=name, field=f"{name}.tiers").rates))
    checked = cast(date, entry["checked"])
    return Row(start, replace(price, tiers=tuple(tiers), source=str(entry["source"]), checked=checked))
