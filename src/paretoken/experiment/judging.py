"""The way of a judge to its model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from paretoken.core.calls import paid_usd
from paretoken.core.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel


class JudgeModel:
    """A judge's model behind the gateway; tells what every call of it came to.

    Args:
        inner: The gateway's outermost layer.
        base_url: Endpoint of the model.
        on_call: Called after every call with its answer, None if it failed, and what was paid for it [USD].
    """

    def __init__(self, inner: ChatModel, base_url: str, on_call: Callable[[Response | None, Decimal], None]) -> None:
        self._inner, self._base_url, self._on_call = inner, base_url, on_call

    async def generate(self, request: Request) -> Response:
        """Answer through the gateway."""
        try:
            response = await self._inner.generate(replace(request, base_url=self._base_url))
        except ProviderError as error:
            self._on_call(None, paid_usd(error.attempts))
            raise
        self._on_call(response, paid_usd(response.attempts))
        return response
