"""The verb that counts a log of calls: costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from paretoken.cli.experiments import Json
from paretoken.cli.screen import Wide, print_json, print_rows, say

if TYPE_CHECKING:
    from paretoken.analysis.front import Standing

MOST_ROWS = 100


def costs(
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="Parquet files of calls: a file, a folder, a pattern; or a RUN.")
    ] = "last",
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Group by model, day, prompt, a tag, ...; several together.")
    ] = None,
    minimize: Annotated[
        list[str] | None, typer.Option("--minimize", help="Show the front: list_usd, latency_s.p95, ...")
    ] = None,
    maximize: Annotated[list[str] | None, typer.Option("--maximize", help="Show the front: a metric.")] = None,
    drivers: Annotated[bool, typer.Option("--drivers", help="Show what drives the cost, on a sample.")] = False,
    timezone: Annotated[str, typer.Option("--timezone", help="Where days begin, e.g. Asia/Shanghai.")] = "UTC",
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """What calls cost by model, day or tag.

    Counts one run, or millions of calls in Parquet files.
    """
    from paretoken.experiment.archive import open_log
    from paretoken.report.costs import cost_rows, log_front_rows
    from paretoken.report.reasons import driver_rows, effect_rows

    with open_log(log, timezone=timezone) as calls:
        found, total = calls.cost_by(*(by or ["model"])), calls.cost_by().to_dict("records")[0]
        cheap = tuple(minimize or (["list_usd"] if maximize else []))
        standings = calls.front(cheap, tuple(maximize or ())) if cheap else []
        reasons = calls.drivers() if drivers else None
        files = len(calls.files)
    objectives = (*cheap, *(maximize or ()))
    if as_json:
        return print_json(
            {
                "log": calls.name,
                "files": files,
                "total": total,
                "rows": found.to_dict("records"),
                **({"front": [_body(s, objectives) for s in standings]} if standings else {}),
                **({} if reasons is None else {"sentences": reasons.sentences,
                                               "shares": [share._asdict() for share in reasons.shares],
                                               "effects": [effect._asdict() for effect in reasons.effects]}),
            }
        )  # fmt: skip
    spread = f" in {files} files" if files > 1 else ""
    say(f"{calls.name}: {total['calls']:,} calls{spread}, ${total['list_usd']:,f} at list price, "
        f"${total['billed_usd']:,f} billed, {total['error_rate']:.2%} without an answer")  # fmt: skip
    if total["unpriced"]:
        say(f"{total['unpriced']:,} answered calls have no list cost: the sums lack theirs")
    rows = cost_rows(found, total["list_usd"])
    print_rows(rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        say(f"{MOST_ROWS} of {len(rows):,} groups; --json has them all")
    print_rows(
        log_front_rows(standings, objectives)[:MOST_ROWS],
        title="variants by the means of their answered calls, which need not be of the same inputs",
    )
    if reasons is not None:
        for sentence in reasons.sentences:
            say(sentence)
        print_rows(driver_rows(reasons))
        print_rows(
            effect_rows(reasons)[:MOST_ROWS], title="what each choice adds to a call, against the mean of all calls"
        )
    return None


def _body(standing: Standing, objectives: tuple[str, ...]) -> dict[str, object]:
    summary = standing.summary
    return {"variant": summary.label, "id": summary.variant, "calls": summary.n, "on_front": standing.on_front,
            **{name: summary.value(name) for name in objectives}, "dominated_by": standing.dominated_by}  # fmt: skip
