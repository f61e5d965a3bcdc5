"""The chat-completions format most engines speak: requests to JSON, JSON to answers, failures to errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paretoken.core.calls import FinishReason, Message, Request, Response
from paretoken.core.errors import BadResponse, Denied, ProviderError, RateLimited, Refused, Timeout, Unavailable
from paretoken.core.usage import Usage
from paretoken.models.estimate import estimate_usage

if TYPE_CHECKING:
    from collections.abc import Iterable

FIXED_FIELDS = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "n_predict", "temperature", "seed", "tools",
    "response_format", "stream", "stream_options", "n", "best_of", "edits",
})  # fmt: skip
"""What `params` may not set: it has a field of its own, or would break the bound of a call's cost."""

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


def write_body(request: Request) -> dict[str, Any]:
    """The request as JSON, without the model's name.

    Raises:
        Refused: A parameter may not be set this way, or `tools` or `response_format` is not JSON.
    """
    body: dict[str, Any] = {
        "messages": [_write_message(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
    }
    if request.seed is not None:
        body["seed"] = request.seed
    for name, value in request.params:
        if name in FIXED_FIELDS:
            raise Refused(f"parameter {name!r} cannot be set in `params`: it is a field of the request or unbounded")
        if value is not None:
            body[name] = value
    for name, text in (("tools", request.tools), ("response_format", request.response_format)):
        if text is not None:
            try:
                body[name] = json.loads(text)
            except ValueError as error:
                raise Refused(f"`{name}` of the request is not JSON: {error}") from error
    return body


def _write_message(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}]
    parts += [{"type": "image_url", "image_url": {"url": image}} for image in message.images]
    return {"role": message.role, "content": parts}


def read_usage(block: Any) -> Usage | None:
    """A reply's `usage` in our convention, or None if it is missing or makes no sense.

    Subsets are cut to their totals. A vendor that counts reasoning beside the completion shows it in `total_tokens`.
    """
    if not isinstance(block, dict):
        return None
    prompt, completion = block.get("prompt_tokens"), block.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int) or prompt < 0 or completion < 0:
        return None
    cached = _subset(block, "prompt_tokens_details", "cached_tokens")
    cached = cached or _count(block.get("prompt_cache_hit_tokens")) or _count(block.get("cached_tokens"))
    reasoning = _subset(block, "completion_tokens_details", "reasoning_tokens")
    if reasoning and block.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_tokens=min(cached, prompt),
        reasoning_tokens=min(reasoning, completion),
    )


def _subset(block: dict[str, Any], details: str, name: str) -> int:
    inner = block.get(details)
    return _count(inner.get(name)) if isinstance(inner, dict) else 0


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def read_reply(reply: Any, request: Request, *, latency_s: float, ttft_s: float | None = None) -> Response:
    """The answer in a whole reply; usage is estimated where the reply has none. Tool calls become JSON text.

    Raises:
        BadResponse: There is no answer in it; paid as counted if it says so, else unknown.
    """
    usage = read_usage(reply.get("usage")) if isinstance(reply, dict) else None
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text, tool_calls = message.get("content"), message.get("tool_calls")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BadResponse(
            f"the reply has no answer: {read_error(reply)}", billing="known" if usage else "unknown", usage=usage
        ) from None
    if text is None or (text == "" and tool_calls):
        text = json.dumps(tool_calls, ensure_ascii=False) if tool_calls else ""
    if not isinstance(text, str):
        raise BadResponse("the answer is not text", billing="known" if usage else "unknown", usage=usage)
    served = (reply.get("model"), reply.get("system_fingerprint"))
    return Response(
        text=text,
        usage=usage or estimate_usage(request.messages, text),
        finish_reason=_FINISH.get(str(choice.get("finish_reason")), "unknown"),
        latency_s=latency_s,
        ttft_s=ttft_s,
        model_version=" ".join(part for part in served if isinstance(part, str) and part),
    )


def join_chunks(chunks: Iterable[Any]) -> dict[str, Any]:
    """Pieces of a streamed reply as one whole reply; without an answer in it if the stream broke off or failed."""
    whole: dict[str, Any] = {}
    pieces: list[str] = []
    for chunk in chunks:
        if not isinstance(chunk, dict):
            continue
        whole.update(
            {name: chunk[name] for name in ("model", "system_fingerprint", "error", "usage") if chunk.get(name)}
        )
        for choice in chunk.get("choices") or ():
            pieces.append(_delta(choice))
            if isinstance(choice, dict) and choice.get("finish_reason"):
                whole["choices"] = [{"finish_reason": choice["finish_reason"]}]
    if "choices" in whole:
        whole["choices"][0]["message"] = {"content": "".join(pieces)}
    return whole


def has_text(chunk: Any) -> bool:
    """True if a piece of a streamed reply carries part of the answer."""
    return isinstance(chunk, dict) and any(_delta(choice) for choice in chunk.get("choices") or ())


def _delta(choice: Any) -> str:
    delta = choice.get("delta") if isinstance(choice, dict) else None
    text = delta.get("content") if isinstance(delta, dict) else None
    return text if isinstance(text, str) else ""


def read_error(reply: Any) -> str:
    """What a reply says went wrong, or the reply itself as JSON."""
    said = reply
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


def status_error(status: int, message: str, *, exhausted: bool = False, retry_after_s: float | None) -> ProviderError:
    """The error that an HTTP status means.

    Args:
        status: The HTTP status, not 2xx.
        message: What to tell the user.
        exhausted: True if the account has no credit left, which waiting does not mend.
        retry_after_s: What the provider asked for [s].
    """
    if status == 429 and not exhausted:
        return RateLimited(message, retry_after_s=retry_after_s)
    if status == 408:
        return Timeout(message, retry_after_s=retry_after_s)
    if status >= 500:
        turned_away = status == 503  # any other may come after the answer was made, and billed
        return Unavailable(message, billing="none" if turned_away else "unknown", retry_after_s=retry_after_s)
    return Denied(message) if status in (401, 403, 404) else Refused(message)
