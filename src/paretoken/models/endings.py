"""How answers end, and the text they hold, whichever vendor wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paretoken.core.text import well_formed

if TYPE_CHECKING:
    from paretoken.core.calls import FinishReason

_REASONS: dict[FinishReason, tuple[str, ...]] = {
    "stop": ("stop", "end_turn", "stop_sequence", "eos", "eos_token", "completed"),
    "length": ("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded", "model_length",
               "repetition_truncation"),
    "content_filter": ("content_filter", "sensitive", "safety", "refusal", "recitation", "prohibited_content",
                       "blocklist", "spii", "content_filtered", "guardrail_intervened"),
    "tool_calls": ("tool_calls", "function_call", "tool_use"),
}  # fmt: skip
_KNOWN: dict[str, FinishReason] = {word: reason for reason, words in _REASONS.items() for word in words}
_FAILED = ("error", "fail", "insufficient", "abort", "cancel", "overload", "timeout", "unavailable", "malformed")


def read_ending(said: Any) -> FinishReason | None:
    """Why an answer ended; None where the vendor failed, so that what there is of a text is no answer."""
    word = str(said or "").strip().lower()
    if word in _KNOWN:
        return _KNOWN[word]
    return None if any(sign in word for sign in _FAILED) else "unknown"


def read_content(content: Any) -> str | None:
    """The text of an answer's `content`, a string or a list of parts; thinking is left out.

    Returns:
        None where there is something, and it is no text.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return None
    texts = [_read_part(part) for part in content]
    return None if texts and all(text is None for text in texts) else "".join(text or "" for text in texts)


def _read_part(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    kind = str(part.get("type", "text"))
    if "think" in kind or "reason" in kind:
        return ""
    text = part.get("text", part.get("refusal"))
    return text if isinstance(text, str) else None


def read_text(message: dict[str, Any]) -> str | None:
    """The text of a message, or of what a stream adds to one: its content, or the words it refuses with."""
    text = read_content(message.get("content"))
    if text == "" and isinstance(refusal := message.get("refusal"), str):
        text = refusal
    return text


def joined(pieces: list[str]) -> str:
    """A streamed text, whole: halves of a character that came in two pieces are put together."""
    return well_formed("".join(pieces))
