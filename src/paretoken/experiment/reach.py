"""What a planned A/B test will be able to tell, judged by the answers that are recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from paretoken.records import Database, RunBook, database_path

if TYPE_CHECKING:
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

    test = AbTest.of(design.lock)
    found: dict[str, list[Reach]] = {}
    with Database(file) as database:
        for run in reversed(RunBook(database).all()):
            known = {row["id"] for row in cast("list[dict[str, Any]]", run.lock["variants"])}
            wanted = [t for t in test.treatments if t not in found and {t, test.control} <= known]
            if not wanted:
                continue
            panel = Results.load(database, run.id).panel
            found |= {t: reached for t in wanted if (reached := test.reach(panel, t, len(design.samples)))}
    return [Outlook(design.labels[t], reach) for t in test.treatments for reach in found.get(t, ())]
