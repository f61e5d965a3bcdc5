"""Runs in MLflow, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report.mlflow_tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Run

URI = "sqlite:///mlruns/mlflow.db"


def project(root: Path, write: Callable[..., None] | None = None, **facts: Any) -> tuple[MlflowClient, Results]:
    path = root / ".paretoken" / "paretoken.db"
    if write is not None:
        write(path, **facts)
    with Database(path) as database:
        results = Results.load(database, "last")
    tracker = MlflowTracker(URI, root, path)
    tracker.on_run(results.run)
    return tracker.client, results


def runs_of(client: MlflowClient, name: str = "product-copy") -> tuple[Run, dict[str, Run]]:
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(children) == len(found) - 1
    return parents[0], {run.info.run_name: run for run in children}


def artifacts(client: MlflowClient, run: Run, path: str = "") -> set[str]:
    listed = client.list_artifacts(run.info.run_id, path)
    return {item.path for item in listed if not item.is_dir}.union(
        *(artifacts(client, run, item.path) for item in listed if item.is_dir)
    )


def read(client: MlflowClient, run: Run, path: str) -> str:
    return Path(client.download_artifacts(run.info.run_id, path)).read_text(encoding="utf-8")
