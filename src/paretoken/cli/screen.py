"""How answers look: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import codecs
import json
import os
import sys
import textwrap
from contextlib import ExitStack, contextmanager, redirect_stdout
from contextvars import ContextVar
from io import TextIOWrapper
from shutil import get_terminal_size
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from paretoken.cli.fitting import cut_middle, fit
from paretoken.core.text import printable, well_formed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paretoken.analysis.estimate import Estimate
    from paretoken.experiment.raceplanner import BoardRow
    from paretoken.experiment.runner import Progress

PIPE_WIDTH = 120
"""Columns where stdout is no terminal and COLUMNS does not say."""
WHOLE = 10_000
_wide = ContextVar("wide", default=False)


def _set_wide(wide: bool) -> bool:
    _wide.set(wide)
    return wide


Wide = Annotated[bool, typer.Option("--wide", help="Show every column.", callback=_set_wide)]


def _width() -> int:
    """How many columns there are to write in."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(get_terminal_size().columns, 40)
    return PIPE_WIDTH


def _print(text: Text | Table, width: int) -> None:
    """Write to stdout; blanks at the ends of lines are for terminals alone."""
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as written:
        console.print(text)
    lines = written.get() if sys.stdout.isatty() else "\n".join(line.rstrip() for line in written.get().split("\n"))
    sys.stdout.write(lines)


def say(text: str = "") -> None:
    """One line of the answer; a terminal gets it in lines that end between words, all but the first indented."""
    text = printable(text)
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal():
        print(text)
        return
    for line in text.splitlines() or [""]:
        print("\n".join(wrapped(line, _width())))


def say_verdict(sentence: str) -> None:
    """A verdict; each of its cautions has a line of its own."""
    verdict, *cautions = sentence.split("; caution: ")
    say(verdict)
    for caution in cautions:
        say(f"caution: {caution}")


def wrapped(line: str, width: int) -> list[str]:
    """A line as lines that end between words, all but the first indented by two blanks.

    A path or address that is too long stays whole; Chinese, which has no blanks, ends anywhere.
    """
    if cell_len(line) <= width:
        return [line]
    if cell_len(line) == len(line):
        return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    first = Text(line).wrap(console, width)[0].plain
    others = Text(line[len(first) :].lstrip()).wrap(console, width - 2)
    return [first.rstrip(), *(f"  {other.plain.rstrip()}" for other in others)]


def note(text: str) -> None:
    """One line beside the answer."""
    text = printable(text)
    shown = wrapped(text, max(get_terminal_size().columns, 40)) if sys.stderr.isatty() else [text]
    print("\n".join(shown), file=sys.stderr)


_PLAIN: dict[int, int | str] = {
    **str.maketrans("─━│┃═║", "--||=|"),
    **dict.fromkeys(map(ord, "┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝╠╣╦╩╬"), "+"),
    **str.maketrans("·–—−×“”‘’", "*---x\"\"''"),
    **{ord(sign): plain for sign, plain in (("…", "..."), ("→", "->"), ("←", "<-"), ("≤", "<="), ("≥", ">="))},
}


