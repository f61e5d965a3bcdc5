"""What a run will cost, before it costs anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from paretoken.analysis.prediction import MIN_SEEN, Prediction, predict_mean, unseen_rate
from paretoken.core.trials import Cell
from paretoken.core.usage import ZERO
from paretoken.experiment.judge_forecast import count_judges, read_judged
from paretoken.experiment.recorded import Prompts, Recorded, read_recorded
from paretoken.experiment.tally import Tally, VariantForecast, predicted_body
from paretoken.records import SqlCache, SqlJournal, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from decimal import Decimal

    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock
    from paretoken.core.trials import RunInfo, Variant
    from paretoken.experiment.design import Design
    from paretoken.records import Database

NOTHING = Prediction(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Room:
    """What a cap leaves: the cap in words, and the money [USD]."""

    name: str
    left_usd: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left of a run, before it is paid.

    Attributes:
        judges: Calls of each judge.
        predicted: 90 % interval of the cost of all variants and judges together [USD]; None where one has none.
        rooms: What each cap leaves to the run.
        spent_usd: What the run has spent so far [USD].
    """

    variants: tuple[VariantForecast, ...]
    predicted: Prediction | None
    rooms: tuple[Room, ...]
    spent_usd: Decimal
    judges: tuple[VariantForecast, ...] = ()

    @property
    def rows(self) -> tuple[VariantForecast, ...]:
        """Variants, then judges."""
        return (*self.variants, *self.judges)

    def total(self, name: str) -> Any:
        """Sum of a number over variants and judges."""
        return _sum(self.rows, name)

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
        """Plain JSON values for the lock: calls of variants that are to be sent, and what all will cost."""
        counts = ("calls", "cached", "to_send", "input_tokens", "output_tokens_max")
        return {
            **{name: _sum(self.variants, name) for name in counts},
            "exact": all(variant.exact for variant in self.variants),
            **{name: str(self.total(name)) for name in ("low_usd", "high_usd", "certain_usd")},
            "recorded": self.total("recorded"),
            "predicted": predicted_body(self.predicted),
            **({"judges": {name: _sum(self.judges, name) for name in counts}} if self.judges else {}),
        }


def _sum(rows: Sequence[VariantForecast], name: str) -> Any:
    return sum((getattr(row, name) for row in rows), type(getattr(rows[0], name))(0))


async def forecast(design: Design, database: Database | None, clock: Clock, run: RunInfo | None = None) -> Forecast:
    """Count calls and tokens, those of judges too, bound their cost, and predict it from recorded calls. Sends nothing.

    Args:
        design: The experiment.
        database: Where paid answers and recorded calls are looked up; None if there is no store yet.
        clock: Time.
        run: The run that will go on; what it recorded is not sent again.
    """
    caps = design.caps_of("" if run is None else run.scope)
    recorded: dict[str, Recorded] = {}
    if database is None:
        counted = await _count(design, None, frozenset())
        judges = await count_judges(design, None, None, "")
        spent_usd = [ZERO for _ in caps]
    else:
        cache = SqlCache(database, clock, design.spec.cache.max_age)
        rows = () if run is None else SqlJournal(database).rows(run.id, kind=["call"], role=["subject"])
        done = {(row.variant, row.sample, row.repeat) for row in rows}
        counted = await _count(design, cache, done)
        journal = None if run is None else SqlJournal(database)
        judges = await count_judges(design, cache, journal, "" if run is None else run.id)
        prompts = {row.id: Prompts(row.input_tokens / row.to_send, row.exact) for row in counted if row.certain_usd}
        recorded |= read_recorded(design, database, prompts) if prompts else {}
        recorded |= read_judged(design, database) if judges else {}
        ledger = SqlLedger(database, "")
        spent_usd = [sum(ledger.spent(cap.row(clock.now())), ZERO) for cap in caps]
    variants, asked = (tuple(predict_variant(row, recorded.get(row.id)) for row in part) for part in (counted, judges))
    names = ("budget", *(f"{cap.window or 'total'} cap on {cap.scope}" for cap in design.caps))
    rooms = tuple(
        _room(name, cap.usd, spent)
        for name, cap, spent in zip(names, caps, spent_usd, strict=True)
        if cap.usd is not None
    )
    return Forecast(variants, predict_total((*variants, *asked), recorded), rooms, spent_usd[0], asked)


def _room(name: str, limit_usd: Decimal, spent_usd: Decimal) -> Room:
    whole, left_usd = f"the {name} of ${limit_usd:f}", limit_usd - spent_usd
    return Room(f"what is left of {whole}, ${left_usd:f}" if spent_usd else whole, left_usd)


async def _count(
    design: Design, cache: SqlCache | None, done: Collection[tuple[str, str, int]]
) -> list[VariantForecast]:
    """What every variant has to send. Each prompt is rendered once per sample, for all its variants."""
    tallies = {variant.id: Tally(design.models[variant.model], design.spec.attempts) for variant in design.variants}
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
