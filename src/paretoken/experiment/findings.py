"""What is found out while a run goes on, kept in its lock: what a race decided, and what a search tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.core.protocols import Clock, Planner
    from paretoken.core.trials import RunInfo
    from paretoken.experiment.design import Design
    from paretoken.experiment.study import Study
    from paretoken.records import RunBook

PUBLISH_S = 1.0
"""How often findings are written while the run goes on, at most [s]."""
MADE_ONCE = ("estimate", "most", "difficulty", "concurrency", "token")
"""What is found out when a run is opened; how many calls go out at once decides the rounds of a race."""
RACE = "race"
"""Where the lock keeps what a race decided."""


def kept_findings(design: Design, lock: Mapping[str, object]) -> dict[str, object]:
    """What a run that goes on keeps of its lock."""
    names = (*MADE_ONCE, RACE, *(["variants"] if design.searches else []))
    return {name: lock[name] for name in names if name in lock}


class Findings:
    """Writes what a planner decides into its run's lock, so that others see it and it survives.

    Args:
        book: Where runs are written.
        design: What is run.
        info: The run.
        planner: Decides.
        clock: Time.
    """

    def __init__(self, book: RunBook, design: Design, info: RunInfo, planner: Planner, clock: Clock) -> None:
        self._book, self._design, self._info, self._planner, self._clock = book, design, info, planner, clock
        self._written: Mapping[str, object] = {}
        self._written_s = -PUBLISH_S
        self._known = int(cast("dict[str, Any]", info.lock.get(RACE, {})).get("cells", 0))

    def publish(self, *, at_once: bool = False) -> None:
        """Write what is new; while the run goes on, not more often than others would look."""
        found, now_s = self._planner.findings, self._clock.monotonic()
        if not found or found is self._written or (now_s - self._written_s < PUBLISH_S and not at_once):
            return
        if cast("int", found["cells"]) < self._known:  # a run that goes on is not yet where it was
            return
        self._written, self._written_s = found, now_s
        rows = {"variants": self._design.rows(self._planner.variants)} if self._design.searches else {}
        self._book.amend(self._info.id, {**self._info.lock, RACE: dict(found), **rows})


def open_study_of(design: Design, info: RunInfo) -> Study:
    """The study of a search; without a name it is the run's own.

    Raises:
        SpecError: It cannot be used as the spec says.
        StoreError: It cannot be reached.
    """
    from paretoken.experiment.study import open_study

    search = design.spec.plan.search
    if search is None:
        raise ValueError("the plan is no search")
    try:
        return open_study(
            search.study or info.id,
            design.space,
            root=design.root,
            run=info.id,
            token=str(info.lock["token"]),
            measure=[design.dataset.hash, str(len(design.samples)), *(s.provenance for s in design.scorers)],
            minimize=design.objectives.minimize,
            maximize=design.objectives.maximize,
            trials=search.trials,
            sampler=search.sampler,
            seed=design.spec.seed,
            storage=search.storage,
        )
    except SpecError as error:
        raise SpecError(error.problem, fix=error.fix, file=design.path, field=f"plan.search.{error.field}") from error
