"""Verbs that look: runs, show, prompts, prices, doctor."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from paretoken.cli.experiments import Json, RunName
from paretoken.cli.screen import Wide, print_json, print_records, print_rows, say

runs = typer.Typer(help="List runs; rm and export single ones.", invoke_without_command=True)


@runs.callback()
def list_runs(context: typer.Context, as_json: Json = False, wide: Wide = False) -> None:
    """List runs; rm and export single ones."""
    if context.invoked_subcommand is not None:
        return None
    from paretoken.experiment import archive

    rows = archive.list_runs()
    if as_json:
        return print_json(rows)
    return print_rows(rows) if rows else say("no runs yet: `paretoken run SPEC` starts one")


@runs.command()
def rm(run: RunName, as_json: Json = False) -> None:
    """Delete a run; its paid answers stay cached."""
    from paretoken.experiment import archive

    removed = archive.remove_run(run)
    return print_json({"removed": removed}) if as_json else say(f"removed {removed}")


@runs.command()
def export(
    run: RunName,
    to: Annotated[Path, typer.Option("--to", help="Parquet file to write.")],
    as_json: Json = False,
) -> None:
    """Write a run's records as Parquet."""
    from paretoken.experiment import archive

    n_rows = archive.export_run(run, to)
    return print_json({"rows": n_rows, "file": str(to)}) if as_json else say(f"{n_rows} records in {to}")


@runs.command()
def recover(as_json: Json = False) -> None:
    """Get all that is sound out of damaged records; no run may be in progress."""
    from paretoken.experiment import archive

    found = archive.recover_records()
    rows = [{"table": name, "kept": kept, "lost": found.lost[name]} for name, kept in found.kept.items()]
    if as_json:
        return print_json({"tables": rows, "damaged": str(found.damaged)})
    print_rows(rows)
    return say(f"the file as it was: {found.damaged}\n`paretoken run SPEC` goes on: what is lost is asked again")


def budget(as_json: Json = False, wide: Wide = False) -> None:
    """Money by scope: limits, and what is billed, assumed and held."""
    from paretoken.experiment import archive

    rows = archive.list_scopes()
    if as_json:
        return print_json(rows)
    shown = [{name: f"${v:f}" if isinstance(v, Decimal) else v for name, v in row.items()} for row in rows]
    return print_rows(shown) if rows else say("nothing is spent yet: `paretoken run SPEC` starts a run")


def show(
    run: RunName = "last",
    sample: Annotated[str | None, typer.Option("--sample", help="Show prompts and answers of one sample.")] = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """What a run is and cost; one sample's prompts and answers.

    Failures of one kind are shown once, with how many there are.
    """
    from paretoken.experiment.archive import open_run
    from paretoken.report.overview import answer_rows, describe_run, grouped_failures

    results = open_run(run)
    if sample is not None:
        rows = answer_rows(results, sample)
        if as_json:
            return print_json(rows)
        body = dict(results.read_samples([sample])).get(sample, {})
        say(f"sample {sample}: {body.get('input', '')}")
        reference = body.get("reference")
        if reference:
            say(f"reference: {reference}")
        return print_records(rows)
    body = describe_run(results)
    if as_json:
        return print_json(body)
    for name, value in (body | {"failures": grouped_failures(cast("list[dict[str, Any]]", body["failures"]))}).items():
        if isinstance(value, list):
            print_rows(value, title=name)
        elif value not in ("", None, {}):
            say(f"{name}: {value}")
    return None


def prompts(
    folder: Annotated[Path, typer.Argument(help="A prompt file, or a folder of them.")] = Path("prompts"),
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Prompts with their content versions."""
    from paretoken.models.estimate import estimate_tokens
    from paretoken.prompts import load_prompts

    rows = [
        {
            "prompt": prompt.id,
            "description": prompt.description,
            "segments": ", ".join(prompt.segments),
            "template tokens (estimated)": estimate_tokens(prompt.text),
        }
        for prompt in load_prompts([folder])
    ]
    return print_json(rows) if as_json else print_rows(rows)


def prices(
    text: Annotated[str, typer.Argument(help="Part of a model id, e.g. qwen.")] = "",
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """What models cost in dollars, with source and date.

    Prices in another currency are converted.
    """
    from paretoken.core.clock import SystemClock
    from paretoken.pricing import PriceBook

    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "input $/Mtok": price.rates.input_per_mtok or None,
            "output $/Mtok": price.rates.output_per_mtok or None,
            "other": _other_meters(price),
            "converted from": _list_currency(price),
            "checked": price.checked,
            "source": price.source,
        }
        for model, price in PriceBook().search(text, SystemClock().now())
    ]
    if as_json:
        return print_json(rows)
    return print_rows(rows) if rows else say(f"no priced model has {text!r} in its id")


def _list_currency(price: Any) -> str | None:
    return None if price.currency == "USD" else f"{price.currency} at ${price.usd_rate:f}"


def _other_meters(price: Any) -> str:
    names = ("per_request", "per_compute_s", "per_minute", "per_mchar", "per_image")
    rates = ("cached_per_mtok", "cache_write_per_mtok", "reasoning_per_mtok", "thinking_output_per_mtok")
    found = {name: getattr(price.rates, name) for name in rates} | {name: getattr(price, name) for name in names}
    return ", ".join(f"{name} ${amount.normalize():f}" for name, amount in found.items() if amount)


def doctor(as_json: Json = False, wide: Wide = False) -> None:
    """What is installed, cached and reachable."""
    from paretoken.experiment.doctor import examine

    rows = examine()
    return print_json(rows) if as_json else print_rows(rows)
