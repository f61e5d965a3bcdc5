"""An ended run written to MLflow, in a process of its own or in this one."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from paretoken.analysis.results import Results
from paretoken.core.errors import StoreError
from paretoken.records import Database
from paretoken.report.mlflow_aside import Aside, AsideEndedError, serve
from paretoken.report.mlflow_links import hide_password, page_file, view_page, without_password
from paretoken.report.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient

    from paretoken.report.mlflow_drawer import Drawn

_SQLITE = "sqlite:///"


class Writer:
    """Writes runs to one tracking store.

    Args:
        argument: Tracking URI; a relative SQLite path is relative to `root`.
        root: The project root; with SQLite, artifacts go to `mlruns/artifacts` below it.
        database: The file with the records.
        traces: Answers of each variant that are kept as traces.
        drawer: Draws in a process of its own; None draws here.
    """

    def __init__(self, argument: str, root: Path, database: Path, traces: int, drawer: Aside | None = None) -> None:
        self._argument, self._root, self._database, self._traces = argument, root, database, traces
        self._drawer = drawer

    def write(self, run: str) -> None:
        """Project a run, in place of what was projected of it before.

        Raises:
            StoreError: The tracking store cannot be written; the records are whole all the same.
        """
        with TemporaryDirectory() as folder:
            if self._drawer is not None:
                self._drawer.begin(run=run, folder=folder)
            with Database(self._database) as database:
                results = Results.load(database, run)
            self._write(results, Path(folder))

    def _write(self, results: Results, folder: Path) -> None:
        with quiet():
            from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        from paretoken.report.mlflow_projection import Projection

        try:
            with quiet():
                experiment = self._experiment(results.run.experiment)
                Projection(self.client, results, experiment, self._traces).write(
                    folder, lambda: self._drawn(results, folder)
                )
            noted = page_file(self._database, results.run.id)
            noted.parent.mkdir(parents=True, exist_ok=True)
            noted.write_text(view_page(experiment, results.run.id), encoding="utf-8")
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise StoreError(
                f"MLflow at {without_password(self._argument)} cannot be written: "
                f"{hide_password(str(error), self._argument)}. "
                f"The records are whole; once it works: paretoken report {results.run.id} --mlflow"
            ) from error

    def _drawn(self, results: Results, folder: Path) -> Drawn:
        from paretoken.report.mlflow_drawer import Drawn, draw

        if self._drawer is not None:
            try:
                return Drawn(**self._drawer.answer())
            except AsideEndedError:
                self._drawer = None
        return draw(results, folder, self._hide)

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow, imported and opened."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # both are read when MLflow is imported
        os.environ.setdefault("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        uri = self._argument
        if uri.startswith(_SQLITE):
            path, mark, options = uri.removeprefix(_SQLITE).partition("?")
            store = self._root / path
            store.parent.mkdir(parents=True, exist_ok=True)
            uri = f"{_SQLITE}{store.as_posix()}{mark}{options}"
        with quiet():
            return MlflowClient(tracking_uri=uri)

    def _experiment(self, name: str) -> str:
        known = self.client.get_experiment_by_name(name)
        if known is None:
            local = self._argument.startswith(_SQLITE)
            folder = (self._root / "mlruns" / "artifacts").as_uri() if local else None
            return str(self.client.create_experiment(name, artifact_location=folder))
        if known.lifecycle_stage == "deleted":
            self.client.restore_experiment(known.experiment_id)
        return str(known.experiment_id)

    def _hide(self, text: str) -> str:
        return redact(hide_password(text, self._argument))


@contextmanager
def quiet() -> Iterator[None]:
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


def _prepare(argument: str, root: str, database: str, traces: int) -> Callable[..., dict[str, object]]:
    drawer = Aside("paretoken.report.mlflow_drawer", argument=argument, database=database)
    writer = Writer(argument, Path(root), Path(database), traces, drawer)

    def write(run: str) -> dict[str, object]:
        writer.write(run)
        return {}

    try:
        _ = writer.client
        import paretoken.report.mlflow_projection  # noqa: F401  (loads now, and not when the run ends)
    except Exception:  # noqa: S110 - tried again, and told, when there is something to write
        pass
    return write


if __name__ == "__main__":
    serve(_prepare)
