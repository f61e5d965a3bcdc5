"""What recorded answers tell a planned A/B test: what it will be able to show, and which samples are difficult."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.calls import NUMBERS
from paretoken.records import Database, RunBook, database_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.analysis.power import Reach
    from paretoken.experiment.design import Design


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the planned samples can show about one treatment and quantity."""

    treatment: str
    reach: Reach

    @property
    def too_small(self) -> bool:
        """The question would more often than not stay open, even if there were no difference at all."""
        return self.reach.power is not None and self.reach.power < 0.5


def recorded_outlook(design: Design) -> list[Outlook]:
    """Smallest detectable differences and power, from the latest run in which control and treatment were answered.

    Args:
        design: The experiment.

    Returns:
        One entry per treatment and declared question; none where the plan is no A/B test or too little is recorded.
    """
    file = database_path(design.root)
    if design.plan["kind"] != "abtest" or not file.is_file():
        return []
    from paretoken.analysis.abtest import AbTest
    from paretoken.analysis.results import Results

    test = AbTest.of({**design.lock, "most": design.most()})
    found: dict[str, list[Reach]] = {}
    with Database(file) as database:
        for run in reversed(RunBook(database).all()):
            known = {row["id"] for row in cast("list[dict[str, Any]]", run.lock["variants"])}
            wanted = [t for t in test.treatments if t not in found and {t, test.control} <= known]
            if not wanted:
                continue
            panel = Results.load(database, run.id).panel
            others = set(panel.values) - set(NUMBERS) - _scored_alike(design, run.lock)
            panel = replace(panel, values={name: rows for name, rows in panel.values.items() if name not in others})
            found |= {t: reached for t in wanted if (reached := test.reach(panel, t, len(design.samples)))}
    return [Outlook(design.labels[t], reach) for t in test.treatments for reach in found.get(t, ())]


def _scored_alike(design: Design, lock: Mapping[str, object]) -> set[str]:
    """Metrics that a run's scorers measured as this experiment's do."""
    wanted = {metric: scorer.provenance for scorer in design.scorers for metric in scorer.metrics}
    scorers = cast("list[dict[str, Any]]", lock["scorers"])
    return {m for s in scorers for m in s["metrics"] if wanted.get(m) == s["provenance"]}


def recorded_difficulty(design: Design, database: Database) -> dict[str, dict[str, float]]:
    """What variants that are not in this test scored on its samples in earlier runs, by metric and sample id.

    A test of these very samples that may be looked at all the time takes out of its differences what they owe to it.

    Args:
        design: The experiment.
        database: Where runs are recorded.

    Returns:
        Means over variants, of metrics that are recorded for every sample; empty for other plans.
    """
    plan = design.plan
    if plan["kind"] != "abtest" or plan["mode"] != "continuous" or plan["population"] != "dataset":
        return {}
    from paretoken.analysis.results import Results

    own = {variant.id for variant in design.variants}
    scores: dict[str, dict[str, list[float]]] = {}
    for run in RunBook(database).all():
        lock = cast("dict[str, Any]", run.lock)
        alike = _scored_alike(design, lock)
        if lock["dataset"]["hash"] != design.dataset.hash or not alike:
            continue
        table = Results.load(database, run.id).table
        for variant in (v for v in table.variant_ids if v not in own):
            for metric in alike & set(table.values):
                for index, value in zip(*table.of(variant).sample_means(metric), strict=True):
                    scores.setdefault(metric, {}).setdefault(table.sample_ids[int(index)], []).append(float(value))
    return {
        metric: {id_: round(sum(values) / len(values), 6) for id_, values in of.items()}
        for metric, of in scores.items()
        if set(of) >= set(design.samples)
    }
