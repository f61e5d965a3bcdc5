"""Runs that exist: open, list, remove, export and track them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from glob import has_magic
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from paretoken.core.errors import SpecError
from paretoken.core.registry import load
from paretoken.experiment.source import SPEC_NAME
from paretoken.records import (
    Database,
    Recovered,
    RunBook,
    SqlJournal,
    SqlLedger,
    database_path,
    judges_usd,
    project_root,
    recover,
    table_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paretoken.analysis.call_log import CallLog
    from paretoken.analysis.results import Results
    from paretoken.core.protocols import Tracker


def find_root(folder: Path) -> Path:
    """The project around a folder; without one, the working folder where it lies below it, else the folder itself."""
    root, here = project_root(folder), Path().resolve()
    is_project = (root / "pyproject.toml").is_file() or database_path(root).parent.is_dir()
    return here if not is_project and root.is_relative_to(here) else root


@contextmanager
def _records(start: Path) -> Iterator[Database]:
    file = database_path(find_root(start))
    if not file.is_file():
        raise SpecError("there is no run yet.", fix="Start one with `paretoken run SPEC`.", file=file)
    with Database(file) as database:
        yield database


def open_run(reference: str | Path = "last", root: str | Path | None = None) -> Results:
    """Open a run for reading.

    Args:
        reference: A run id, a unique prefix of one, the path of a spec or its folder, or `last`.
        root: The project's folder; by default the one around the spec or the working folder.

    Raises:
        SpecError: No such run.
    """
    from paretoken.analysis.results import Results

    with _records_of(reference, root) as (database, run):
        return Results.load(database, run)


@contextmanager
def _records_of(reference: str | Path, root: str | Path | None = None) -> Iterator[tuple[Database, str]]:
    """The database that holds a run, and the run's id, unique prefix or `last`."""
    path = Path(reference)
    spec = path / SPEC_NAME if path.is_dir() else path
    start = spec.parent if spec.is_file() else Path()
    with _records(start if root is None else Path(root)) as database:
        yield database, _run_of_spec(database, spec) if spec.is_file() else str(reference)


def _run_of_spec(database: Database, spec: Path) -> str:
    runs = [run for run in RunBook(database).all() if _spec_path(run.lock) == spec.resolve() and not _is_aa(run.lock)]
    if not runs:
        raise SpecError("this spec was not run yet.", fix=f"Start it with `paretoken run {spec}`.", file=spec)
    return runs[-1].id


def _is_aa(lock: Mapping[str, object]) -> bool:
    """Whether a run was a check of its spec's test, and not the test."""
    return "aa" in cast("dict[str, Any]", lock["plan"])


def _spec_path(lock: Mapping[str, object]) -> Path:
    return Path(cast("dict[str, Any]", lock["spec"])["path"]).resolve()


@contextmanager
def alone(root: Path, run_id: str) -> Iterator[None]:
    """Make sure that no other process works on the same run; the lock falls with the process."""
    folder = root / ".paretoken" / "locks"
    folder.mkdir(exist_ok=True)
    try:
        with FileLock(folder / f"{run_id}.lock", timeout=0):
            yield
    except Timeout:
        raise SpecError(f"run {run_id} is in progress in another process.", fix="Wait for it, or start another "
                        "with --fresh.") from None  # fmt: skip


def list_runs(root: Path | None = None) -> list[dict[str, object]]:
    """One row per run, oldest first; none before the first run."""
    file = database_path(find_root(root or Path()))
    if not file.is_file():
        return []
    with Database(file) as database:
        return [
            {
                "run": run.id,
                "status": run.status,
                "started": run.started_at[:16].replace("T", " "),
                "variants": len(cast("list[Any]", run.lock["variants"])),
                "question": run.lock["question"],
            }
            for run in RunBook(database).all()
        ]


def remove_run(reference: str) -> str:
    """Delete a run; its paid answers stay cached.

    Returns:
        The run's id.

    Raises:
        SpecError: No such run, or it is in progress.
    """
    with _records_of(reference) as (database, name):
        book = RunBook(database)
        run = book.find(name)
        with alone(database.path.parent.parent, run.id), database.transaction():
            book.remove(run.id)
            SqlLedger(database, run.id).forget(run.scope)
        table_path(database, run.id).unlink(missing_ok=True)
        return run.id


