"""What is known of each variant: quality, cost, latency, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.estimate import Estimate, quantile, t_interval
from paretoken.analysis.objectives import LATENCY_QUANTILES, split_quantile
from paretoken.core.usage import from_pico

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from paretoken.records.table import RecordTable


@dataclass(frozen=True, slots=True)
class VariantSummary:
    """One variant's numbers.

    Attributes:
        variant: Variant id.
        label: Its short label.
        n: Records, failed ones included.
        n_failed: Records without an answer.
        n_estimated: Answers whose usage the provider did not say: their cost is our estimate.
        estimates: Mean per answer by name, the numbers of a response and every metric; samples are the unit, repeats
            are averaged first.
        latency_s: Quantiles by name (`p50`, `p95`, `p99`) [s]; empty when no latency is known.
        list_usd_total: Sum over the records [USD].
        billed_usd_total: All attempts, those that led to no record and assumed money included [USD].
        list_usd_per_1k_tokens: List cost per 1,000 tokens, input and output together [USD]; None without tokens.
        missing: Reasons why values of a metric are missing, with counts, by metric.
        notes: Remarks on values of a metric, with counts, by metric.
        n_samples: Samples that were answered.
        n_alike: Most samples with one and the same answer; 0 where texts are not kept.
        n_cut: Answers that end at their limit of tokens.
        n_withheld: Answers that the provider's filter withheld.
        n_thought: Answers that hold their thinking, in `<think>` tags.
        thinking_rate: Share of thinking in the texts of those.
    """

    variant: str
    label: str
    n: int
    n_failed: int
    n_estimated: int
    estimates: Mapping[str, Estimate]
    latency_s: Mapping[str, float]
    list_usd_total: Decimal
    billed_usd_total: Decimal
    list_usd_per_1k_tokens: float | None
    missing: Mapping[str, Mapping[str, int]]
    notes: Mapping[str, Mapping[str, int]]
    n_samples: int
    n_alike: int
    n_cut: int = 0
    n_withheld: int = 0
    n_thought: int = 0
    thinking_rate: float = 0.0

    @property
    def error_rate(self) -> float:
        """Share of records without an answer."""
        return self.n_failed / self.n if self.n else 0.0

    def value(self, objective: str) -> float | None:
        """Value of an objective: an estimate's mean, `latency_s.p95`, or `error_rate`; None if unknown."""
        if objective == "error_rate":
            return self.error_rate
        name, q = split_quantile(objective)
        if q:
            return self.latency_s.get(q)
        estimate = self.estimates.get(name)
        return None if estimate is None else estimate.mean


def summarize(table: RecordTable, labels: Mapping[str, str]) -> list[VariantSummary]:
    """Summaries of all variants.

    Args:
        table: Records of one run.
        labels: Label by variant id; also the order of the result. Variants without records are left out.
    """
    return [_summary(id_, label, rows) for id_, label in labels.items() if len(rows := table.of(id_))]


def _summary(variant: str, label: str, rows: RecordTable) -> VariantSummary:
    estimates = {name: t_interval(means) for name in rows.values if len(means := rows.sample_means(name)[1])}
    latencies = rows.values["latency_s"]
    latencies = latencies[~np.isnan(latencies)]
    list_usd = from_pico(int(rows.list_pico.sum()))
    tokens = float(np.nansum(rows.values["input_tokens"] + rows.values["output_tokens"]))
    return VariantSummary(
        variant=variant,
        label=label,
        n=len(rows),
        n_failed=int(rows.failed.sum()),
        n_estimated=int(rows.estimated.sum()),
        n_cut=int(rows.cut.sum()),
        n_withheld=int(rows.withheld.sum()),
        n_thought=int(rows.thought.sum()),
        thinking_rate=rows.thinking_rate.get(variant, 0.0),
        estimates=estimates,
        latency_s={k: q for k, p in LATENCY_QUANTILES.items() if (q := quantile(latencies, p)) is not None},
        list_usd_total=list_usd,
        billed_usd_total=from_pico(int(rows.bill_pico.sum()) + rows.unanswered_pico[variant]),
        list_usd_per_1k_tokens=float(list_usd) * 1000 / tokens if tokens else None,
        missing={metric: counts[variant] for metric, counts in rows.missing.items() if variant in counts},
        notes={metric: counts[variant] for metric, counts in rows.notes.items() if variant in counts},
        n_samples=len(np.unique(rows.sample[~rows.failed])),
        n_alike=rows.most_alike(),
    )
