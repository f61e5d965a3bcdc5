"""Budget scopes: what a cap covers, and from when to when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from decimal import Decimal

Window = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit of money.

    Attributes:
        scope: What it covers: `run:<id>`, `experiment:<name>`, `<tag>:<value>`, or `all` for the whole project folder.
        usd: The limit [USD]; None counts without limiting.
        window: The money comes back with every calendar day, week (from Monday) or month; None is for good.
        zone: Where the day begins.
    """

    scope: str
    usd: Decimal | None
    window: Window | None = None
    zone: tzinfo = UTC

    def row(self, at: datetime) -> str:
        """Name of the ledger's row that counts at a moment: the scope, with the first day of the window."""
        return self.scope if self.window is None else f"{self.scope} {self.window} {self._start(at):%Y-%m-%d}"

    def resets_at(self, at: datetime) -> datetime | None:
        """When the window around a moment ends; None without one."""
        if self.window is None:
            return None
        start = self._start(at)
        if self.window == "month":
            return (start + timedelta(days=31)).replace(day=1)
        return start + timedelta(days=1 if self.window == "day" else 7)

    def _start(self, at: datetime) -> datetime:
        day = at.astimezone(self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.window == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.window == "month" else day
