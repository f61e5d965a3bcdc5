"""The verb that weighs all candidates: select."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from paretoken.cli.experiments import Json, RunName
from paretoken.cli.screen import Wide, print_json, print_rows, say

if TYPE_CHECKING:
    from paretoken.analysis.matrix import Selection

UNITS_S = {"ms": 0.001, "s": 1.0, "": 1.0}


def select(
    run: RunName = "last",
    weight: Annotated[
        list[str] | None,
        typer.Option("--weight", metavar="NAME=NUMBER", help="Of quality, latency, cost, stability or coverage."),
    ] = None,
    sla: Annotated[str | None, typer.Option("--sla", help="Latency that a call should not exceed: 5s, 800ms.")] = None,
    floor: Annotated[float | None, typer.Option("--floor", help="Quality that makes an answer usable.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What quality is.")] = None,
    by: Annotated[str, typer.Option("--by", help="Choose a variant, or a model over all its variants.")] = "variant",
    draw: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the table.")] = True,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Weigh quality, cost, latency, stability and coverage.

    Says which variant is first, how sure that is, and what would change it.
    """
    from paretoken.analysis.selection import select as select_from
    from paretoken.experiment.archive import open_run, run_folder
    from paretoken.report.selection import candidate_rows, flip_rows, reading_rows

    results = open_run(run)
    found = select_from(results, by=cast("Literal['variant', 'model']", by), weights=_weights(weight or []),
                        metric=metric, sla_s=None if sla is None else _seconds(sla), floor=floor)  # fmt: skip
    picture = None
    if draw:
        from paretoken.report.selection_figure import draw_selection

        picture = str(run_folder(results) / "selection.png")
        draw_selection(found).savefig(picture)
    if as_json:
        return print_json(_body(found) | {"picture": picture})
    for sentence in found.sentences:
        say(sentence)
    print_rows(candidate_rows(found), title="scores, by weight")
    print_rows(reading_rows(found), title="what was measured, and where it lies in 95 % of the resamples")
    print_rows(flip_rows(found), title="what one weight alone would change")
    if picture:
        say(f"picture: {picture}")
    return None


def _weights(given: list[str]) -> dict[str, float]:
    from paretoken.core.errors import SpecError

    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise SpecError(f"{text!r} is no weight.", fix="Write a name and a number: quality=0.5.") from None
    return found


def _seconds(text: str) -> float:
    """A time such as `5s`, `800ms` or `5` [s]."""
    from paretoken.core.errors import SpecError

    number = text.strip().rstrip("ms ")
    try:
        return float(number) * UNITS_S[text.strip()[len(number) :].strip()]
    except (KeyError, ValueError):
        raise SpecError(f"{text!r} is no time.", fix="Write it as 5s or 800ms.") from None


def _body(found: Selection) -> dict[str, Any]:
    return {
        "run": found.run,
        "metric": found.metric,
        **asdict(found.terms),
        "weights": found.weights,
        "dropped": found.dropped,
        "samples": found.n_samples,
        "clusters": found.n_units,
        "sentences": found.sentences,
        "rows": [row._asdict() | {"readings": {name: reading._asdict() for name, reading in row.readings.items()}}
                 for row in found.rows],
        "flips": [flip._asdict() | {"winner": found.rows[flip.winner].label} for flip in found.flips],
    }  # fmt: skip
