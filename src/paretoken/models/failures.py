"""What a vendor's failure means: an HTTP status, or the code in the body where the status does not say."""

from __future__ import annotations

import json
import re
from typing import Any

from paretoken.core.errors import (
    BadResponse,
    Denied,
    OutOfCredit,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
    Unavailable,
)
from paretoken.core.text import printable

_OUT_OF_CREDIT = frozenset({
    "insufficient_balance", "insufficient_quota", "insufficient_user_quota", "insufficient_credits", "arrearage",
    "exceeded_current_quota_error", "accountoverdue", "accountoverdueerror", "1113", "payment_required",
    "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low",
})  # fmt: skip
"""OpenAI, DeepSeek, one-api, OpenRouter, DashScope, Moonshot, Doubao, Zhipu, Anthropic."""
_CREDIT_WORDS = re.compile(
    r"billing|balance|credit|recharge|top.?up|payment|overdue|arrear|余额|欠费|充值", re.IGNORECASE
)
_NO_BALANCE = re.compile(r"insufficient (account )?balance|credit balance|余额不足|欠费", re.IGNORECASE)
_RATE_WORDS = re.compile(
    r"per.?minute|per.?second|\b[rt]pm\b|\brate.?limit|request limit|allocated quota|too (many|frequent)|限流|频率",
    re.IGNORECASE,
)
_STATUSES = {
    429: ("rate_limit", "ratelimit", "too_many_requests", "toomanyrequests", "throttling", "limit_requests",
          "limit_tokens", "resource_exhausted", "engine_overloaded", "1302", "1303", "1305"),
    503: ("overloaded", "service_unavailable", "serviceunavailable", "unavailable", "serveroverloaded"),
    408: ("timeout", "deadline_exceeded"),
    401: ("invalid_api_key", "authentication_error", "unauthorized", "invalidapikey", "1000", "1001", "1002"),
    403: ("permission", "forbidden", "accessdenied", "access_denied", "1112"),
    404: ("not_found", "notfound", "1211"),
    400: ("invalid_request", "invalid_parameter", "invalidparameter", "bad_request", "content_policy",
          "content_filter", "context_length_exceeded", "data_inspection_failed", "datainspectionfailed", "1210",
          "1213", "1214", "1261", "1301", "unsupported"),
    500: ("server_error", "internal", "api_error", "upstream", "network_error", "1200", "1234"),
}  # fmt: skip


def find_error(reply: Any) -> Any:
    """The error that a reply carries, at its top or in its first choice; None where it carries none."""
    if not isinstance(reply, dict):
        return None
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    return reply.get("error") or choice.get("error") or None


def read_error(reply: Any) -> str:
    """What a reply says went wrong, or the reply itself as JSON."""
    said = find_error(reply) or reply
    for name in ("error", "message", "msg", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return printable(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))


def failure(status: int | None, reply: Any, message: str, *, retry_after_s: float | None = None) -> ProviderError:
    """The error that a failed reply means.

    Args:
        status: The HTTP status where it is not 2xx; None for an error inside a reply that claims to be one.
        reply: The body, as JSON where it is JSON.
        message: What to tell the user.
        retry_after_s: What the vendor asked for [s].
    """
    words = _codes(reply)
    said = read_error(reply)
    if status is None:
        status = next((int(word) for word in words if re.fullmatch(r"[45]\d\d", word)), None)
    if status == 402 or _is_out_of_credit(words, said, status):
        return OutOfCredit(message)
    if status is None:
        status = next((code for code, signs in _STATUSES.items() if _any_sign(words, signs)), None)
    if status is None:
        return BadResponse(message)
    if status == 429 or (status in (400, 403, 503) and _any_sign(words, _STATUSES[429])):
        return RateLimited(message, retry_after_s=retry_after_s)
    if status == 408:
        return Timeout(message, retry_after_s=retry_after_s)
    if status >= 500:
        turned_away = status in (503, 529)  # any other may come after the answer was made, and billed
        return Unavailable(message, billing="none" if turned_away else "unknown", retry_after_s=retry_after_s)
    return Denied(message) if status in (401, 403, 404) else Refused(message)


def _is_out_of_credit(words: list[str], said: str, status: int | None) -> bool:
    """An account without credit, which waiting does not mend; some vendors call their rate limits the same."""
    if not any(word in _OUT_OF_CREDIT for word in words):
        return status in (400, 403, 429) and bool(_NO_BALANCE.search(said))
    return bool(_CREDIT_WORDS.search(said)) or not _RATE_WORDS.search(said)


def _any_sign(words: list[str], signs: tuple[str, ...]) -> bool:
    return any(word == sign or (not sign.isdecimal() and sign in word) for word in words for sign in signs)


def _codes(reply: Any) -> list[str]:
    """Codes and types that a reply carries, in lower case."""
    error = find_error(reply)
    places = [place for place in (error, reply) if isinstance(place, dict)]
    inner = [place["error"] for place in places if isinstance(place.get("error"), dict)]
    found = [place.get(name) for place in (*places, *inner) for name in ("code", "type", "status", "error_code")]
    return [str(word).strip().lower().replace(" ", "_").partition(".")[0] if isinstance(word, str) else str(word)
            for word in found if isinstance(word, str | int) and not isinstance(word, bool)]  # fmt: skip
