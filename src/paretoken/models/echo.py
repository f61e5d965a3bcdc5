"""A model that repeats the last user message, for trying things at no cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoken.core.calls import Request, Response
from paretoken.core.errors import SpecError
from paretoken.core.usage import Usage
from paretoken.models.options import read_options

if TYPE_CHECKING:
    from paretoken.core.protocols import Clock, Provider, ProviderConfig


@dataclass(frozen=True, slots=True)
class EchoOptions:
    """Options of `echo/<any name>`.

    Attributes:
        latency_s: How long every answer takes [s].
    """

    latency_s: float = 0.0


class Echo:
    """Answers with the last user message, cut to `max_tokens` words; a word counts as a token."""

    slots: int | None = None
    recorded = False

    def __init__(self, latency_s: float, clock: Clock) -> None:
        self._latency_s, self._clock = latency_s, clock

    async def generate(self, request: Request) -> Response:
        """Answer after the set latency."""
        started_s = self._clock.monotonic()
        if self._latency_s:
            await self._clock.sleep(self._latency_s)
        words = next((m.content for m in reversed(request.messages) if m.role == "user"), "").split()
        said = words[: request.max_tokens]
        return Response(
            text=" ".join(said),
            usage=Usage(input_tokens=_words(request), output_tokens=len(said)),
            finish_reason="stop" if len(said) == len(words) else "length",
            latency_s=self._clock.monotonic() - started_s,
            model_version="echo",
        )

    async def count_tokens(self, request: Request) -> int:
        """Words of all messages."""
        return _words(request)

    async def aclose(self) -> None:
        """Nothing to give back."""


def _words(request: Request) -> int:
    return sum(len(message.content.split()) for message in request.messages)


def make(config: ProviderConfig, clock: Clock) -> Provider:
    """Make an echo; any name will do, so that a spec can have several."""
    options = read_options(config, EchoOptions)
    if not options.latency_s >= 0:
        raise SpecError(f"{options.latency_s} is negative.", fix="Give seconds, 0 or more.", field="latency_s")
    return Echo(options.latency_s, clock)
