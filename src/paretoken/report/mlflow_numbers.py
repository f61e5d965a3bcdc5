"""What of a run is a number or a tag in MLflow: names, so that its table sorts and filters by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.report.mlflow_keys import PER_1K, REST, metric_key, shown_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Metric

    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison
    from paretoken.report.estimate import CostEstimate
    from paretoken.report.verdicts import Course


def variant_numbers(results: Results, standing: Standing) -> dict[str, float]:
    """A variant's objectives and quality metrics; the rest of its estimates and its place under `x/`."""
    summary, volume = standing.summary, results.front_volume
    first: dict[str, float | None] = {}
    for name in dict.fromkeys((*results.objectives.names, *results.metrics, "list_usd")):
        value = summary.value(name)
        first[shown_key(name)] = 1000 * value if value is not None and name in PER_1K else value
    rest: dict[str, float | None] = {}
    for name, estimate in summary.estimates.items():
        rest |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    rest |= {f"latency_s_{q}": value for q, value in summary.latency_s.items()}
    rest |= {
        "n": float(summary.n),
        "error_rate": summary.error_rate,
        "list_usd_total": float(summary.list_usd_total),
        "billed_usd_total": float(summary.billed_usd_total),
        "usd_per_1k_tokens": summary.list_usd_per_1k_tokens,
        "on_front": float(standing.on_front),
        "dominated": float(is_dominated(standing)),
        "rank": standing.rank,
        "hypervolume_added": None if volume is None else volume.added.get(summary.variant),
    }
    numbers = first | {
        f"{REST}{metric_key(name)}": value for name, value in rest.items() if metric_key(name) not in first
    }
    return {name: value for name, value in numbers.items() if value is not None}


def is_dominated(standing: Standing) -> bool:
    """Whether another variant beats it: by what a race decided, or else at the estimated values."""
    left = standing.departure
    if left is not None and left.fate != "open":
        return left.fate == "beaten"
    return bool(standing.dominated_by)


def standing_tags(standing: Standing) -> dict[str, str]:
    """Where a variant stands, and what became of it in a race."""
    tags = {"dominated": str(is_dominated(standing)).lower(), "on_front": str(standing.on_front).lower()}
    tags |= {} if standing.rank is None else {"rank": str(standing.rank)}
    if (left := standing.departure) is not None:
        tags |= {"fate": left.fate, "stopped_by": ", ".join(left.by or left.limits)}
    return tags


def finding_tags(comparison: Comparison) -> dict[str, str]:
    """What is found of a treatment, in whole and by quantity."""
    tags = {"verdict": comparison.sentence, "verdict.short": comparison.verdict}
    return tags | {f"verdict.{metric_key(j.difference.name)}": j.finding for j in comparison.judged}


def difference_numbers(comparison: Comparison) -> dict[str, float]:
    """The final intervals, in the quantities' units and relative to the control."""
    numbers: dict[str, float | None] = {}
    for judgement in (*comparison.judged, *(j for j in comparison.others if j not in comparison.judged)):
        d = judgement.difference
        found = {"difference": (d.difference, d.low, d.high), "relative": (d.relative, d.relative_low, d.relative_high)}
        for kind, interval in found.items():
            for end, value in zip(("", "_low", "_high"), interval, strict=True):
                numbers[f"{REST}{kind}/{metric_key(d.name)}{end}"] = value
    return {name: value for name, value in numbers.items() if value is not None}


def path_metrics(course: Course, at_ms: int) -> Iterator[Metric]:
    """How each judged interval shrank: the step is the number of samples."""
    from mlflow.entities import Metric

    for name, points in course.paths.items():
        for n, d in points:
            for end, value in (("", d.difference), ("_low", d.low), ("_high", d.high)):
                if value is not None:
                    yield Metric(f"{REST}path/{metric_key(name)}{end}", value, at_ms, n)


def agreement_numbers(results: Results) -> dict[str, float]:
    """What is known of every judge, as `judge/<metric>/<number>`."""
    numbers: dict[str, float | None] = {}
    for judge in results.agreements:
        name = f"judge/{metric_key(judge.metric)}"
        numbers |= {f"{name}/same_grade_rate": judge.exact, f"{name}/flip_rate": judge.flip_rate,
                    f"{name}/length_correlation": judge.length_correlation}  # fmt: skip
        for what, interval in (("kappa", judge.kappa), ("length_bias", judge.length_bias)):
            for end, value in zip(("", "_low", "_high"), interval or (), strict=False):
                numbers[f"{name}/{what}{end}"] = value
    return {name: value for name, value in numbers.items() if value is not None}


def estimate_numbers(cost: CostEstimate) -> dict[str, float]:
    """What the run was expected to cost."""
    expected = {"estimate_low_usd": float(cost.lowest_usd), "estimate_high_usd": float(cost.highest_usd)}
    if (found := cost.predicted) is not None:
        expected |= {"estimate_usd": found.expected, "estimate_low90_usd": found.low, "estimate_high90_usd": found.high}
    return expected
