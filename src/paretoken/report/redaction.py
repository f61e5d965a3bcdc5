"""Secrets are taken out of what is shown to others."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from paretoken.core.keys import HIDDEN, hider

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_KEYS = re.compile(
    r"(?P<before>://[^\s:/@]*:)[^\s/@]+(?=@)"  # a password in a URL
    r"|(?P<bearer>\bBearer\s+)[\w.~+/=-]{8,}"
    r"|\b(?:sk|pk|rk)[-_][\w-]{16,}|\bgh[opsur]_\w{20,}|\bxox[abps]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"
)
_HINTS = ("://", "Bearer", *(f"{a}k{b}" for a in "spr" for b in "-_"), *(f"gh{c}_" for c in "opsur"), "xox", "AKIA")
"""One of these is in every text that has what the pattern looks for; finding them is much quicker."""


def redact(text: str) -> str:
    """The text without keys, tokens and passwords: those of this environment, and what has their form.

    Args:
        text: Anything that may quote a key: an answer, an error, a URL.
    """
    return redactor()(text)


def redactor() -> Callable[[str], str]:
    """`redact` for many texts: the environment is read once."""
    hide_ours = hider(value for name, value in os.environ.items() if _NAME.search(name.upper()))

    def hide(text: str) -> str:
        text = hide_ours(text)
        if not any(hint in text for hint in _HINTS):
            return text
        return _KEYS.sub(lambda match: (match["before"] or match["bearer"] or "") + HIDDEN, text)

    return hide
