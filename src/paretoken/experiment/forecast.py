"""What a run will cost, before it costs anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from paretoken.analysis.prediction import MIN_SEEN, Prediction, predict_mean, unseen_rate
from paretoken.core.trials import Cell
from paretoken.core.usage import ZERO, Usage
from paretoken.experiment.recorded import Prompts, Recorded, read_recorded
from paretoken.gateway.budget import bound_usd
from paretoken.models.estimate import estimate_tokens
from paretoken.records import SqlCache, SqlJournal, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock
    from paretoken.core.trials import RunInfo, Variant
    from paretoken.experiment.design import Design, ModelDesign
    from paretoken.records import Database

NOTHING = Prediction(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class VariantForecast:
    """Calls of one variant.

    Attributes:
        calls: Planned calls.
        cached: How many of them were answered before, by this run or another, and cost nothing more.
        to_send: How many are to be sent; what follows is of these.
        samples: Their samples.
        input_tokens: Their prompt tokens.
        exact: Whether prompt tokens were counted by the provider's own tokeniser.
        output_tokens_max: Most tokens that can come back.
        low_usd: Cost if every answer were a single token [USD].
        high_usd: Cost if every answer used its whole limit, each sent once [USD].
        certain_usd: Upper bound that holds whatever the tokeniser does and however often calls are retried [USD].
        recorded: Recorded calls that `predicted` rests on, or would if there were more.
        same: They are of this very variant, not of one that is alike.
        output_tokens: Expected answer tokens; None where too few calls are recorded.
        predicted: 90 % interval of the cost [USD]; None where too few calls are recorded.
    """

    id: str
    label: str
    calls: int
    cached: int
    to_send: int = 0
    samples: int = 0
    input_tokens: int = 0
    exact: bool = True
    output_tokens_max: int = 0
    low_usd: Decimal = ZERO
    high_usd: Decimal = ZERO
    certain_usd: Decimal = ZERO
    recorded: int = 0
    same: bool = True
    output_tokens: int | None = None
    predicted: Prediction | None = None

    def body(self) -> dict[str, Any]:
        """Plain values, money exact."""
        return asdict(self) | {"predicted": predicted_body(self.predicted)}


@dataclass(frozen=True, slots=True)
class Room:
    """What a cap leaves: the cap in words, and the money [USD]."""

    name: str
    left_usd: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left of a run, before it is paid.

    Attributes:
        predicted: 90 % interval of the cost of all variants together [USD]; None where one has none.
        rooms: What each cap leaves to the run.
        spent_usd: What the run has spent so far [USD].
    """

    variants: tuple[VariantForecast, ...]
    predicted: Prediction | None
    rooms: tuple[Room, ...]
    spent_usd: Decimal

    def total(self, name: str) -> Any:
        """Sum of a number over the variants."""
        return sum((getattr(variant, name) for variant in self.variants), type(getattr(self.variants[0], name))(0))

    @property
    def verdict(self) -> str:
        """The cost against the cap that leaves least, in words."""
        if not self.rooms:
            return "no budget is set: the run has no cap"
        room = min(self.rooms, key=lambda room: room.left_usd)
        if self.total("certain_usd") <= room.left_usd:
            return f"fits {room.name}: even the certain upper bound is below it"
        if self.total("low_usd") > room.left_usd:
            return f"cannot finish within {room.name}: even the shortest answers cost more"
        if (known := self.predicted) is not None:
            low, high, why = known.low, known.high, "the 90 % interval lies"
        else:
            low, high, why = self.total("low_usd"), self.total("high_usd"), "the cost of short to long answers lies"
        if high <= room.left_usd:
            return f"expected to fit {room.name}: {why} below it"
        word, where = ("expected to", "above") if low > room.left_usd else ("may", "around")
        return f"{word} reach {room.name} before the end: {why} {where} it; the run then stops and can be resumed"

    def body(self) -> dict[str, Any]:
        """Plain JSON values for the lock: what is to be sent, and what that will cost."""
        return {
            "calls": self.total("calls"),
            "cached": self.total("cached"),
            "to_send": self.total("to_send"),
            "input_tokens": self.total("input_tokens"),
            "exact": all(variant.exact for variant in self.variants),
            "output_tokens_max": self.total("output_tokens_max"),
            "low_usd": str(self.total("low_usd")),
            "high_usd": str(self.total("high_usd")),
            "certain_usd": str(self.total("certain_usd")),
            "recorded": self.total("recorded"),
            "predicted": predicted_body(self.predicted),
        }


