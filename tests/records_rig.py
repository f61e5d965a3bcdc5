"""Records made by hand, and the columns that statistics read."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

from paretoken.core.calls import Call, Message, Origin, Request, Response, Score
from paretoken.core.trials import Record
from paretoken.core.usage import Usage
from paretoken.records.codec import encode
from paretoken.records.table import build_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paretoken.records.table import RecordTable

AT = datetime(2026, 1, 5, tzinfo=UTC)


def record(
    sample: str,
    variant: str = "a",
    repeat: int = 0,
    *,
    score: float | None = 0.5,
    usd: str | None = "0.001",
    latency_s: float | None = 0.5,
) -> Record:
    """A record; without `usd` it failed."""
    origin = Origin("run", sample, variant, repeat)
    request = Request("m", (Message("user", "x"),), 10, repeat=repeat, origin=origin)
    if usd is None:
        return Record(sample, variant, repeat, Call(request, AT, error="Timeout"), {})
    response = Response("text", Usage(10, 20), latency_s=latency_s, list_usd=Decimal(usd), billed_usd=Decimal(usd))
    given = Score(origin, "s", "f1", score, None if score is not None else "empty reference")
    return Record(sample, variant, repeat, Call(request, AT, response, billed_usd=Decimal(usd)), {"f1": given})


def arm(scores: Sequence[float], costs: Sequence[float] | None = None, variant: str = "a") -> list[Record]:
    """A variant's records of samples s0, s1, ..."""
    usd = [0.001] * len(scores) if costs is None else costs
    return [
        record(f"s{i}", variant, score=float(s), usd=f"{c:.12f}")
        for i, (s, c) in enumerate(zip(scores, usd, strict=True))
    ]


def table_of(records: Iterable[Record]) -> RecordTable:
    """Records as the columns that statistics read."""

    def rows() -> Iterator[SimpleNamespace]:
        for r in records:
            for entry in (r.call, *r.scores.values()):
                kind, body = encode(entry)
                yield SimpleNamespace(
                    role="subject", kind=kind, body=body, sample=r.sample, variant=r.variant, repeat=r.repeat
                )

    return build_table(rows())
