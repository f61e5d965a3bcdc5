"""What a vendor reports of a call's tokens, read in one place into one `Usage`.

Vendors agree on `prompt_tokens` and `completion_tokens`, and on little else: where cached, written and reasoning tokens
stand, and whether the totals include them. `tests/models/test_vendor_usage.py` lists what each of them sends.
"""

from __future__ import annotations

import math
from typing import Any

from paretoken.core.usage import Usage

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_read_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_input_tokens")
_REASONING = ("reasoning_tokens", "thinking_tokens", "thoughts_token_count")
_MOST = 2**40


def read_usage(block: Any, *, answered: bool) -> Usage | None:
    """A reply's `usage` in our convention: totals include their subsets.

    Tokens that only a total shows are thinking, and output. None means that nobody knows: the block is missing, a count
    is, or the counts contradict each other or the answer, such as no output tokens for a text.

    Args:
        block: The block as the vendor sent it, any JSON.
        answered: Whether an answer came with it that must have taken tokens.
    """
    if not isinstance(block, dict):
        return None
    prompt, output = _first(block, _INPUT), _first(block, _OUTPUT)
    if not prompt or output is None or (answered and not output):
        return None
    places = [block, *(block[name] for name in _INPUT_DETAILS if isinstance(block.get(name), dict))]
    cached = max(_count(place.get(name)) or 0 for place in places for name in _CACHED)
    written = max(_count(place.get(name)) or 0 for place in places for name in _WRITTEN)
    if isinstance(parts := block.get("cache_creation"), dict):
        written = max(written, sum(_count(part) or 0 for part in parts.values()))
    places = [block, *(block[name] for name in _OUTPUT_DETAILS if isinstance(block.get(name), dict))]
    reasoning = max(_count(place.get(name)) or 0 for place in places for name in _REASONING)

    beside = (_count(block.get("total_tokens")) or 0) - prompt - output
    anthropic = "prompt_tokens" not in block and not any(name in block for name in _INPUT_DETAILS)
    if cached + written and (anthropic or (beside == cached + written and beside != reasoning)):
        prompt += cached + written  # the vendor counts what its cache served beside the prompt
        beside -= cached + written
    reasoning = max(reasoning, beside)
    if beside > 0 or reasoning > output:
        output += beside if reasoning <= output + beside else reasoning
    if cached + written > prompt or max(prompt, output) > _MOST:
        return None
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
    )


def merge_reports(earlier: Any, later: Any) -> Any:
    """Two usage blocks of one stream as one: counts only grow, so the larger of two stands.

    Some vendors send input tokens first and output tokens last, some send running totals, some end with zeros.
    """
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        first, second = _count(earlier), _count(later)
        if first is not None and second is not None:
            return max(first, second)
        return earlier if later is None else later
    return {name: merge_reports(earlier.get(name), later.get(name)) for name in {**earlier, **later}}


def _first(block: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(block.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    """A whole number that is not negative, however it is written: 10, 10.0 or "10"."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 16:
        return int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
