"""Token counts where no tokeniser is at hand: 4 characters a token in Latin text, 1 in Chinese, Japanese, Korean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from paretoken.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoken.core.calls import Message

_WIDE = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003134f]"
)


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text has, rounded up.

    Example:
        >>> estimate_tokens("twelve chars"), estimate_tokens("红色的自行车")
        (3, 6)
    """
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide - (wide - len(text)) // 4


def estimate_usage(messages: Iterable[Message], answer: str) -> Usage:
    """What a call probably used, for providers and recordings that do not say; marked as estimated."""
    return Usage(
        input_tokens=sum(estimate_tokens(message.content) for message in messages),
        output_tokens=estimate_tokens(answer),
        estimated=True,
    )
