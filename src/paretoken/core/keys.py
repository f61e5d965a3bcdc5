"""API keys: which values are secret, and how they are taken out of texts."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HIDDEN = "***"
LEAST_CHARS = 8
"""Shorter values are no keys, and would be found in any text."""
_DUMMY = re.compile(
    r"(?=.{0,19}$)(?:[a-z]+(?:[-_. ][a-z]+)*|[A-Z]+(?:[-_. ][A-Z]+)*)|(.)\1*|sk-(?:no-key-required|x+|1234)"
)
"""What servers that need no key are given: a short word or a few (`not-needed`, `EMPTY`), or one letter repeated."""


def is_secret(key: str) -> bool:
    """False for the words that stand where a server needs no key: `ollama`, `EMPTY`, `lm-studio`, `not-needed`."""
    return len(key) >= LEAST_CHARS and not _DUMMY.fullmatch(key)


def hider(keys: Iterable[str]) -> Callable[[str], str]:
    """What takes keys out of texts, also where they are escaped for a URL or JSON or written in base64.

    Args:
        keys: Those that are no secrets are left in.
    """
    forms = sorted({form for key in keys if is_secret(key) for form in _forms(key)}, key=len, reverse=True)

    def hide(text: str) -> str:
        for form in forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    return hide


def _forms(key: str) -> tuple[str, ...]:
    raw = key.encode()
    whole = len(raw) // 3 * 4  # the rest depends on what follows the key
    return (
        key,
        quote(key),
        quote(key, safe=""),
        quote_plus(key),
        json.dumps(key)[1:-1],
        key.replace("/", r"\/"),
        b64encode(raw).decode()[:whole],
        urlsafe_b64encode(raw).decode()[:whole],
    )
