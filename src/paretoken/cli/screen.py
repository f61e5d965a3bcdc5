"""How answers look: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paretoken.experiment.runner import Progress

PIPE_WIDTH = 200
"""Columns where stdout is no terminal: tables are not folded."""


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def say(text: str = "") -> None:
    """One line of the answer."""
    _console().print(text, soft_wrap=True)


def note(text: str) -> None:
    """One line beside the answer."""
    print(text, file=sys.stderr)


def print_json(value: object) -> None:
    """The answer for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_rows(rows: Sequence[Mapping[str, object]], title: str = "") -> None:
    """A table of rows that share their keys."""
    if not rows:
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        numeric = all(isinstance(row[name], (int, float)) or row[name] is None for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _console().print(table)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{value:,.6g}" if isinstance(value, float) else str(value))


@contextmanager
def live_progress() -> Iterator[Callable[[Progress], None]]:
    """A progress line on stderr; silent where stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    bar = Bar(
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        console=console, transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("run", total=None, state="")

        def update(progress: Progress) -> None:
            limit = "" if progress.limit_usd is None else f" of ${progress.limit_usd:f}"
            state = f"${progress.spent_usd:.6f}{limit} · {progress.hits} cached · {progress.failed} failed"
            bar.update(task, total=progress.total, completed=progress.done, state=state)

        yield update
