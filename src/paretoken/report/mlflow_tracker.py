"""MLflow as a projection of the records: one parent run per execution, one nested run per variant.

Everything is read from the records, so a deleted tracking store comes back with `paretoken report RUN --mlflow`.
"""

from __future__ import annotations

import logging
import os
import shlex
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from paretoken.analysis.results import Results
from paretoken.core.errors import StoreError
from paretoken.records import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from paretoken.core.trials import Record, RunInfo, Trial

_SQLITE = "sqlite:///"


def open_line(uri: str) -> str:
    """The shell line that opens the tracking store: `mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db`."""
    shown = shlex.quote(_without_password(uri))
    if urlsplit(uri).scheme in ("http", "https"):
        return f"python -m webbrowser {shown}"
    return f"mlflow ui --backend-store-uri {shown}"


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
        self._client: Future[MlflowClient] | None = None
        self._lock = Lock()

    def prepare(self) -> None:
        """Import MLflow and open its store on a thread of its own, while calls are in flight; returns at once."""
        self._opened()

    def on_trial(self, run: RunInfo, trial: Trial, records: Sequence[Record]) -> None:
        """Nothing: a variant's numbers are final when the run ends, and writing them before would slow the calls."""

    def on_run(self, run: RunInfo) -> None:
        """Project the run, in place of what was projected of it before.

        Raises:
            StoreError: The tracking store cannot be written; the records are whole all the same.
        """
        opened = self._opened()
        with Database(self._database) as database:
            results = Results.load(database, run.id)
        wait([opened])
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        from paretoken.report.mlflow_projection import Projection

        try:
            with _quiet():
                client = opened.result()
                experiment = self._experiment(client, run.experiment)
                Projection(client, results, experiment, self._hide, self._traces).write()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise StoreError(
                f"MLflow at {_without_password(self._argument)} cannot be written: {self._hide(str(error))}. "
                f"The records are whole; once it works: paretoken report {run.id} --mlflow"
            ) from error

    def _opened(self) -> Future[MlflowClient]:
        with self._lock:
            if self._client is None:
                pool = ThreadPoolExecutor(1, "mlflow")
                self._client = pool.submit(self._open)
                pool.shutdown(wait=False)
            return self._client

    def _open(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # both are read when MLflow is imported
        os.environ.setdefault("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        import paretoken.report.mlflow_projection  # noqa: F401  (matplotlib loads here, too, and not when the run ends)
        from paretoken.analysis import attribution
        from paretoken.report import front_page

        attribution.prepare()
        front_page.prepare()

        uri = self._argument
        if uri.startswith(_SQLITE):
            path, mark, options = uri.removeprefix(_SQLITE).partition("?")
            store = self._root / path
            store.parent.mkdir(parents=True, exist_ok=True)
            uri = f"{_SQLITE}{store.as_posix()}{mark}{options}"
        with _quiet():
            return MlflowClient(tracking_uri=uri)

    def _experiment(self, client: MlflowClient, name: str) -> str:
        known = client.get_experiment_by_name(name)
        if known is None:
            local = self._argument.startswith(_SQLITE)
            folder = (self._root / "mlruns" / "artifacts").as_uri() if local else None
            return str(client.create_experiment(name, artifact_location=folder))
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _hide(self, text: str) -> str:
        return text.replace(self._argument, _without_password(self._argument))


def _without_password(uri: str) -> str:
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings and errors only, from MLflow and its migrations."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
