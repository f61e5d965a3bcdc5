"""What MLflow holds of a race: its outcome as metrics and tags, and its course as metrics with steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.analysis.objectives import is_quantile
from paretoken.report.mlflow_keys import REST, metric_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities import Metric

    from paretoken.analysis.results import Results


def race_metrics(results: Results) -> dict[str, float]:
    """What a race found and saved, of the parent run; nothing for other plans."""
    race = results.race
    if race is None:
        return {}
    saving = race.saving
    metrics = {
        "cells": float(saving.cells),
        "cells_planned": float(saving.planned),
        "saved_usd": saving.saved_usd,
        "saved_rate": saving.rate,
        "n_raced": float(len(race.selection.samples)),
        "n_held_out": 0.0 if race.held_out is None else float(len(race.held_out.samples)),
    }
    if race.plan.kind != "cheapest" and (volume := race.hypervolume) is not None:
        metrics |= dict(zip(("hypervolume", "hypervolume_low", "hypervolume_high"), volume, strict=True))
    return metrics


def race_course_metrics(results: Results, at_ms: int) -> Iterator[Metric]:
    """How the front came about: the step is the number of cells."""
    from mlflow.entities import Metric

    for look in results.race_course:
        shown = {"hypervolume": look.hypervolume, "usd": look.usd, "alive": look.alive, "on_front": look.on_front}
        for name, value in shown.items():
            yield Metric(f"{REST}course/{name}", float(value), at_ms, look.cells)


def variant_course_metrics(results: Results, variant: str, at_ms: int) -> Iterator[Metric]:
    """How a variant's mean objectives became sure: the step is the number of samples; nothing for other plans."""
    from mlflow.entities import Metric

    race = results.race
    for name in () if race is None else [name for name in results.objectives.names if not is_quantile(name)]:
        for n, estimate in race.path(variant, name) if race is not None else ():
            for end, value in (("", estimate.mean), ("_low", estimate.low), ("_high", estimate.high)):
                if value is not None:
                    yield Metric(f"{REST}course/{metric_key(name)}{end}", value, at_ms, n)
