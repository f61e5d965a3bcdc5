"""The command's verbs and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

import typer

from paretoken.cli import baselines, costs, experiments, inspection, reasons, reports, selecting
from paretoken.cli.screen import write_anything
from paretoken.core.errors import ParetokenError, SpecError
from paretoken.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="paretoken",
    help="Find the cheapest prompt and model that is still good enough, prove it, and never overspend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    experiments.init,
    experiments.plan,
    experiments.run,
    experiments.cheapest,
    experiments.compare,
    experiments.front,
    selecting.select,
    reasons.drivers,
    reasons.explain,
    costs.costs,
    reports.report,
    inspection.show,
    inspection.budget,
    inspection.prompts,
    inspection.prices,
    inspection.doctor,
):
    app.command()(verb)
app.add_typer(inspection.runs, name="runs")
app.add_typer(baselines.baseline, name="baseline")


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        0 ok, 1 a gate failed, 2 bad input, 3 budget reached, 4 provider failed, 5 internal, store or score failure,
        130 interrupted.
    """
    write_anything()
    try:
        app(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except ParetokenError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        if isinstance(error, SpecError) and error.line is not None and sys.stderr.isatty():
            print(f"next: mend it, then `paretoken {' '.join(arguments)}` again", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ParetokenError.exit_code
    except Exception:
        traceback.print_exc()
        return ParetokenError.exit_code
    return 0
