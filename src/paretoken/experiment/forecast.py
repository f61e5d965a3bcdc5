"""What a run will cost, before it costs anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoken.core.trials import Cell
from paretoken.core.usage import ZERO, Usage
from paretoken.gateway.budget import bound_usd
from paretoken.models.estimate import estimate_tokens

if TYPE_CHECKING:
    from decimal import Decimal

    from paretoken.core.calls import Request
    from paretoken.core.protocols import ResponseCache
    from paretoken.core.trials import Variant
    from paretoken.experiment.design import Design


@dataclass(frozen=True, slots=True)
class VariantForecast:
    """Calls of one variant.

    Attributes:
        calls: Planned calls.
        cached: How many of them an earlier paid answer serves.
        input_tokens: Prompt tokens of the calls to be sent.
        exact: Whether they were counted by the provider's own tokeniser.
        output_tokens_max: Most tokens that can come back.
        low_usd: Cost if every answer were a single token [USD].
        high_usd: Cost if every answer used its whole limit [USD].
        certain_usd: Upper bound that holds whatever the tokeniser does [USD].
    """

    label: str
    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    exact: bool = True
    output_tokens_max: int = 0
    low_usd: Decimal = ZERO
    high_usd: Decimal = ZERO
    certain_usd: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Forecast:
    """A whole run before it starts."""

    variants: tuple[VariantForecast, ...]
    budget_usd: Decimal | None

    def total(self, name: str) -> Any:
        """Sum of a number over the variants."""
        return sum((getattr(variant, name) for variant in self.variants), type(getattr(self.variants[0], name))(0))

    @property
    def verdict(self) -> str:
        """The interval against the budget, in words."""
        low, high, certain = self.total("low_usd"), self.total("high_usd"), self.total("certain_usd")
        if self.budget_usd is None:
            return "no budget is set: the run has no cap"
        if certain <= self.budget_usd:
            return f"fits the budget of ${self.budget_usd:f}: even the certain upper bound is below it"
        if high <= self.budget_usd:
            return f"expected to fit the budget of ${self.budget_usd:f}; the last calls may wait for others to settle"
        if low <= self.budget_usd:
            return f"may reach the budget of ${self.budget_usd:f} before the end; it then stops and can be resumed"
        return f"cannot finish within the budget of ${self.budget_usd:f}: even the shortest answers cost more"

    def body(self) -> dict[str, Any]:
        """Plain JSON values for the lock."""
        return {
            "calls": self.total("calls"),
            "cached": self.total("cached"),
            "input_tokens": self.total("input_tokens"),
            "exact": all(variant.exact for variant in self.variants),
            "output_tokens_max": self.total("output_tokens_max"),
            "low_usd": str(self.total("low_usd")),
            "high_usd": str(self.total("high_usd")),
            "certain_usd": str(self.total("certain_usd")),
        }


async def forecast(design: Design, cache: ResponseCache | None) -> Forecast:
    """Count calls and tokens and bound the cost of a design. Sends nothing.

    Args:
        design: The experiment.
        cache: Where paid answers are looked up; None if there is no store yet.
    """
    rows = [await _forecast_variant(design, variant, cache) for variant in design.variants]
    return Forecast(tuple(rows), None if design.spec.budget is None else design.spec.budget.usd)


async def _forecast_variant(design: Design, variant: Variant, cache: ResponseCache | None) -> VariantForecast:
    model = design.models[variant.model]
    reads_cache = cache is not None and design.cache_mode(model) == "read_write"
    cells = [Cell(sample, repeat) for sample in design.samples for repeat in range(design.spec.repeats)]
    requests = [design.request(variant, cell, run="") for cell in cells]
    to_send = [r for r in requests if not (reads_cache and cache is not None and cache.get(r.key) is not None)]
    if model.provider.recorded:
        return VariantForecast(design.labels[variant.id], len(cells), len(cells))
    total: dict[str, Any] = {"input_tokens": 0, "low_usd": ZERO, "high_usd": ZERO, "certain_usd": ZERO}
    exact = True
    for request in to_send:
        counted = await model.provider.count_tokens(request)
        exact = exact and counted is not None
        tokens = _estimated_tokens(request) if counted is None else counted
        total["input_tokens"] += tokens
        total["low_usd"] += model.price.cost(Usage(input_tokens=tokens, output_tokens=1))
        total["high_usd"] += model.price.cost(Usage(input_tokens=tokens, output_tokens=request.max_tokens))
        total["certain_usd"] += bound_usd(request, model.price, getattr(model.entry, "timeout_s", 0.0))
    return VariantForecast(
        label=design.labels[variant.id],
        calls=len(cells),
        cached=len(cells) - len(to_send),
        exact=exact,
        output_tokens_max=sum(request.max_tokens for request in to_send),
        **total,
    )


def _estimated_tokens(request: Request) -> int:
    return sum(estimate_tokens(message.content) for message in request.messages)
