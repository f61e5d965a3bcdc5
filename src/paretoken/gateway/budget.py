"""Money before sending: an attempt whose upper bound does not fit is never sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt
from paretoken.core.errors import BrokenBound, ProviderError, Refused, SpecError
from paretoken.core.usage import ZERO, from_pico, to_pico

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import ChatModel, Clock, Hold, PriceSource, RecordStore, ResponseCache
    from paretoken.core.usage import Price, Usage
    from paretoken.gateway.gate import HoldGate

TEMPLATE_TOKENS = 64
"""Room for a chat template's default system prompt."""
TEMPLATE_TOKENS_PER_MESSAGE = 16
"""Room for the markers around each message."""


def bound_usd(request: Request, price: Price, timeout_s: float, further_bytes: int = 0) -> Decimal:
    """Most that one attempt can cost [USD].

    A byte-level tokeniser makes no more tokens than there are UTF-8 bytes; the answer ends at `max_tokens`; the
    engine is busy no longer than the time-out.

    Args:
        request: What is to be sent.
        price: Its model's.
        timeout_s: Longest time it can take [s].
        further_bytes: What is still to be put into its texts.

    Raises:
        Refused: The request has images, whose tokens have no bound known here.
    """
    if any(message.images for message in request.messages):
        raise Refused(f"{request.model}: images have no upper bound of cost, so the call was not sent")
    tokens = bound_tokens(request) + further_bytes
    bound = price.bound(input_tokens=tokens, output_tokens=request.max_tokens, compute_s=Decimal(str(timeout_s)))
    return from_pico(to_pico(bound))


def bound_tokens(request: Request) -> int:
    """Most prompt tokens that a request's texts can have."""
    texts = [message.content for message in request.messages]
    texts += [text for text in (request.tools, request.response_format) if text]
    return TEMPLATE_TOKENS + sum(len(text.encode()) + TEMPLATE_TOKENS_PER_MESSAGE for text in texts)


class Budget:
    """Holds, settles and journals every attempt.

    The hold is on disk before the request is sent. Money, attempt and the answer's cache entry are written in one turn
    of the event loop, hence one commit; the outermost layer waits for it.

    Args:
        inner: The next layer.
        prices: Where the row in force at the moment of sending is found.
        gate: The way to the ledger.
        journal: Where attempts are recorded.
        cache: Where answers are kept; None keeps nothing.
        clock: Dates attempts.
        timeout_s: Longest time an attempt can take [s].
        recorded: The answers were paid for elsewhere: they have a list price and are billed nothing.
    """

    def __init__(
        self,
        inner: ChatModel,
        *,
        prices: PriceSource,
        gate: HoldGate,
        journal: RecordStore,
        cache: ResponseCache | None,
        clock: Clock,
        timeout_s: float,
        recorded: bool = False,
    ) -> None:
        self._inner, self._prices, self._gate, self._journal = inner, prices, gate, journal
        self._cache, self._clock, self._timeout_s, self._recorded = cache, clock, timeout_s, recorded

    async def generate(self, request: Request) -> Response:
        """Answer through the inner layer with the money for it reserved."""
        price = self._prices.price(request.model, self._clock.now())
        bound = ZERO if self._recorded else bound_usd(request, price, self._timeout_s)
        hold = await self._gate.hold(request, bound)
        try:
            response = await self._inner.generate(request)
        except ProviderError as error:
            error.attempts = (self._book_failure(request, hold, error, price),)
            raise
        except SpecError:  # the provider cannot even start: nothing was sent
            self._gate.settle(hold, ZERO, ZERO)
            raise
        except BaseException:
            self._book(request, hold, Attempt(request.key, request.origin, self._clock.now(), "cancelled",
                                              assumed_usd=bound, price_row=price.row))  # fmt: skip
            raise
        return self._book_answer(request, hold, response, price)

    def _book_answer(self, request: Request, hold: Hold, response: Response, price: Price) -> Response:
        list_usd = _cost(response.usage, price)
        billed = ZERO if self._recorded or response.usage.estimated else list_usd
        assumed = hold.bound_usd if response.usage.estimated and not self._recorded else ZERO
        attempt = Attempt(
            request.key, request.origin, self._clock.now(), "ok", response.usage,
            billed_usd=billed, assumed_usd=assumed, price_row=price.row, latency_s=response.latency_s,
        )  # fmt: skip
        priced = replace(
            response, list_usd=list_usd, billed_usd=billed + assumed, price_row=price.row, attempts=(attempt,)
        )
        self._book(request, hold, attempt, priced)
        return priced

    def _book_failure(self, request: Request, hold: Hold, error: ProviderError, price: Price) -> Attempt:
        billed = assumed = ZERO
        if not self._recorded:
            if error.billing == "known" and error.usage is not None:
                billed = _cost(error.usage, price)
            elif error.billing != "none":
                assumed = hold.bound_usd
        attempt = Attempt(
            request.key, request.origin, self._clock.now(), error.outcome, error.usage,
            billed_usd=billed, assumed_usd=assumed, price_row=price.row, error=str(error),
        )  # fmt: skip
        self._book(request, hold, attempt)
        return attempt

    def _book(self, request: Request, hold: Hold, attempt: Attempt, answer: Response | None = None) -> None:
        self._gate.settle(hold, attempt.billed_usd, attempt.assumed_usd)
        self._journal.append([attempt])
        if answer is not None and self._cache is not None:
            self._cache.put(request.key, answer)
        if attempt.billed_usd > hold.bound_usd:
            broken = BrokenBound(
                f"{request.model} billed ${attempt.billed_usd:f} for a call bounded at ${hold.bound_usd:f}: the run "
                "stops. The provider counts more tokens than the request has bytes, or ignores max_tokens.",
                usage=attempt.usage,
            )
            broken.attempts = (attempt,)
            raise broken


def _cost(usage: Usage, price: Price) -> Decimal:
    """Cost of one call [USD], rounded once."""
    return from_pico(to_pico(price.cost(usage)))