def predicted_body(found: Prediction | None, spent_usd: float = 0.0) -> dict[str, float] | None:
    """A predicted cost as plain JSON values, what was spent before included [USD]."""
    if found is None:
        return None
    usd, low_usd, high_usd = (spent_usd + end for end in (found.expected, found.low, found.high))
    return {"usd": usd, "low_usd": low_usd, "high_usd": high_usd, "n": found.n}


async def forecast(design: Design, database: Database | None, clock: Clock, run: RunInfo | None = None) -> Forecast:
    """Count calls and tokens, bound their cost, and predict it from recorded calls. Sends nothing.

    Args:
        design: The experiment.
        database: Where paid answers and recorded calls are looked up; None if there is no store yet.
        clock: Time.
        run: The run that will go on; what it recorded is not sent again.
    """
    caps = design.caps_of("" if run is None else run.scope)
    if database is None:
        counted = await _count(design, None, frozenset())
        recorded: dict[str, Recorded] = {}
        spent_usd = [ZERO for _ in caps]
    else:
        rows = () if run is None else SqlJournal(database).rows(run.id, kind=["call"], role=["subject"])
        done = {(row.variant, row.sample, row.repeat) for row in rows}
        counted = await _count(design, SqlCache(database, clock, design.spec.cache.max_age), done)
        prompts = {row.id: Prompts(row.input_tokens / row.to_send, row.exact) for row in counted if row.certain_usd}
        recorded = read_recorded(design, database, prompts) if prompts else {}
        ledger = SqlLedger(database, "")
        spent_usd = [sum(ledger.spent(cap.row(clock.now())), ZERO) for cap in caps]
    variants = tuple(predict_variant(row, recorded.get(row.id)) for row in counted)
    names = ("budget", *(f"{cap.window or 'total'} cap on {cap.scope}" for cap in design.caps))
    rooms = tuple(
        _room(name, cap.usd, spent)
        for name, cap, spent in zip(names, caps, spent_usd, strict=True)
        if cap.usd is not None
    )
    return Forecast(variants, predict_total(variants, recorded), rooms, spent_usd[0])


def _room(name: str, limit_usd: Decimal, spent_usd: Decimal) -> Room:
    whole, left_usd = f"the {name} of ${limit_usd:f}", limit_usd - spent_usd
    return Room(f"what is left of {whole}, ${left_usd:f}" if spent_usd else whole, left_usd)


async def _count(
    design: Design, cache: SqlCache | None, done: Collection[tuple[str, str, int]]
) -> list[VariantForecast]:
    """What every variant has to send. Each prompt is rendered once per sample, for all its variants."""
    tallies = {variant.id: _Tally(design.models[variant.model], design.spec.attempts) for variant in design.variants}
    for prompt in design.prompts:
        variants = [variant for variant in design.variants if variant.prompt == prompt]
        for sample in design.samples:
            counts: dict[tuple[str, object], int | None] = {}
            for variant in variants:
                request = design.request(variant, Cell(sample), run="")
                n = _n_open(design, variant, request, cache, done)
                same = variant.model, dict(variant.params).get("edits")
                if n and same not in counts:
                    counts[same] = await design.models[variant.model].provider.count_tokens(request)
                if n:
                    tallies[variant.id].add(request, counts[same], n)
    n_cells = len(design.samples) * design.spec.repeats
    return [
        VariantForecast(v.id, design.labels[v.id], n_cells, n_cells - tallies[v.id].to_send, **tallies[v.id].sums())
        for v in design.variants
    ]


def _n_open(
    design: Design,
    variant: Variant,
    request: Request,
    cache: SqlCache | None,
    done: Collection[tuple[str, str, int]],
) -> int:
    """How many repeats of a sample nothing answers; `request` is the first one's."""
    model, sample = design.models[variant.model], request.origin.sample
    if model.provider.recorded:
        return 0
    reads = cache is not None and design.cache_mode(model) == "read_write"
    n = 0
    for repeat in range(design.spec.repeats):
        if (variant.id, sample, repeat) in done:
            continue
        if reads and cache is not None:
            key = request.key if repeat == 0 else design.request(variant, Cell(sample, repeat), run="").key
            if cache.has(key):
                continue
        n += 1
    return n


