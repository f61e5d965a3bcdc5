"""The price source: what the spec states, then our own rows, then genai-prices."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING

from paretoken.core.errors import UnknownPrice
from paretoken.pricing import genai, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.core.usage import Price

STALE_DAYS = 400


class PriceBook:
    """A `PriceSource` over dated rows.

    Args:
        overrides: Prices the spec states, by model id; they win over everything, free ones included.
    """

    def __init__(self, overrides: Mapping[str, Price] | None = None) -> None:
        self._overrides = dict(overrides or {})

    def price(self, model: str, at: datetime) -> Price:
        """The row in force for a model.

        Args:
            model: Id as the spec writes it: `openai/gpt-4o-mini`, `litellm/anthropic/claude-sonnet-4-6`,
                `replay/gpt-4o`. A recorded model, and one of litellm's without a provider, is known by its name.
            at: Time of the request, with a time zone.

        Raises:
            UnknownPrice: There is none, or one of nothing that nobody stated.
        """
        found = self._find(model, at)
        if found is None:
            near = get_close_matches(model, self._ids(), n=10)
            raise UnknownPrice(model, nearest=tuple(other for other in near if self._find(other, at))[:3])
        return found

    def search(self, text: str, at: datetime) -> list[tuple[str, Price]]:
        """All priced models whose id contains a text.

        Args:
            text: Part of the id, in any case.
            at: Time the prices are wanted for.

        Returns:
            `(model id, price)`: names that are the text, then names that begin with it, then others; each vendor's own
            rows before those of resellers.
        """
        wanted = text.lower()

        def rank(model: str) -> tuple[bool, bool, int, str]:
            name = model.lower().rpartition("/")[2]
            return wanted not in (name, model.lower()), not name.startswith(wanted), _distance(model), model

        asked = sorted((model for model in self._ids() if wanted in model.lower()), key=rank)
        found = ((model, self._find(model, at)) for model in asked)
        return [(model, price) for model, price in found if price is not None]

    @staticmethod
    def is_stale(price: Price, at: datetime, days: int = STALE_DAYS) -> bool:
        """True if the row was last checked more than `days` before a time; a row without that date never is."""
        return price.checked is not None and (at.astimezone(UTC).date() - price.checked).days > days

    def _find(self, model: str, at: datetime) -> Price | None:
        if (stated := self._overrides.get(model)) is not None:
            return stated
        listed = _listed(model, at)
        return None if listed is None or listed.is_free else listed

    def _ids(self) -> list[str]:
        return sorted({*self._overrides, *rows.rows(), *genai.ids()})


def _distance(model: str) -> int:
    """How far its maker is: 0 asked directly, 1 by way of litellm, 2 somebody else sells it."""
    through, _, rest = model.partition("/")
    provider = rest.partition("/")[0]
    return 0 if through != "litellm" else 1 if genai.LITELLM.get(provider, provider) in genai.MAKERS else 2


def _listed(model: str, at: datetime) -> Price | None:
    provider, _, name = model.partition("/")
    if provider in ("litellm", "replay"):
        provider, _, rest = name.partition("/")
        if not rest:
            named = next((own for own in rows.rows() if own.partition("/")[2] == name), "")
            return rows.in_force(named, at) or genai.find(None, name, at)
        provider, name = "doubao" if provider == "volcengine" else provider, rest
        vendor: str | None = genai.OURS.get(provider) or genai.LITELLM.get(provider, provider)
    else:
        vendor = genai.OURS.get(provider)
    return rows.in_force(f"{provider}/{name}", at) or (genai.find(vendor, name, at) if vendor else None)
