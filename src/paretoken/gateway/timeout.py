"""The innermost layer: no attempt outlives its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from paretoken.core.errors import Timeout as TimeoutFailure

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel


class Timeout:
    """Cancels an attempt after `seconds`; it may have been generated and billed all the same."""

    def __init__(self, inner: ChatModel, *, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer in time."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._inner.generate(request)
        except TimeoutError as error:
            raise TimeoutFailure(f"{request.model} gave no answer in {self._seconds:g} s") from error
