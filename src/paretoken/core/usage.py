"""What a call used, and what a unit of it costs.

Token totals **include** their subsets: `cached_tokens` and `cache_write_tokens` are part of `input_tokens`,
`reasoning_tokens` part of `output_tokens` (the OpenTelemetry convention for `gen_ai.usage.*`).
Money is `Decimal` USD; SQL keeps it as integer pico-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

PICO = Decimal(10) ** 12
MTOK = Decimal(1_000_000)
ZERO = Decimal(0)


def to_pico(usd: Decimal) -> int:
    """Dollars to whole pico-dollars, rounded half-even."""
    return int((usd * PICO).to_integral_value(ROUND_HALF_EVEN))


def from_pico(pico: int) -> Decimal:
    """Whole pico-dollars to dollars, exactly."""
    return Decimal(pico) / PICO


@dataclass(frozen=True, slots=True)
class Usage:
    """What one or several calls consumed. A monoid: `Usage()` is zero, `+` adds.

    Raises:
        ValueError: At construction, when a count is negative or a subset exceeds its total.
    """

    input_tokens: int = 0
    """Prompt tokens, cached ones included."""
    output_tokens: int = 0
    """Completion tokens, reasoning included."""
    cached_tokens: int = 0
    """Subset of the input that the vendor read from its own prompt cache."""
    cache_write_tokens: int = 0
    """Subset of the input that the vendor wrote to its own prompt cache."""
    reasoning_tokens: int = 0
    """Subset of the output that was hidden reasoning."""
    requests: int = 1
    compute_s: Decimal = ZERO
    """Engine-busy seconds, shared among the calls that were in the engine at the time [s]."""
    media_s: Decimal = ZERO
    """Seconds of audio or video produced or read [s]."""
    characters: int = 0
    """Characters of speech synthesised."""
    images: int = 0
    estimated: bool = False
    """True where a count is our estimate and not the provider's."""

    def __post_init__(self) -> None:
        for name in ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative: {getattr(self, name)}")
        if self.cached_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError(
                f"cached_tokens {self.cached_tokens} and cache_write_tokens {self.cache_write_tokens} are subsets of "
                f"input_tokens {self.input_tokens} and cannot exceed it"
            )
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError(
                f"reasoning_tokens {self.reasoning_tokens} is a subset of output_tokens {self.output_tokens}"
            )

    def __add__(self, other: Usage) -> Usage:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "estimated"}
        return Usage(**sums, estimated=self.estimated or other.estimated)


NO_USAGE = Usage(requests=0)


@dataclass(frozen=True, slots=True)
class Rates:
    """Token prices [USD per million tokens]. A missing subset rate means the total's rate applies."""

    input_per_mtok: Decimal = ZERO
    output_per_mtok: Decimal = ZERO
    cached_per_mtok: Decimal | None = None
    cache_write_per_mtok: Decimal | None = None
    reasoning_per_mtok: Decimal | None = None
    thinking_output_per_mtok: Decimal | None = None
    """All output of a request that reasoned, where thinking is a mode with a rate of its own; then costs of several
    requests do not add up to the cost of their summed usage."""

    def cost(self, usage: Usage) -> Decimal:
        """Cost of the tokens [USD], unrounded."""
        cached = self.input_per_mtok if self.cached_per_mtok is None else self.cached_per_mtok
        written = self.input_per_mtok if self.cache_write_per_mtok is None else self.cache_write_per_mtok
        output = self.output_per_mtok
        if usage.reasoning_tokens and self.thinking_output_per_mtok is not None:
            output = self.thinking_output_per_mtok
        reasoning = output if self.reasoning_per_mtok is None else self.reasoning_per_mtok
        plain_input = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        plain_output = usage.output_tokens - usage.reasoning_tokens
        total = (
            plain_input * self.input_per_mtok
            + usage.cached_tokens * cached
            + usage.cache_write_tokens * written
            + plain_output * output
            + usage.reasoning_tokens * reasoning
        )
        return total / MTOK

    @property
    def dearest_input(self) -> Decimal:
        """The highest rate any input token can be billed at [USD per million tokens]."""
        return max(self.input_per_mtok, self.cached_per_mtok or ZERO, self.cache_write_per_mtok or ZERO)

    @property
    def dearest_output(self) -> Decimal:
        """The highest rate any output token can be billed at [USD per million tokens]."""
        return max(self.output_per_mtok, self.reasoning_per_mtok or ZERO, self.thinking_output_per_mtok or ZERO)


@dataclass(frozen=True, slots=True)
class Price:
    """One dated, sourced price row for any mix of meters. All amounts are USD; other currencies are converted.

    Attributes:
        row: Identity of the row, stored with every cost that was computed from it.
        rates: Token rates.
        tiers: `(start, rates)`: a request with more than `start` input tokens is billed whole at those rates.
        source: Where the price was read.
        checked: When it was last checked.
        currency: Currency of the vendor's list.
        usd_rate: USD per unit of `currency` used in the conversion.
    """

    row: str
    rates: Rates = Rates()
    tiers: tuple[tuple[int, Rates], ...] = ()
    per_request: Decimal = ZERO
    per_compute_s: Decimal = ZERO
    per_minute: Decimal = ZERO
    per_mchar: Decimal = ZERO
    per_image: Decimal = ZERO
    source: str = ""
    checked: date | None = None
    currency: str = "USD"
    usd_rate: Decimal = Decimal(1)

    def cost(self, usage: Usage) -> Decimal:
        """Cost of the usage [USD], unrounded."""
        rates = self.rates
        for start, tier in self.tiers:
            if usage.input_tokens > start:
                rates = tier
        return (
            rates.cost(usage)
            + usage.requests * self.per_request
            + usage.compute_s * self.per_compute_s
            + usage.media_s * self.per_minute / 60
            + usage.characters * self.per_mchar / MTOK
            + usage.images * self.per_image
        )

    def bound(self, *, input_tokens: int, output_tokens: int, compute_s: Decimal) -> Decimal:
        """Most that one text request can cost [USD]: every token at its dearest rate in any tier.

        Args:
            input_tokens: No fewer than the request's prompt tokens.
            output_tokens: No fewer than the answer's tokens, reasoning included.
            compute_s: No less than the engine time the request can take [s].
        """
        rates = (self.rates, *(tier for _, tier in self.tiers))
        return (
            input_tokens * max(r.dearest_input for r in rates) / MTOK
            + output_tokens * max(r.dearest_output for r in rates) / MTOK
            + self.per_request
            + compute_s * self.per_compute_s
        )

    @property
    def is_free(self) -> bool:
        """True when nothing on this row costs anything."""
        rates = (self.rates, *(tier for _, tier in self.tiers))
        others = (self.per_request, self.per_compute_s, self.per_minute, self.per_mchar, self.per_image)
        return not any(rate.dearest_input or rate.dearest_output for rate in rates) and not any(others)
