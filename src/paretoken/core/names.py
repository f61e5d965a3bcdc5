"""Names that a record has for itself, and the keys by which other programs know a name."""

from __future__ import annotations

import hashlib
import re

OF_RECORDS = frozenset({
    "run", "at", "sample", "label", "variant", "repeat", "prompt", "model", "input", "reference", "answer", "error",
    "input_chars", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "latency_s", "ttft_s", "list_pico", "list_usd", "billed_pico", "billed_usd", "finish_reason", "from_cache",
    "model_version", "price_row", "n", "on_front", "error_rate", "calls", "latency_s_p50", "latency_s_p95",
    "latency_s_p99",
})  # fmt: skip
"""Columns that tables of records, of variants and of calls have anyway."""
MOST_CHARS = 200
"""Length of a key, with room for what is put before and after it."""
_WORDS = {
    "@": "_at_",
    "%": "_percent_",
    "+": "_plus_",
    "=": "_eq_",
    "<": "_lt_",
    ">": "_gt_",
    "&": "_and_",
    "/": "_per_",
}


def key_of(name: str) -> str:
    """A name with the characters that MLflow allows in keys; signs become words, so that other names stay others.

    "/" would begin a group of charts.

    >>> key_of("hits@1"), key_of("hits:1"), key_of("f<2")
    ('hits_at_1', 'hits:1', 'f_lt_2')
    """
    key = re.sub(r"[^\w.\- :]", lambda match: _WORDS.get(match[0]) or f"_{ord(match[0]):x}_", name)
    if len(key) <= MOST_CHARS and key.strip(". ") == key:
        return key
    return f"{key[: MOST_CHARS - 9].strip('. ')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
