from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlflow_rig import URI, artifacts, project, runs_of
from paretoken.analysis.results import Results
from paretoken.core.errors import StoreError
from paretoken.records import Database
from paretoken.report.mlflow_tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow import MlflowClient

pytestmark = pytest.mark.slow


def held(client: MlflowClient) -> dict[str, Any]:
    parent, children = runs_of(client)
    fresh = ("mlflow.parentRunId", "drivers")  # tests refit less often than a process of its own
    return {
        run.info.run_name: (
            run.data.metrics,
            run.data.params,
            {k: v for k, v in run.data.tags.items() if k not in fresh},
            run.info.status,
            artifacts(client, run),
        )
        for run in (parent, *children.values())
    }


@pytest.fixture
def stored(root: Path, write: Callable[..., None]) -> Results:
    path = root / ".paretoken" / "paretoken.db"
    write(path)
    with Database(path) as database:
        return Results.load(database, "last")


def test_a_process_aside_writes_what_this_one_would(root: Path, stored: Results) -> None:
    tracker = MlflowTracker(URI, root, stored.file)
    tracker.prepare()
    tracker.on_run(stored.run)
    aside = held(tracker.client)
    client, _ = project(root)
    for name, here in held(client).items():
        for one, other in zip(aside[name], here, strict=True):
            assert one == other


def test_when_the_process_aside_is_killed_this_one_writes(root: Path, stored: Results) -> None:
    tracker = MlflowTracker(URI, root, stored.file)
    tracker.prepare()
    assert tracker._aside is not None
    tracker._aside._process.kill()
    tracker._aside._process.wait()
    tracker.on_run(stored.run)
    parent, _ = runs_of(tracker.client)
    assert parent.info.status == "FINISHED"


def test_what_the_process_aside_raises_is_raised_without_the_password(root: Path, stored: Results) -> None:
    tracker = MlflowTracker("nonsense://me:hunter2@host/db", root, stored.file)
    tracker.prepare()
    with pytest.raises(StoreError, match=r"nonsense://me:\*\*\*@host/db cannot be written") as error:
        tracker.on_run(stored.run)
    assert "hunter2" not in str(error.value)


def test_a_run_that_never_ends_leaves_nothing_behind(root: Path, stored: Results) -> None:
    tracker = MlflowTracker(URI, root, stored.file)
    tracker.prepare()
    assert tracker._aside is not None
    process = tracker._aside._process
    del tracker
    assert process.poll() is not None
