"""One call to a model, from the request to the record: pure values, no identity of storage."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from paretoken.core.text import well_formed
from paretoken.core.usage import ZERO, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
Scalar = str | int | float | bool | None
Role = Literal["subject", "judge", "optimizer"]
NUMBERS = ("list_usd", "billed_usd", "input_tokens", "output_tokens", "latency_s", "ttft_s")
"""Numbers that answers have, by the names that objectives and comparisons use."""
FIRST_REPEAT = frozenset({"latency_s"})
"""Those whose quantiles are asked for: a mean over repeats would have shorter tails, so the first one stands."""
CALL_FAILED = "failed"
"""Stands beside a score that lacks its value because a call failed: it is made again when failed calls are."""
SCORING_FAILED = "scoring failed"
"""How the reason of a score begins that lacks its value because the scorer failed."""
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "unknown"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `images` are data URLs or links, in order."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """On whose behalf a call is made. Never part of the request's key.

    Attributes:
        run: Run id; empty outside experiments.
        sample, variant, repeat: The cell of the experiment that the call belongs to.
        role: Who spends: the subject under test, a judge or an optimizer.
        scopes: Budget scopes the call draws on, outermost last.
    """

    run: str = ""
    sample: str = ""
    variant: str = ""
    repeat: int = 0
    role: Role = "subject"
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model.

    Attributes:
        model: Model id as the spec writes it, e.g. `openai/gpt-4o-mini`.
        base_url: The endpoint, where the provider has one; part of the key.
        max_tokens: Upper limit of the answer; with it a call has an upper bound of cost.
        params: Further provider parameters, sorted by name.
        tools, response_format: JSON text, as the provider's API takes them.
        repeat: Number of the repetition; repeats are separate calls with separate cache entries.
        salt: Separates requests that are equal but must not share an answer.
        key: Content address of all of the above; equal requests share cache entries and flights.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int | None = None
    base_url: str = ""
    params: tuple[tuple[str, Scalar], ...] = ()
    tools: str | None = None
    response_format: str | None = None
    repeat: int = 0
    salt: str = ""
    origin: Origin = Origin()
    key: str = field(init=False)

    def __post_init__(self) -> None:
        content = (
            self.model,
            self.base_url,
            [(m.role, m.content, m.images) for m in self.messages],
            self.max_tokens,
            float(self.temperature),
            self.seed,
            self.params,
            self.tools,
            self.response_format,
            self.repeat,
            self.salt,
        )
        text = _to_json(content)
        object.__setattr__(self, "key", hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request on the wire, as it was booked.

    Attributes:
        outcome: `ok`, or the failure's name (`rate_limited`, `timeout`, ...).
        usage: None when the provider did not say and nothing can be estimated.
        billed_usd: What it cost us after credits [USD].
        assumed_usd: Booked at the upper bound because the outcome is unknown [USD].
        price_row: The price row the money was computed from.
        latency_s: From send to last byte [s]; None when nothing came back or the recording has none.
    """

    request_key: str
    origin: Origin
    at: datetime
    outcome: str
    usage: Usage | None = None
    billed_usd: Decimal = ZERO
    assumed_usd: Decimal = ZERO
    price_row: str = ""
    latency_s: float | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", self.error and well_formed(self.error))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a provider says it still takes: `remaining` requests until `reset_s` from now [s]."""

    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Response:
    """What came back.

    Attributes:
        latency_s: From send to last byte of the accepted attempt [s]; a cache hit carries the paid call's; None if
            a recording has none.
        ttft_s: Time to the first token [s], where the provider streams.
        model_version: What the provider says served the call (version or fingerprint).
        list_usd: Cost at list price [USD].
        billed_usd: Cost after our own cache hits [USD].
        attempts: Every attempt on the wire, in order; empty for a cache hit.
        rate_limit: What the provider says it still takes; never stored.
        fields: Columns recorded beside a replayed answer, for scorers; empty for live models, never stored.
    """

    text: str
    usage: Usage
    finish_reason: FinishReason = "stop"
    latency_s: float | None = None
    ttft_s: float | None = None
    model_version: str = ""
    list_usd: Decimal = ZERO
    billed_usd: Decimal = ZERO
    price_row: str = ""
    from_cache: bool = False
    attempts: tuple[Attempt, ...] = ()
    rate_limit: RateLimit | None = None
    fields: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", well_formed(self.text))


@dataclass(frozen=True, slots=True)
class Call:
    """One logical call: a request and its answer, or why there is none."""

    request: Request
    at: datetime
    response: Response | None = None
    error: str | None = None
    billed_usd: Decimal = ZERO
    """All attempts of this call, assumed money included [USD]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", self.error and well_formed(self.error))

    @property
    def origin(self) -> Origin:
        """On whose behalf the call was made."""
        return self.request.origin


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one answer; missing is a value with a reason. `beside` is what goes with it and is no metric."""

    origin: Origin
    scorer: str
    metric: str
    value: float | None
    reason: str | None = None
    provenance: str = ""
    beside: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"score {self.metric!r} is missing without a reason")
        if self.value is not None and self.value != self.value:
            raise ValueError(f"score {self.metric!r} is NaN: use None and a reason")
        object.__setattr__(self, "reason", self.reason and well_formed(self.reason))


Entry = Attempt | Call | Score


def most_bytes(max_tokens: int) -> int:
    """UTF-8 bytes beyond which an answer is not put to a judge, so that what judging will cost has a bound.

    Texts have 3 to 6 bytes a token; only runs of blanks or dots come near 16. A single token may have 128.
    """
    return 128 + 16 * max_tokens


def paid_usd(attempts: Iterable[Attempt]) -> Decimal:
    """What attempts cost, assumed money included [USD]."""
    return sum((attempt.billed_usd + attempt.assumed_usd for attempt in attempts), ZERO)