def recover_records() -> Recovered:
    """Get all that is sound out of damaged records.

    Raises:
        SpecError: There are no records, or a run is in progress.
    """
    root = find_root(Path())
    file = database_path(root)
    if not file.is_file():
        raise SpecError("there are no records.", file=file)
    with ExitStack() as everybody_out:
        for lock in (file.parent / "locks").glob("*.lock"):
            everybody_out.enter_context(alone(root, lock.stem))
        return recover(file)


def list_scopes() -> list[dict[str, object]]:
    """Money by scope, one row each; none before the first run."""
    file = database_path(find_root(Path()))
    if not file.is_file():
        return []
    with Database(file) as database:
        asking = [run for run in RunBook(database).all() if run.lock.get("judges")]
        judges = {run.scope: judges_usd(SqlJournal(database), run.id) for run in asking}
        return [
            {
                "scope": name,
                "limit": limit,
                "billed": billed,
                "assumed": assumed,
                **({"of which judges": judges.get(name)} if judges else {}),
                "held": held,
                "left": None if limit is None else limit - billed - assumed - held,
            }
            for name, limit, billed, assumed, held in SqlLedger(database, "").scopes()
        ]


def export_run(reference: str, path: Path) -> int:
    """Write a run's records as Parquet that can be read as a log of calls.

    Returns:
        Number of rows.

    Raises:
        SpecError: No such run, or the file cannot be written or is not called `*.parquet`.
    """
    if path.suffix != ".parquet":
        raise SpecError("an export is a Parquet file.", fix=f"Name it {path.with_suffix('.parquet')}.", file=path)
    return _write_log(open_run(reference), path)


def _write_log(results: Results, path: Path) -> int:
    from paretoken.analysis.log_columns import build_log, with_unanswered

    frame = build_log(results.frame(), results.records, results.run, results.samples)
    frame = with_unanswered(frame, results.unanswered, results.variants, results.labels)
    try:
        frame.to_parquet(path, index=False)
    except OSError as error:
        raise SpecError(f"cannot be written: {error}.", file=path) from error
    return len(frame)


@contextmanager
def open_log(reference: str, *, timezone: str = "UTC") -> Iterator[CallLog]:
    """Open Parquet files of calls, or a run's calls as they would be exported.

    Args:
        reference: A file, a folder or a pattern of Parquet files; else a run, as `open_run` takes it.
        timezone: Where days begin.

    Raises:
        SpecError: There is no such log and no such run, or it cannot be used.
    """
    from paretoken.analysis.call_log import CallLog

    path = Path(reference)
    is_spec = path.suffix in (".yaml", ".yml") or (path / SPEC_NAME).is_file()
    if not is_spec and (path.exists() or path.suffix == ".parquet" or has_magic(reference)):
        yield CallLog(reference, timezone=timezone)
        return
    results = open_run(reference)
    if not len(results.table):
        raise SpecError(f"{results.run.id} has no calls yet.")
    with TemporaryDirectory(prefix="paretoken-") as folder:
        file = Path(folder) / results.run.id
        _write_log(results, file)
        yield CallLog(file, timezone=timezone)


def make_trackers(track: Mapping[str, str], root: Path, **options: object) -> dict[str, Tracker]:
    """The trackers a spec names, by name."""
    made = {name: load("paretoken.trackers", name) for name in track}
    return {name: made[name](uri, root, database_path(root), **options) for name, uri in track.items()}


def track_run(results: Results, **options: object) -> None:
    """Project a run again into every tracker its spec names.

    Args:
        results: The run.
        options: Of the trackers, such as `traces`.

    Raises:
        SpecError: The spec names none.
    """
    track = cast("dict[str, str]", results.run.lock["track"])
    if not track:
        raise SpecError("this run's spec names no tracker.", fix="Add `track: {mlflow: sqlite:///mlruns/mlflow.db}`.")
    for tracker in make_trackers(track, run_root(results), **options).values():
        tracker.on_run(results.run)


def run_root(results: Results) -> Path:
    """The project folder a run belongs to."""
    return results.file.resolve().parents[1]


def run_folder(results: Results) -> Path:
    """Where files made from a run lie."""
    folder = run_root(results) / ".paretoken" / "runs" / results.run.id
    folder.mkdir(parents=True, exist_ok=True)
    return folder