def _in_other_signs(error: UnicodeError) -> tuple[str, int]:
    """What stands in for characters that an encoding lacks: plain lines and signs, and `?` for all others."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(sign if sign.isascii() else "?" for sign in shown), error.end


def write_anything() -> None:
    """Make stdout and stderr take every text, whatever their encoding."""
    codecs.register_error("paretoken", _in_other_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="paretoken")


def flush() -> None:
    """Let whoever reads the answer have it now."""
    sys.stdout.flush()


def print_json(value: object) -> None:
    """The answer for programs."""
    text = well_formed(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    value = json.loads(text, parse_constant=str)
    to_ascii = "utf" not in (sys.stdout.encoding or "").lower()
    print(json.dumps(value, ensure_ascii=to_ascii, indent=2))


def print_rows(rows: Sequence[Mapping[str, object]], title: str = "", first: Sequence[str] = ()) -> None:
    """A table of rows that share their keys, as many columns as the screen has room for.

    Args:
        rows: Cells by column name.
        title: A line above.
        first: Columns that decide, which are shown before others.
    """
    if not rows:
        return
    screen = WHOLE if _wide.get() else _width()
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    fitted = fit(cells, screen, first)
    table = Table(title=Text(printable(title)) if title else None, title_justify="left", header_style="bold",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    label = next(iter(fitted.widths))
    for name, width in fitted.widths.items():
        numeric = all(isinstance(row[name], (int, float)) or row[name] is None for row in rows)
        table.add_column(Text(printable(name)), justify="right" if numeric else "left", width=width)
    for row in cells:
        table.add_row(*(Text(cut_middle(row[name], width) if name == label and _is_name(row[name]) else row[name])
                        for name, width in fitted.widths.items()))  # fmt: skip
    _print(table, screen)
    if fitted.hidden:
        say(f"({_count(len(fitted.hidden))}: {', '.join(fitted.hidden)}; --wide shows them)")


def _is_name(text: str) -> bool:
    """Whether a cell is cut in its middle: a sentence is not."""
    return len(text.split()) < 4


def _count(n: int) -> str:
    return "1 more column" if n == 1 else f"{n} more columns"


def print_records(rows: Sequence[Mapping[str, object]]) -> None:
    """Rows whose cells are long texts, one below the other."""
    for row in rows:
        (_, title), *others = row.items()
        say()
        say(f"== {_cell(title)}")
        for name, value in others:
            text = _cell(value)
            say(f"{name}: {text}" if "\n" not in text else f"{name}:\n{text}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else printable(str(value))


BOARD_S = 2.0
"""How often the table of a race is drawn anew [s]."""
AROUND = 9
"""Lines of the screen beside its rows."""


class LiveProgress:
    """A progress line on stderr, under a table of the variants left where a race goes on; silent without a terminal.

    Waits that last are told without a terminal too, one line each.

    Args:
        over: Called when it is closed.

    Attributes:
        last: The progress that was shown last.
    """

    def __init__(self, over: Callable[[], None]) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.last: Progress | None = None
        self._over = over
        self._bar = Bar(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
        self._task = self._bar.add_task("run", total=None, state="")
        self._shown_s = 0.0
        self._told_until_s = 0.0
        self._cautioned = 0
        self._on_screen = sys.stderr.isatty()
        self._live = Live(self._bar, console=Console(stderr=True), transient=True, auto_refresh=self._on_screen)
        self._live.start()

    def __call__(self, progress: Progress) -> None:
        """Show how far a run is."""
        self.last = progress
        for caution in progress.cautions[self._cautioned :]:
            self._live.console.print(f"caution: {printable(caution)}", markup=False, highlight=False, soft_wrap=True)
        self._cautioned = len(progress.cautions)
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
        """Give the screen, and stdout, back."""
        self._live.stop()
        self._over()


@contextmanager
def live_progress() -> Iterator[LiveProgress]:
    """Progress of a run while it goes on; what own metrics print meanwhile goes to stderr."""
    with only_answers() as over:
        live = LiveProgress(over)
        try:
            yield live
        finally:
            live.close()


@contextmanager
def only_answers() -> Iterator[Callable[[], None]]:
    """Keep stdout for the answer: what a user's own code prints goes to stderr, until what is given is called."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(sys.stderr))
        yield stack.close


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
        table.add_row(Text(printable(row.label)), *cells, str(row.n), "front" if row.kept else "")
    if len(rows) > most:
        table.add_row(Text(f"and {len(rows) - most} more"))
    return table


def _interval(estimate: Estimate | None) -> Text:
    if estimate is None:
        return Text("-")
    ends = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3g}, {estimate.high:.3g}]"
    return Text(f"{estimate.mean:.4g}{ends}")
