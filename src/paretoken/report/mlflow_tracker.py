"""MLflow as a projection of the records: one parent run per execution, one nested run per variant.

Everything is read from the records, so a deleted tracking store comes back with `paretoken report RUN --mlflow`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.report.mlflow_aside import Aside, AsideEndedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from paretoken.core.trials import Record, RunInfo, Trial
    from paretoken.report.mlflow_writer import Writer


class MlflowTracker:
    """A `Tracker` that writes an ended run to MLflow.

    Args:
        argument: Tracking URI; a relative SQLite path is relative to `root`.
        root: The project root; with SQLite, artifacts go to `mlruns/artifacts` below it.
        database: The file with the records.
        traces: Answers of each variant that are kept as traces.
    """

    def __init__(self, argument: str, root: Path, database: Path, traces: int = 5) -> None:
        self._argument, self._root, self._database, self._traces = argument, root.resolve(), database, traces
        self._aside: Aside | None = None

    def prepare(self) -> None:
        """Start a process that imports MLflow and opens its store while calls are in flight; returns at once."""
        self._aside = Aside(
            "paretoken.report.mlflow_writer", argument=self._argument, root=str(self._root),
            database=str(self._database.resolve()), traces=self._traces,
        )  # fmt: skip

    def on_trial(self, run: RunInfo, trial: Trial, records: Sequence[Record]) -> None:
        """Nothing: a variant's numbers are final when the run ends, and writing them before would slow the calls."""

    def on_run(self, run: RunInfo) -> None:
        """Project the run, in place of what was projected of it before.

        Raises:
            StoreError: The tracking store cannot be written; the records are whole all the same.
        """
        if self._aside is not None:
            try:
                self._aside.begin(run=run.id)
                self._aside.answer()
                return
            except AsideEndedError:  # it was killed, or could not start: what it left is replaced
                pass
            finally:
                self._aside = None
        self._writer().write(run.id)

    @property
    def client(self) -> MlflowClient:
        """MLflow, opened in this process."""
        return self._writer().client

    def _writer(self) -> Writer:
        from paretoken.report.mlflow_writer import Writer

        return Writer(self._argument, self._root, self._database, self._traces)
