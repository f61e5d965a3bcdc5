"""Trackers of one run; what fails in one of them is told and costs nobody else anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.experiment.archive import make_trackers

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoken.core.protocols import Tracker
    from paretoken.core.trials import Record, RunInfo, Trial
    from paretoken.experiment.design import Design


class Trackers:
    """The trackers that a spec names.

    Args:
        design: What is run.
        none: Track nothing.

    Attributes:
        failures: What went wrong after the first call, in words.
    """

    def __init__(self, design: Design, none: bool) -> None:
        self.failures: list[str] = []
        self._trackers = {} if none else make_trackers(design.spec.track, design.root)
        for tracker in self._trackers.values():
            tracker.prepare()

    def on_trial(self, run: RunInfo, trial: Trial, records: list[Record]) -> None:
        """Tell all of a trial."""
        self._each(run, lambda tracker: tracker.on_trial(run, trial, records))

    def on_run(self, run: RunInfo) -> None:
        """Tell all of the run, as it stands in the records."""
        self._each(run, lambda tracker: tracker.on_run(run))

    def _each(self, run: RunInfo, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # a tracker may raise what its libraries raise
                del self._trackers[name]
                self.failures.append(f"{name} does not have this run: {error or type(error).__name__}. The records do: "
                                     f"`paretoken report {run.id} --{name}` writes it again.")  # fmt: skip
