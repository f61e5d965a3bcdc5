"""What a run will cost, before it costs anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.trials import Cell
from paretoken.core.usage import ZERO, Usage
from paretoken.experiment.spec import MAX_TOKENS
from paretoken.gateway.budget import bound_usd
from paretoken.models.estimate import estimate_tokens
from paretoken.records import RunBook, SqlCache, SqlJournal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from paretoken.analysis.prediction import Prediction
    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock
    from paretoken.core.trials import Variant
    from paretoken.experiment.design import Design, ModelDesign
    from paretoken.records import Database

MAX_RECORDED = 2000
"""The latest recorded calls that a forecast rests on."""


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
        high_usd: Cost if every answer used its whole limit, each sent once [USD].
        certain_usd: Upper bound that holds whatever the tokeniser does and however often calls are retried [USD].
        predicted: 90 % interval of the cost, from recorded calls of the same prompt and model [USD]; None where there
            are too few.
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
    predicted: Prediction | None = None

    @property
    def to_send(self) -> int:
        """Calls that no earlier answer serves."""
        return self.calls - self.cached


@dataclass(frozen=True, slots=True)
class Forecast:
    """A whole run before it starts.

    Attributes:
        predicted: 90 % interval of the whole cost [USD]; None where a variant has too few recorded calls.
    """

    variants: tuple[VariantForecast, ...]
    budget_usd: Decimal | None
    predicted: Prediction | None

    def total(self, name: str) -> Any:
        """Sum of a number over the variants."""
        return sum((getattr(variant, name) for variant in self.variants), type(getattr(self.variants[0], name))(0))

    @property
    def verdict(self) -> str:
        """The interval against the budget, in words."""
        low, high, certain = self.total("low_usd"), self.total("high_usd"), self.total("certain_usd")
        if self.budget_usd is None:
            return "no budget is set: the run has no cap"
        budget = f"the budget of ${self.budget_usd:f}"
        if certain <= self.budget_usd:
            return f"fits {budget}: even the certain upper bound is below it"
        if self.predicted is not None and low <= self.budget_usd:
            if self.predicted.high <= self.budget_usd:
                return f"expected to fit {budget}: the 90 % interval is below it"
            if self.predicted.low > self.budget_usd:
                return f"expected to reach {budget} before the end; it then stops and can be resumed"
            return f"may reach {budget} before the end; it then stops and can be resumed"
        if high <= self.budget_usd:
            return f"expected to fit {budget}; the last calls may wait for others to settle"
        if low <= self.budget_usd:
            return f"may reach {budget} before the end; it then stops and can be resumed"
        return f"cannot finish within {budget}: even the shortest answers cost more"

    def body(self) -> dict[str, Any]:
        """Plain JSON values for the lock."""
        p = self.predicted
        return {
            "calls": self.total("calls"),
            "cached": self.total("cached"),
            "input_tokens": self.total("input_tokens"),
            "exact": all(variant.exact for variant in self.variants),
            "output_tokens_max": self.total("output_tokens_max"),
            "low_usd": str(self.total("low_usd")),
            "high_usd": str(self.total("high_usd")),
            "certain_usd": str(self.total("certain_usd")),
            "predicted": None if p is None else {"usd": p.expected, "low_usd": p.low, "high_usd": p.high, "n": p.n},
        }


async def forecast(design: Design, database: Database | None, clock: Clock) -> Forecast:
    """Count calls and tokens and bound the cost of a design. Sends nothing.

    Args:
        design: The experiment.
        database: Where paid answers and recorded calls are looked up; None if there is no store yet.
        clock: Time.
    """
    cache = None if database is None else SqlCache(database, clock, design.spec.cache.max_age)
    counted = [await _count(design, variant, cache) for variant in design.variants]
    budget_usd = None if design.spec.budget is None else design.spec.budget.usd
    if database is None:
        return Forecast(tuple(counted), budget_usd, None)
    import numpy as np

    from paretoken.analysis.prediction import MIN_SEEN, N_DRAWS, draw_future_means, predict

    rng = np.random.default_rng(design.spec.seed)
    total: NDArray[np.float64] | None = np.zeros(N_DRAWS)
    n_total, variants = 0, []
    for variant, row in zip(design.variants, counted, strict=True):
        costs = _recorded_costs(design, variant, row, database) if row.to_send else np.zeros(0)
        if row.to_send and len(costs) < MIN_SEEN:
            total = None
            variants.append(row)
            continue
        draws = draw_future_means(costs, row.to_send, rng) * row.to_send if row.to_send else np.zeros(N_DRAWS)
        draws = np.clip(draws, float(row.low_usd), float(row.certain_usd))
        n_total += len(costs)
        total = None if total is None else total + draws
        values = {name: getattr(row, name) for name in row.__slots__}
        variants.append(VariantForecast(**{**values, "predicted": predict(draws, len(costs))}))
    return Forecast(tuple(variants), budget_usd, None if total is None else predict(total, n_total))


async def _count(design: Design, variant: Variant, cache: SqlCache | None) -> VariantForecast:
    model = design.models[variant.model]
    n_cells = len(design.samples) * design.spec.repeats
    if model.provider.recorded:
        return VariantForecast(design.labels[variant.id], n_cells, n_cells)
    timeout_s = getattr(model.entry, "timeout_s", 0.0)
    compute_s = Decimal(str(timeout_s))
    to_send = input_tokens = output_tokens_max = 0
    low, high, certain = ZERO, ZERO, ZERO
    exact = True
    for request in _requests(design, variant, cache):
        counted = await model.provider.count_tokens(request)
        exact = exact and counted is not None
        tokens = _estimated_tokens(request) if counted is None else counted
        to_send += 1
        input_tokens += tokens
        output_tokens_max += request.max_tokens
        low += model.price.cost(Usage(input_tokens=tokens, output_tokens=1))
        high += model.price.cost(Usage(input_tokens=tokens, output_tokens=request.max_tokens, compute_s=compute_s))
        certain += bound_usd(request, model.price, timeout_s) * design.spec.attempts
    return VariantForecast(
        design.labels[variant.id], n_cells, n_cells - to_send, input_tokens, exact, output_tokens_max, low, high,
        certain,
    )  # fmt: skip


def _requests(design: Design, variant: Variant, cache: SqlCache | None) -> Iterator[Request]:
    """Requests of a variant that no earlier answer serves."""
    reads_cache = design.cache_mode(design.models[variant.model]) == "read_write"
    for sample in design.samples:
        for repeat in range(design.spec.repeats):
            request = design.request(variant, Cell(sample, repeat), run="")
            if not (reads_cache and cache is not None and cache.has(request.key)):
                yield request


def _estimated_tokens(request: Request) -> int:
    return sum(estimate_tokens(message.content) for message in request.messages)


def _recorded_costs(design: Design, variant: Variant, row: VariantForecast, database: Database) -> NDArray[np.float64]:
    """What recorded calls of the same prompt, model and answer limit would cost for a prompt of the size to be sent."""
    import numpy as np

    model, mean_input = design.models[variant.model], row.input_tokens / row.to_send
    costs: list[float] = []
    for body in _recorded_calls(variant, database):
        costs.append(_cost_of(body, model, mean_input, row.exact))
        if len(costs) == MAX_RECORDED:
            break
    return np.array(costs)


def _recorded_calls(variant: Variant, database: Database) -> Iterator[dict[str, Any]]:
    """Answered calls that were sent, latest run first."""
    journal = SqlJournal(database)
    for run in reversed(RunBook(database).all()):
        for other in cast("list[dict[str, Any]]", run.lock["variants"]):
            same = (other["prompt"], other["model"], other["params"].get("max_tokens", MAX_TOKENS)) == (
                variant.prompt, variant.model, dict(variant.params).get("max_tokens", MAX_TOKENS),
            )  # fmt: skip
            if not same:
                continue
            for row in journal.rows(run.id, variant=other["id"], kind="call"):
                body = json.loads(row.body)
                if body["response"] is not None and not body["response"].get("from_cache"):
                    yield body


def _cost_of(body: dict[str, Any], model: ModelDesign, mean_input: float, exact: bool) -> float:
    """A recorded call's cost at today's price, its prompt scaled to the mean of those to be sent [USD]."""
    usage = body["response"]["usage"]
    told = usage.get("input_tokens", 0)
    guessed = told if exact else sum(estimate_tokens(m["content"]) for m in body["request"]["messages"])
    ratio = told / guessed if guessed else 1.0
    scaled = Usage(
        input_tokens=round(ratio * mean_input),
        output_tokens=usage.get("output_tokens", 0),
        reasoning_tokens=usage.get("reasoning_tokens", 0),
        compute_s=Decimal(usage.get("compute_s", 0)),
    )
    return float(model.price.cost(scaled))
