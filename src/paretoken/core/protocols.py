"""The seams of the house. Protocols, not base classes; each has a conformance suite in `paretoken.testing`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from paretoken.core.calls import Origin, most_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from paretoken.core.calls import Entry, Request, Response
    from paretoken.core.trials import Done, Record, RunInfo, Trial, Variant, Wait
    from paretoken.core.usage import Price


@runtime_checkable
class ChatModel(Protocol):
    """A provider, every gateway layer, a router, a replay: all one shape."""

    async def generate(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            ProviderError: No usable answer; its `billing` says whether the attempt is paid.
            LimitError: A budget or quota forbids sending it.
        """
        ...


class Provider(ChatModel, Protocol):
    """The innermost `ChatModel`: the one that talks to an engine.

    Attributes:
        slots: How many requests the engine works on at once; None if it does not say.
        recorded: True if answers were paid for earlier and elsewhere, so that nothing is billed now.
    """

    @property
    def slots(self) -> int | None: ...  # noqa: D102
    @property
    def recorded(self) -> bool: ...  # noqa: D102

    async def count_tokens(self, request: Request) -> int | None:
        """Prompt tokens by the provider's own tokeniser where it is local, else None."""
        ...

    async def aclose(self) -> None:
        """Give back connections, threads and memory."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """What a provider is made from.

    Attributes:
        id: Model id as the spec writes it, `provider/name`.
        name: The id without the provider.
        base_url: Endpoint, where the provider has one; empty for its default.
        api_key_env: Name of the environment variable that holds the key; empty for the provider's default.
        timeout_s: Time a request may take [s].
        options: Further keys of the model's entry in the spec; the provider refuses those it does not know.
        root: Folder that relative paths in `options` are relative to.
    """

    id: str
    name: str
    base_url: str = ""
    api_key_env: str = ""
    timeout_s: float = 120.0
    options: Mapping[str, object] = field(default_factory=dict)
    root: Path = Path()


class ProviderFactory(Protocol):
    """What an entry point in the group `paretoken.models` names."""

    def __call__(self, config: ProviderConfig, clock: Clock) -> Provider:
        """Make a provider without connecting, loading or downloading anything yet.

        Raises:
            SpecError: An option is unknown or of the wrong type, a file or a key is missing.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """An answer to be scored.

    Attributes:
        answer: What the model wrote.
        input: The sample's input text.
        reference: What a good answer looks like, if the sample has one.
        fields: Every column of the sample; recorded scores and rule checks read from here.
        further_references: Other good answers.
        origin: Whose answer it is; a scorer that makes calls makes them on the same behalf, as a judge.
        others: What other models answered to the same sample; empty but for scorers that are `Comparing`.
        max_tokens: Limit that its model was given; None where the answer was not made for it.
    """

    answer: str
    input: str
    reference: str | None
    fields: Mapping[str, object]
    further_references: tuple[str, ...] = ()
    origin: Origin = Origin()  # noqa: RUF009 - frozen
    others: tuple[str, ...] = ()
    max_tokens: int | None = None

    @property
    def is_overlong(self) -> bool:
        """Whether it is longer than any answer whose cost could be bounded before it was there."""
        return self.max_tokens is not None and len(self.answer.encode()) > most_bytes(self.max_tokens)

    @property
    def references(self) -> tuple[str, ...]:
        """Every reference that is not blank."""
        return tuple(text for text in (self.reference or "", *self.further_references) if text.strip())


LARGEST_SCORE = 1e100
"""Size up to which squares and sums of scores stay finite."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One metric's value for one item.

    Attributes:
        value: None where there is none.
        reason: Why there is none; of a value a caution, e.g. that the text was cut.
        beside: Numbers by name that tell how far to trust the value, and are no metric: nothing is ranked by them.
    """

    metric: str
    value: float | None
    reason: str | None = None
    beside: Mapping[str, float] = field(default_factory=dict)


class Scorer(Protocol):
    """Judges answers, batch first.

    Attributes:
        name: As the spec writes it.
        metrics: Names of the metrics it gives, best known before the run.
        needs_reference: True if samples without a reference cannot be scored.
        provenance: What the numbers depend on (model, layer, versions); scores of different provenance never mix.
        ranges: Least and largest value by metric. Tests that may be looked at before their end rest on them; a metric
            that has no bounds is left out, and gets asymptotic intervals.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def metrics(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def needs_reference(self) -> bool: ...  # noqa: D102
    @property
    def provenance(self) -> str: ...  # noqa: D102
    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]: ...  # noqa: D102

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch.

        Args:
            items: Answers, shape `(n,)`.

        Returns:
            One list per item, in order, shape `(n, n_metrics)`; larger is better unless the metric's name says not.

        Raises:
            ScoreError: The batch cannot be scored honestly (e.g. the encoder does not know the language).
        """
        ...


@runtime_checkable
class Fetching(Protocol):
    """A scorer that may need something from elsewhere, e.g. an encoder's weights."""

    async def fetch(self) -> None:
        """Get it, before anything is spent; `provenance` is final after that.

        Raises:
            ScoreError: It cannot be had.
        """
        ...


