"""What headers say of waits and limits."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from paretoken.core.calls import RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY_S = 86_400.0
"""Nobody asks to wait for longer: a larger number is a time, or a mistake [s]."""
_UNITS_S = {"d": DAY_S, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "秒": 1.0, "分钟": 60.0, "小时": 3600.0}
_UNIT = (
    r"(?:(?:(ms)(?:ecs?)?|(d)(?:ays?)?|(h)(?:ours?|rs?)?|(m)(?:in(?:ute)?s?)?|(s)(?:ec(?:ond)?s?)?)(?![a-z])"
    r"|(秒|分钟|小时))"
)
_PART = rf"\d+(?:\.\d+)?\s*{_UNIT}"
_IN_WORDS = re.compile(rf"\b(?:try again|retry|wait)\b[^.\n]{{0,40}}?\b((?:{_PART}\s*)+)", re.IGNORECASE)
_IN_CHINESE = re.compile(rf"((?:{_PART}\s*)+)之?后", re.IGNORECASE)
LIMITED = "x-ratelimit-remaining-requests"


def retry_after_s(headers: Mapping[str, str], now: datetime, said: str = "") -> float | None:
    """How long a vendor asks to wait [s], at most a day; None where it does not say.

    Args:
        headers: Of its reply; names in lower case.
        now: Against which a time is counted.
        said: The reply's own words, which some vendors use alone: "Please try again in 20s".
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, DAY_S)
    if (asked := wait_s(headers.get("retry-after") or "", now)) is not None:
        return asked
    words = _IN_WORDS.search(said) or _IN_CHINESE.search(said)
    return wait_s(words[1], now) if words else None


def wait_s(text: str, now: datetime) -> float | None:
    """Seconds, a duration (`1m30s`, `PT30S`), a date or a Unix time, as a wait from now [s]; at most a day."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        if number > 1e11:
            number = number / 1000 - now.timestamp()
        elif number > 1e8:
            number -= now.timestamp()
        return min(max(number, 0.0), DAY_S)
    duration = _duration_s(text)
    if duration is None:
        duration = _until_s(text, now)
    return None if duration is None else min(max(duration, 0.0), DAY_S)


def _until_s(text: str, now: datetime) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _duration_s(text: str) -> float | None:
    """`6m0s`, `120ms`, `20 seconds`, `20 秒` or `P1DT2H30M` [s]."""
    text = text.lower()
    if text.startswith("p"):
        text = text[1:].replace("t", "", 1)
    if not re.fullmatch(rf"(?:{_PART}\s*)+", text):
        return None
    found = re.finditer(rf"(\d+(?:\.\d+)?)\s*{_UNIT}", text)
    return sum(float(part[1]) * _UNITS_S[next(filter(None, part.groups()[1:]))] for part in found)


def read_rate_limit(headers: Mapping[str, str], now: datetime) -> RateLimit | None:
    """Requests that are still taken; none are while the tokens are used up."""
    said = None
    for meter in ("requests", "tokens"):
        remaining = _number(headers.get(f"x-ratelimit-remaining-{meter}"))
        reset_s = wait_s(headers.get(f"x-ratelimit-reset-{meter}") or "", now)
        if remaining is None or reset_s is None:
            continue
        if meter == "requests" or remaining == 0:
            said = RateLimit(int(remaining), reset_s)
    return said
