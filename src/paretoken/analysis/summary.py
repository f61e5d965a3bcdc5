"""What is known of each variant: quality, cost, latency, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretoken.analysis.estimate import Estimate, cluster_means, quantile, t_interval
from paretoken.core.usage import ZERO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from paretoken.core.calls import Response
    from paretoken.core.trials import Record

LATENCY_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

COLUMNS: Mapping[str, Callable[[Response], float | None]] = {
    "list_usd": lambda response: float(response.list_usd),
    "billed_usd": lambda response: float(response.billed_usd),
    "input_tokens": lambda response: float(response.usage.input_tokens),
    "output_tokens": lambda response: float(response.usage.output_tokens),
    "latency_s": lambda response: response.latency_s,
}
"""What a response says, by the name that objectives and comparisons use."""


@dataclass(frozen=True, slots=True)
class VariantSummary:
    """One variant's numbers.

    Attributes:
        variant: Variant id.
        label: Its short label.
        n: Records, failed ones included.
        n_failed: Records without an answer.
        estimates: Mean per answer by name: `list_usd`, `billed_usd`, `input_tokens`, `output_tokens`, `latency_s`
            and every metric; samples are the unit, repeats are averaged first.
        latency_s: Quantiles by name (`p50`, `p95`, `p99`) [s]; empty when no latency is known.
        list_usd_total, billed_usd_total: Sums over the records [USD].
        list_usd_per_1k_tokens: List cost per 1,000 tokens, input and output together [USD]; None without tokens.
        missing: Reasons why values of a metric are missing, with counts, by metric.
    """

    variant: str
    label: str
    n: int
    n_failed: int
    estimates: Mapping[str, Estimate]
    latency_s: Mapping[str, float]
    list_usd_total: Decimal
    billed_usd_total: Decimal
    list_usd_per_1k_tokens: float | None
    missing: Mapping[str, Mapping[str, int]]

    @property
    def error_rate(self) -> float:
        """Share of records without an answer."""
        return self.n_failed / self.n if self.n else 0.0

    def value(self, objective: str) -> float | None:
        """Value of an objective: an estimate's mean, `latency_s.p95`, or `error_rate`; None if unknown."""
        if objective == "error_rate":
            return self.error_rate
        name, _, q = objective.partition(".")
        if q:
            return self.latency_s.get(q) if name == "latency_s" else None
        estimate = self.estimates.get(name)
        return None if estimate is None else estimate.mean


def column(record: Record, name: str) -> float | None:
    """Value of a record by name: a number of its response, or one of its metrics; None if missing."""
    if name in COLUMNS:
        return None if record.call.response is None else COLUMNS[name](record.call.response)
    score = record.scores.get(name)
    return None if score is None else score.value


def summarize(records: Iterable[Record], labels: Mapping[str, str]) -> list[VariantSummary]:
    """Summaries of all variants.

    Args:
        records: Records of one run.
        labels: Label by variant id; also the order of the result. Variants without records are left out.
    """
    by_variant: dict[str, list[Record]] = {variant: [] for variant in labels}
    for record in records:
        by_variant[record.variant].append(record)
    return [_summary(id_, labels[id_], own) for id_, own in by_variant.items() if own]


def _summary(variant: str, label: str, records: Sequence[Record]) -> VariantSummary:
    metrics = list(dict.fromkeys(name for record in records for name in record.scores))
    estimates = {}
    for name in (*COLUMNS, *metrics):
        pairs = [(value, record.sample) for record in records if (value := column(record, name)) is not None]
        if pairs:
            values, samples = zip(*pairs, strict=True)
            estimates[name] = t_interval(cluster_means(values, samples))
    responses = [record.call.response for record in records if record.call.response is not None]
    latencies = [response.latency_s for response in responses if response.latency_s is not None]
    list_usd = sum((response.list_usd for response in responses), ZERO)
    tokens = sum(response.usage.input_tokens + response.usage.output_tokens for response in responses)
    missing: dict[str, dict[str, int]] = {}
    for record in records:
        for name, score in record.scores.items():
            if score.reason is not None:
                reasons = missing.setdefault(name, {})
                reasons[score.reason] = reasons.get(score.reason, 0) + 1
    return VariantSummary(
        variant=variant,
        label=label,
        n=len(records),
        n_failed=len(records) - len(responses),
        estimates=estimates,
        latency_s={k: q for k, p in LATENCY_QUANTILES.items() if (q := quantile(latencies, p)) is not None},
        list_usd_total=list_usd,
        billed_usd_total=sum((record.call.billed_usd for record in records), ZERO),
        list_usd_per_1k_tokens=float(list_usd) * 1000 / tokens if tokens else None,
        missing=missing,
    )
