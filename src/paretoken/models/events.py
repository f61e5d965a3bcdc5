"""Server-sent events that carry JSON, as vendors really write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import BadResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator

_DONE = object()


async def read_events(blocks: AsyncIterable[bytes]) -> AsyncIterator[Any]:
    """JSON values of a stream, in order; nothing is read after `[DONE]`, even if the connection stays open.

    Lines may end in LF, CR or both; an event may take several `data:` lines; blank lines between events, comments and
    other fields may be there or not.

    Raises:
        BadResponse: An event is not JSON.
    """
    reader = _Reader()
    async for block in blocks:
        for event in reader.feed(block):
            if event is _DONE:
                return
            yield event
    for event in reader.feed(b"\n\n"):
        if event is not _DONE:
            yield event


class _Reader:
    def __init__(self) -> None:
        self._rest = self._held = self._kind = b""

    def feed(self, block: bytes) -> Iterator[Any]:
        *lines, self._rest = (self._rest + block).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            name, _, value = line.partition(b":")
            value = value.strip()
            if name == b"event":
                self._kind = value
            elif name == b"data" and value == b"[DONE]":
                yield _DONE
            elif name == b"data" and value:
                yield from self._add(value)
            elif not line and self._held:
                parse(self._held, "text/event-stream")

    def _add(self, value: bytes) -> Iterator[Any]:
        """The event that a line completes, if it does."""
        self._held += value + b"\n"
        try:
            event = json.loads(self._held)
        except (ValueError, RecursionError):
            return
        failed = self._kind == b"error" and not (isinstance(event, dict) and event.get("error"))
        self._held = self._kind = b""
        yield {"error": event} if failed else event


def parse(raw: bytes, content_type: str) -> Any:
    """JSON of a reply.

    Raises:
        BadResponse: It is none.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadResponse(f"the answer is not whole JSON ({content_type}, {len(raw)} bytes)") from None
