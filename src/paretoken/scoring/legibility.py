"""Whether an encoder reads the references: where it does not, different texts look equal to it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_UNKNOWN_RATE = 0.1
CHINESE, OTHER, BEST = "bert-base-chinese", "bert-base-multilingual-cased", "microsoft/deberta-xlarge-mnli"
NO_ENCODER = "Or score with chrf and facts, which need no encoder."


def unknown_rate(file: Path, references: Sequence[str]) -> float:
    """Share of the references' tokens that a tokeniser does not know."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown is None:  # bytes or pieces: every text has tokens
        return 0.0
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch([letters(text) for text in dict.fromkeys(references)], add_special_tokens=False)
    tokens = [token for text in encoded for token in text.tokens]
    return tokens.count(unknown) / max(1, len(tokens))


def letters(text: str) -> str:
    """A text without emoji and other symbols, which say nothing of its language."""
    return "".join(" " if unicodedata.category(c).startswith("S") else c for c in text)


def unread(rate: float, encoder: str, references: Sequence[str]) -> tuple[str, str]:
    """What is wrong, and how to put it right, where an encoder does not read the references.

    Answers do not count: one that is unreadable next to a readable reference scores low, as it should.
    """
    chinese = any("\u3400" <= c <= "\u9fff" for text in references for c in text)
    better = CHINESE if chinese and encoder != CHINESE else OTHER
    return (
        f"{rate:.0%} of the references' tokens are unknown to {encoder}, so different texts would look equal.",
        f"Name an encoder that reads them, {{bertscore: {{model: {better}}}}}. {NO_ENCODER}",
    )
