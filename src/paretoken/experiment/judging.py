"""The way of a judge to its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.calls import paid_usd
from paretoken.core.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel
    from paretoken.experiment.model_design import ModelDesign


class JudgeModel:
    """A judge's model behind the gateway; tells what every call of it came to.

    Args:
        inner: The gateway's outermost layer.
        model: How it is reached, and the parameters that its entry names.
        on_call: Called after every call with its answer, None if it failed, and what was paid for it [USD].
    """

    def __init__(
        self, inner: ChatModel, model: ModelDesign, on_call: Callable[[Response | None, Decimal], None]
    ) -> None:
        self._inner, self._model, self._on_call = inner, model, on_call

    async def generate(self, request: Request) -> Response:
        """Answer through the gateway."""
        try:
            response = await self._inner.generate(self._model.addressed(request))
        except ProviderError as error:
            self._on_call(None, paid_usd(error.attempts))
            raise
        self._on_call(response, paid_usd(response.attempts))
        return response
