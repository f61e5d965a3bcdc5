"""Entries to JSON and back. Written by hand: it is on the path of every call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from paretoken.core.calls import Attempt, Call, Entry, Message, Origin, Request, Response, Score
from paretoken.core.text import well_formed, well_formed_json
from paretoken.core.usage import Usage, from_pico, to_pico

if TYPE_CHECKING:
    from collections.abc import Mapping

Content = Literal["full", "hash", "none"]
"""How much of prompts and answers is kept: all, a hash of each text, or nothing."""

_DEFAULTS = {f.name: f.default for f in fields(Request) if f.default is not MISSING}
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TOKEN_FIELDS = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")


def encode(entry: Entry, content: Content = "full") -> tuple[str, str]:
    """Kind and JSON body of an entry."""
    if isinstance(entry, Call):
        return "call", _dump(_call_body(entry, content))
    if isinstance(entry, Attempt):
        return "attempt", _dump(_attempt_body(entry))
    body: dict[str, object] = {"scorer": entry.scorer, "metric": entry.metric, "value": entry.value}
    if entry.reason:
        body["reason"] = entry.reason
    if entry.beside:
        body["beside"] = dict(entry.beside)
    return "score", _dump(body | {"provenance": entry.provenance})


def decode(kind: str, body: str, origin: Origin) -> Entry:
    """The entry that `encode` wrote."""
    content: Any = json.loads(body)
    if "\\ud" in body:  # half of a surrogate pair, as earlier versions kept it
        content = well_formed_json(content)
    if kind == "call":
        return _call(content, origin)
    if kind == "attempt":
        return _attempt(content, origin)
    return Score(origin, **content)


def paid_pico(attempt: Mapping[str, Any]) -> int:
    """What an encoded attempt cost, assumed money included [pico-USD]."""
    return int(attempt["billed_pico"] + attempt["assumed_pico"])


def encode_response(response: Response) -> str:
    """A paid answer for the cache: without the attempts of the call that paid for it."""
    return _dump(_response_body(response, "full"))


def decode_response(body: str) -> Response:
    """The answer that `encode_response` wrote."""
    return _response(json.loads(body))


def _dump(body: object) -> str:
    return well_formed(_to_json(body))


def _kept(text: str, content: Content) -> str:
    if content == "full":
        return text
    return "" if content == "none" else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _usage_body(usage: Usage) -> dict[str, object]:
    body: dict[str, object] = {name: value for name in _TOKEN_FIELDS if (value := getattr(usage, name))}
    body |= {name: value for name in ("characters", "images") if (value := getattr(usage, name))}
    body |= {name: str(value) for name in ("compute_s", "media_s") if (value := getattr(usage, name))}
    if usage.requests != 1:
        body["requests"] = usage.requests
    if usage.estimated:
        body["estimated"] = True
    return body


def _usage(body: dict[str, Any]) -> Usage:
    for name in ("compute_s", "media_s"):
        if name in body:
            body[name] = Decimal(body[name])
    return Usage(**body)


def _response_body(response: Response, content: Content) -> dict[str, object]:
    body: dict[str, object] = {
        "text": _kept(response.text, content),
        "usage": _usage_body(response.usage),
        "finish_reason": response.finish_reason,
        "latency_s": response.latency_s,
        "list_pico": to_pico(response.list_usd),
        "billed_pico": to_pico(response.billed_usd),
        "price_row": response.price_row,
    }
    if response.ttft_s is not None:
        body["ttft_s"] = response.ttft_s
    if response.model_version:
        body["model_version"] = response.model_version
    if response.from_cache:
        body["from_cache"] = True
    return body


def _response(body: dict[str, Any]) -> Response:
    return Response(
        text=body["text"],
        usage=_usage(body["usage"]),
        finish_reason=body["finish_reason"],
        latency_s=body["latency_s"],
        ttft_s=body.get("ttft_s"),
        model_version=body.get("model_version", ""),
        list_usd=from_pico(body["list_pico"]),
        billed_usd=from_pico(body["billed_pico"]),
        price_row=body["price_row"],
        from_cache=body.get("from_cache", False),
    )


def _request_body(request: Request, content: Content) -> dict[str, object]:
    body: dict[str, object] = {
        "model": request.model,
        "messages": [
            {"role": m.role, "content": _kept(m.content, content)}
            | ({"images": [_kept(image, content) for image in m.images]} if m.images else {})
            for m in request.messages
        ],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "base_url": request.base_url,
        "params": request.params,
        "tools": None if request.tools is None else _kept(request.tools, content),
        "response_format": None if request.response_format is None else _kept(request.response_format, content),
        "repeat": request.repeat,
        "salt": request.salt,
    }
    return {name: value for name, value in body.items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def _request(body: dict[str, Any], origin: Origin) -> Request:
    messages = tuple(Message(m["role"], m["content"], tuple(m.get("images", ()))) for m in body.pop("messages"))
    params = tuple((name, value) for name, value in body.pop("params", ()))
    return Request(messages=messages, params=params, origin=origin, **body)


def _call_body(call: Call, content: Content) -> dict[str, object]:
    return {
        "key": call.request.key,
        "at": call.at.isoformat(),
        "request": _request_body(call.request, content),
        "response": None if call.response is None else _response_body(call.response, content),
        "error": call.error,
        "billed_pico": to_pico(call.billed_usd),
    }


def _call(body: dict[str, Any], origin: Origin) -> Call:
    return Call(
        request=_request(body["request"], origin),
        at=datetime.fromisoformat(body["at"]),
        response=None if body["response"] is None else _response(body["response"]),
        error=body["error"],
        billed_usd=from_pico(body["billed_pico"]),
    )


def _attempt_body(attempt: Attempt) -> dict[str, object]:
    return {
        "key": attempt.request_key,
        "at": attempt.at.isoformat(),
        "outcome": attempt.outcome,
        "usage": None if attempt.usage is None else _usage_body(attempt.usage),
        "billed_pico": to_pico(attempt.billed_usd),
        "assumed_pico": to_pico(attempt.assumed_usd),
        "price_row": attempt.price_row,
        "latency_s": attempt.latency_s,
        "error": attempt.error,
    }


def _attempt(body: dict[str, Any], origin: Origin) -> Attempt:
    return Attempt(
        request_key=body["key"],
        origin=origin,
        at=datetime.fromisoformat(body["at"]),
        outcome=body["outcome"],
        usage=None if body["usage"] is None else _usage(body["usage"]),
        billed_usd=from_pico(body["billed_pico"]),
        assumed_usd=from_pico(body["assumed_pico"]),
        price_row=body["price_row"],
        latency_s=body["latency_s"],
        error=body["error"],
    )