@runtime_checkable
class Judging(Scorer, Protocol):
    """A scorer that asks a model: it is made without one, so that a plan can be, and handed one before it scores.

    Attributes:
        model: Id of the model that it asks.
        options: What its entry in the spec says of that model: price, limits and options of the provider.
        columns: Columns that it reads.
        facts: What is to be known of its scores when they are read, as plain JSON values.
    """

    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def options(self) -> Mapping[str, object]: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, object]: ...  # noqa: D102

    def requests(self, item: ScoreItem) -> tuple[Request, ...]:
        """What it asks to score an item, all of it; nothing where it needs no answer."""
        ...

    def check(self, fields: Mapping[str, object]) -> None:
        """Look at what it will read of a sample, before anything is spent.

        Raises:
            ScoreError: It cannot be used.
        """
        ...

    def asking(self, model: ChatModel, *, quotes: bool) -> Scorer:
        """The same scorer with the model that it asks.

        Args:
            model: Answers its requests, which bear the origin of the item with the role `judge`.
            quotes: Whether reasons may quote what the model wrote; not where the run keeps no texts.
        """
        ...


@runtime_checkable
class Comparing(Protocol):
    """A scorer that needs the answers of other models; it is asked at the end of a run, when all are there."""

    @property
    def needs_others(self) -> bool: ...  # noqa: D102


class Planner(Protocol):
    """Decides what to try next: A/B, grid, search and race share one runner.

    Attributes:
        findings: What it has decided so far, as plain JSON values for the run's lock; a new mapping when it changes.
        variants: What it has tried so far, or will.
    """

    @property
    def findings(self) -> Mapping[str, object]: ...  # noqa: D102
    @property
    def variants(self) -> Sequence[Variant]: ...  # noqa: D102

    def ask(self) -> Trial | Wait | Done:
        """Give the next trial."""
        ...

    def tell(self, trial: Trial, records: Sequence[Record]) -> None:
        """Take the records a trial left, one per cell, failed ones included."""
        ...


class RecordStore(Protocol):
    """A journal: entries are appended and read back in order."""

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, all or none; inside an event loop they are on disk once `committed` returns, else at once."""
        ...

    async def committed(self) -> None:
        """Return once everything written so far is on disk, with what the ledger and cache wrote beside it.

        Raises:
            StoreError: It could not be written.
        """
        ...

    def read(self, run: str, after: int = 0) -> Iterable[tuple[int, Entry]]:
        """Entries of a run in order of writing.

        Args:
            run: Run id.
            after: Sequence number of the last entry already seen.

        Yields:
            `(sequence number, entry)`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Hold:
    """Money reserved for one attempt.

    Attributes:
        scopes: Where it is reserved.
        bound_usd: How much in each of them [USD].
        key: Key of the request.
        origin: On whose behalf it is sent.
    """

    id: int
    scopes: tuple[str, ...]
    bound_usd: Decimal
    key: str
    origin: Origin


class Ledger(Protocol):
    """Money per scope, with a cap that holds at any concurrency."""

    def set_limits(self, limits: Mapping[str, Decimal | None]) -> None:
        """Open scopes or change their caps [USD]; None is a scope without a cap."""
        ...

    def hold(self, scopes: Sequence[str], bound_usd: Decimal, key: str, origin: Origin) -> Hold:
        """Reserve the upper bound of an attempt in every scope, or in none.

        Raises:
            BudgetExceeded: It does not fit; `held` on the error says how much may come back.
        """
        ...

    async def committed(self) -> None:
        """Return once everything written so far is on disk: only then may a held call be sent.

        Raises:
            StoreError: It could not be written.
        """
        ...

    def settle(self, hold: Hold, billed_usd: Decimal, assumed_usd: Decimal) -> None:
        """Book what the attempt cost and give the rest of the hold back.

        Args:
            hold: The reservation.
            billed_usd: Known cost [USD].
            assumed_usd: Cost booked because the outcome is unknown, at most the bound [USD].
        """
        ...

    def release(self, hold: Hold) -> None:
        """Give the whole hold back: nothing was sent, or it is known to be free."""
        ...


class PriceSource(Protocol):
    """Prices as dated rows."""

    def price(self, model: str, at: datetime) -> Price:
        """The row in force for a model.

        Raises:
            UnknownPrice: There is none; never zero.
        """
        ...


class ResponseCache(Protocol):
    """Answers by content address."""

    def get(self, key: str) -> Response | None:
        """The stored answer, with the paid call's cost and latency, or None."""
        ...

    def put(self, key: str, response: Response) -> None:
        """Keep an answer."""
        ...


class Tracker(Protocol):
    """Follows a run from outside, e.g. MLflow."""

    def prepare(self) -> None:
        """Get ready in the background; calls are about to be sent."""
        ...

    def on_trial(self, run: RunInfo, trial: Trial, records: Sequence[Record]) -> None:
        """A trial's records are complete."""
        ...

    def on_run(self, run: RunInfo) -> None:
        """The run has ended; everything is in the records."""
        ...


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """Current time in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back [s]."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait [s]."""
        ...