class _Tally:
    """Sums over the calls that a variant has to send."""

    def __init__(self, model: ModelDesign, attempts: int) -> None:
        self._price, self._attempts = model.price, attempts
        self._timeout_s = getattr(model.entry, "timeout_s", 0.0)
        self._costs: dict[int, tuple[Decimal, Decimal]] = {}
        self.to_send = self.samples = self.input_tokens = self.output_tokens_max = 0
        self.exact = True
        self.low_usd = self.high_usd = self.certain_usd = ZERO

    def add(self, request: Request, counted: int | None, n: int) -> None:
        """Take n calls with the prompt of a request."""
        tokens = sum(estimate_tokens(m.content) for m in request.messages) if counted is None else counted
        low, high = self._costs.get(tokens) or self._costs.setdefault(tokens, self._cost(tokens, request.max_tokens))
        self.exact = self.exact and counted is not None
        self.to_send += n
        self.samples += 1
        self.input_tokens += n * tokens
        self.output_tokens_max += n * request.max_tokens
        self.low_usd += n * low
        self.high_usd += n * high
        self.certain_usd += n * self._attempts * bound_usd(request, self._price, self._timeout_s)

    def _cost(self, tokens: int, max_tokens: int) -> tuple[Decimal, Decimal]:
        compute_s = Decimal(str(self._timeout_s))
        return (
            self._price.cost(Usage(input_tokens=tokens, output_tokens=1)),
            self._price.cost(Usage(input_tokens=tokens, output_tokens=max_tokens, compute_s=compute_s)),
        )

    def sums(self) -> dict[str, Any]:
        """The sums by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def predict_variant(row: VariantForecast, recorded: Recorded | None) -> VariantForecast:
    """A variant's forecast with its interval, where enough calls are recorded or nothing can be billed."""
    if not row.certain_usd:
        return replace(row, predicted=NOTHING, output_tokens=None if row.to_send else 0)
    if recorded is None or not recorded.calls:
        return row
    import numpy as np

    row = replace(row, recorded=len(recorded.calls), same=recorded.same)
    usd = recorded.usd_by_sample
    if len(usd) < MIN_SEEN:
        return row
    mean = predict_mean(row.to_send * np.array(list(usd.values())), row.samples)
    below, above = _slack(row, recorded, mean.expected)
    tokens = recorded.output_tokens
    return replace(
        row,
        output_tokens=round(row.to_send * sum(tokens) / len(tokens)),
        predicted=_within(row.low_usd, row.certain_usd, replace(mean, low=mean.low - below, high=mean.high + above)),
    )


def _slack(row: VariantForecast, recorded: Recorded, expected: float) -> tuple[float, float]:
    """What answers of another length could change where all recorded ones have the same [USD].

    Answers cut at `max_tokens` vary in no recorded call, nor do those of one fixed word: that is no proof that all
    others will be like them.
    """
    length, *others = set(recorded.output_tokens)
    if others:
        return 0.0, 0.0
    rate = unseen_rate(len(recorded.usd_by_sample))
    longest = expected * row.output_tokens_max / (row.to_send * max(length, 1))
    return rate * max(expected - float(row.low_usd), 0), rate * max(min(float(row.high_usd), longest) - expected, 0)


def predict_total(rows: Sequence[VariantForecast], recorded: Mapping[str, Recorded]) -> Prediction | None:
    """The interval of all variants together.

    Variants meet the same samples, and a sample that makes one of them talk makes the others talk: the sums over
    variants of the samples that all have recorded carry that. Without enough of those the ends of the variants'
    intervals are added, as if all were long together.
    """
    parts = [row for row in rows if row.certain_usd]
    known = [row.predicted for row in parts if row.predicted is not None]
    if not parts or len(known) < len(parts):
        return None if parts else NOTHING
    expected, low, high = (sum(getattr(p, name) for p in known) for name in ("expected", "low", "high"))
    n = min(p.n for p in known)
    usd = [recorded[row.id].usd_by_sample for row in parts]
    common = [sample for sample in usd[0] if all(sample in other for other in usd)]
    if len(common) >= MIN_SEEN:
        import numpy as np

        sums = [sum(row.to_send * own[s] for row, own in zip(parts, usd, strict=True)) for s in common]
        joint = predict_mean(np.array(sums), max(row.samples for row in parts))
        slack = [_slack(row, recorded[row.id], p.expected) for row, p in zip(parts, known, strict=True)]
        below, above = (sum(side) for side in zip(*slack, strict=True))
        low, high = expected + joint.low - joint.expected - below, expected + joint.high - joint.expected + above
        n = joint.n
    low_usd, certain_usd = (sum((getattr(row, name) for row in parts), ZERO) for name in ("low_usd", "certain_usd"))
    return _within(low_usd, certain_usd, Prediction(expected, low, high, n))


def _within(low_usd: Decimal, certain_usd: Decimal, found: Prediction) -> Prediction:
    """An interval without what is impossible."""
    least, most = float(low_usd), float(certain_usd)
    return replace(found, low=max(found.low, min(least, found.expected)), high=min(found.high, most))
