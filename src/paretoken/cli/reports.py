"""The verb that tells others: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paretoken.cli.experiments import Json, RunName, results_body, say_tracking
from paretoken.cli.screen import note, print_json, say


def report(
    run: RunName = "last",
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Rebuild the MLflow projection.")] = False,
    traces: Annotated[
        int | None, typer.Option("--traces", min=0, help="Answers of each variant that MLflow shows: 5 by default.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="F", help="Write one self-contained page to this file.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--lang", metavar="LANG", help="Language of the page: en (the default) or zh.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Findings in Markdown, as a page, or in MLflow.

    Made from the records alone.
    """
    from paretoken.core.errors import SpecError
    from paretoken.experiment.archive import open_run, track_run
    from paretoken.experiment.baseline import hold
    from paretoken.report.page_words import language_named
    from paretoken.report.tables import findings

    if language is not None and html is None:
        raise SpecError("--lang is the language of a page.", fix="Say where it goes: --html report.html")
    if traces is not None and not mlflow:
        raise SpecError("--traces is for MLflow.", fix="Add --mlflow.")
    spoken = language_named(language or "en")
    results = open_run(run)
    if mlflow:
        track_run(results, **({} if traces is None else {"traces": traces}))
        say_tracking(results, say=note)
    if html is not None:
        from paretoken.report.page import save_page

        save_page(results, html, spoken, held=hold(results))
    if as_json:
        body = results_body(results) | {"findings": findings(results, held=hold(results))}
        return print_json(body | ({} if html is None else {"html": str(html)}))
    return say(findings(results, held=hold(results)) if html is None else f"page: {html}")
