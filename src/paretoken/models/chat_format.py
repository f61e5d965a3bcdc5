"""The chat-completions format most engines speak: requests to JSON, JSON to answers, failures to errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paretoken.core.calls import Message, Request, Response
from paretoken.core.errors import BadResponse, ProviderError, Refused, Unavailable
from paretoken.core.params import sent_value
from paretoken.core.text import well_formed
from paretoken.models.endings import joined, read_ending, read_text
from paretoken.models.estimate import estimate_usage
from paretoken.models.failures import failure, find_error, read_error
from paretoken.models.vendor_usage import merge_reports, read_usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paretoken.core.usage import Usage

FIXED_FIELDS = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "n_predict", "temperature", "seed", "tools",
    "response_format", "stream", "stream_options", "n", "best_of", "edits", "models",
})  # fmt: skip
"""What `params` may not set: it has a field of its own, or would break the bound of a call's cost."""


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
        if value is None:
            continue
        sent = sent_value(value)
        if name != "extra_body" or not isinstance(sent, dict):
            body[name] = sent
        elif fixed := FIXED_FIELDS & sent.keys():
            raise Refused(f"`extra_body` may not hold {min(fixed)!r}: it is a field of the request or unbounded")
        else:
            body.update(sent)
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


def read_reply(reply: Any, request: Request, *, latency_s: float, ttft_s: float | None = None) -> Response:
    """The answer in a whole reply; usage is estimated where the reply has none. Tool calls become JSON text.

    Raises:
        ProviderError: There is no answer in it; paid as counted if it says so, else by what the failure means.
    """
    choice = _choice(reply)
    message = choice.get("message")
    text = read_text(message) if isinstance(message, dict) else None
    finish = read_ending(choice.get("finish_reason"))
    usage = read_usage(_usage_block(reply), answered=bool(text))
    if find_error(reply) is not None or finish is None:
        error = failure(None, reply, f"the provider failed: {read_error(reply)}")
        if find_error(reply) is None:
            error = Unavailable(f"the provider failed: finish reason {choice.get('finish_reason')!r}")
        raise _booked(error, usage, begun=bool(text) or "begun" in reply)
    if not isinstance(message, dict):
        raise _booked(BadResponse(f"the reply has no answer: {read_error(reply)}"), usage, begun=False)
    if text is None:
        error = _booked(BadResponse("the answer is not text"), usage, begun=True)
        error.retryable = False  # another would look the same, and be paid too
        raise error
    if not text and (tool_calls := message.get("tool_calls")):
        text = json.dumps(tool_calls, ensure_ascii=False)
    if text == message.get("refusal"):
        finish = "content_filter"
    text = well_formed(text)
    served = (reply.get("model"), reply.get("system_fingerprint"))
    return Response(
        text=text,
        usage=usage or estimate_usage(request.messages, text),
        finish_reason=finish,
        latency_s=latency_s,
        ttft_s=ttft_s,
        model_version=well_formed(" ".join(part for part in served if isinstance(part, str) and part)),
    )


def _choice(reply: Any) -> dict[str, Any]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _usage_block(reply: Any) -> Any:
    """A reply's usage; Moonshot puts a stream's into the choice."""
    found = reply.get("usage") if isinstance(reply, dict) else None
    return found or _choice(reply).get("usage")


def _booked(error: ProviderError, usage: Usage | None, *, begun: bool) -> ProviderError:
    """A failure with what it costs: what was counted, or at most the bound once an answer had begun."""
    if usage is not None:
        error.billing, error.usage = "known", usage
    elif begun:
        error.billing = "unknown"
    return error


def join_chunks(chunks: Iterable[Any]) -> dict[str, Any]:
    """Pieces of a streamed reply as one whole reply; without an answer in it if the stream broke off or failed."""
    whole: dict[str, Any] = {}
    pieces: list[str] = []
    finish: Any = None
    for chunk in chunks:
        if not isinstance(chunk, dict):
            continue
        whole.update({name: chunk[name] for name in ("model", "system_fingerprint") if chunk.get(name)})
        if error := find_error(chunk):
            whole["error"] = error
        whole["usage"] = merge_reports(whole.get("usage"), _usage_block(chunk))
        pieces += _deltas(chunk)
        finish = _choice(chunk).get("finish_reason") or finish
    if finish is not None:
        whole["choices"] = [{"finish_reason": finish, "message": {"content": joined(pieces)}}]
    elif pieces:
        whole["begun"] = True
    return whole


def has_text(chunk: Any) -> bool:
    """True if a piece of a streamed reply carries part of the answer."""
    return isinstance(chunk, dict) and any(_deltas(chunk))


def _deltas(chunk: dict[str, Any]) -> list[str]:
    delta = _choice(chunk).get("delta")
    return [read_text(delta) or ""] if isinstance(delta, dict) else []
