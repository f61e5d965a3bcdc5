"""How answers look: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from paretoken.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoken.analysis.estimate import Estimate
    from paretoken.experiment.raceplanner import BoardRow
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


def flush() -> None:
    """Let whoever reads the answer have it now."""
    sys.stdout.flush()


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


BOARD_S = 2.0
"""How often the table of a race is drawn anew [s]."""
AROUND = 9
"""Lines of the screen beside its rows."""


class LiveProgress:
    """A progress line on stderr, under a table of the variants left where a race goes on; silent without a terminal.

    Waits that last are told without a terminal too, one line each.

    Attributes:
        last: The progress that was shown last.
    """

    def __init__(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.last: Progress | None = None
        self._bar = Bar(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
        self._task = self._bar.add_task("run", total=None, state="")
        self._shown_s = 0.0
        self._told_until_s = 0.0
        self._on_screen = sys.stderr.isatty()
        self._live = Live(self._bar, console=Console(stderr=True), transient=True, auto_refresh=self._on_screen)
        self._live.start()

    def __call__(self, progress: Progress) -> None:
        """Show how far a run is."""
        self.last = progress
        if progress.waiting:
            self._tell_wait(progress.waiting)
        if not self._on_screen:
            return
        limit = "" if progress.limit_usd is None else f" of ${progress.limit_usd:f}"
        judges = f" (judges ${progress.judges.spent_usd:.6f})" if progress.judges.spent_usd else ""
        state = f"${progress.spent_usd:.6f}{limit}{judges} · {progress.hits} cached · {progress.failed} failed"
        shown = printable(progress.waiting) or state
        self._bar.update(self._task, total=progress.total, completed=progress.done, state=shown)
        now_s = monotonic()
        if progress.board is not None and now_s - self._shown_s > BOARD_S:
            from rich.console import Group

            rows = progress.board()
            self._shown_s = monotonic()
            table = board_table(rows, max(self._live.console.height - AROUND, 1))
            self._live.update(Group(table, self._bar))

    def _tell_wait(self, words: str) -> None:
        """A line for a wait, once; not again while it lasts."""
        now_s = monotonic()
        if not self._on_screen and now_s >= self._told_until_s:
            seconds = words.removeprefix("waiting ").partition(" ")[0]
            self._told_until_s = now_s + float(seconds)
            note(words)

    def close(self) -> None:
        """Give the screen back."""
        self._live.stop()


@contextmanager
def live_progress() -> Iterator[LiveProgress]:
    """Progress of a run while it goes on."""
    live = LiveProgress()
    try:
        yield live
    finally:
        live.close()


def board_table(rows: Sequence[BoardRow], most: int) -> Table:
    """The variants that are left in a race, as many as there are lines for."""
    names = list(rows[0].estimates) if rows else []
    kept = sum(row.kept for row in rows)
    title = f"{len(rows)} variants left: {kept} on the front so far, {len(rows) - kept} undecided"
    table = Table(title=Text(title), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("variant", *names, "n", ""):
        table.add_column(name, justify="right" if name in (*names, "n") else "left")
    for row in rows[:most]:
        cells = [_interval(row.estimates.get(name)) for name in names]
        table.add_row(Text(row.label), *cells, str(row.n), "front" if row.kept else "")
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most} more"))
    return table


def _interval(estimate: Estimate | None) -> Text:
    if estimate is None:
        return Text("-")
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return Text(f"{estimate.mean:.4g}{ends}")
