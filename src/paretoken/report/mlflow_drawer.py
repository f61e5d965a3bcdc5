"""What lies beside a run in MLflow, drawn in a process of its own or in this one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from paretoken.analysis import attribution
from paretoken.analysis.drivers import find_drivers
from paretoken.analysis.features import NothingToExplain
from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report.mlflow_aside import serve
from paretoken.report.mlflow_files import write_files
from paretoken.report.mlflow_keys import metric_key
from paretoken.report.mlflow_links import hide_password
from paretoken.report.redaction import redact
from paretoken.report.verdicts import courses_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Drawn(NamedTuple):
    """What was found on the way.

    Attributes:
        tables: Names of the files that are tables.
        drivers: What drives the cost, in a sentence.
        numbers: The same as metrics.
    """

    tables: list[str]
    drivers: str
    numbers: dict[str, float]


def draw(results: Results, folder: Path, hide: Callable[[str], str]) -> Drawn:
    """Write all files of the parent run into a folder.

    Args:
        results: The run.
        folder: Empty.
        hide: Takes secrets out of a text.
    """
    drivers = find_drivers(results)
    tables = write_files(results, folder, courses_of(results), drivers, hide)
    if isinstance(drivers, NothingToExplain):
        return Drawn(tables, str(drivers), {})
    numbers = {"drivers/r2": drivers.r2[0]} | {f"drivers/{metric_key(s.driver)}": s.share for s in drivers.shares}
    return Drawn(tables, drivers.sentences[0], numbers)


def _prepare(argument: str, database: str) -> Callable[..., dict[str, object]]:
    attribution.prepare()
    return partial(_draw, argument, Path(database))


def _draw(argument: str, file: Path, run: str, folder: str) -> dict[str, object]:
    with Database(file) as database:
        results = Results.load(database, run)
    return draw(results, Path(folder), lambda text: redact(hide_password(text, argument)))._asdict()


if __name__ == "__main__":
    serve(_prepare)
