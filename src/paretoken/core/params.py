"""Parameters of a request that are objects or lists: kept as canonical JSON text, sent as what they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoken.core.calls import Scalar

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode


def as_param(value: Any) -> Scalar:
    """A parameter as it is kept: an object or a list as JSON text, the same for every order of its keys."""
    return _to_json(value) if isinstance(value, (dict, list)) else value


def sent_value(param: Scalar) -> Any:
    """A parameter as it is sent: text that is a JSON object or list as that."""
    if isinstance(param, str) and param[:1] in ("{", "["):
        try:
            return json.loads(param)
        except (ValueError, RecursionError):
            return param
    return param
