"""Verbs that say why: drivers, explain."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from paretoken.cli.experiments import Json, RunName
from paretoken.cli.screen import Wide, print_json, print_rows, say

if TYPE_CHECKING:
    from paretoken.analysis.results import Results

MOST_ROWS = 40


def drivers(
    run: RunName = "last",
    target: Annotated[
        str, typer.Option("--target", help="list_usd, output_tokens, latency_s, quality, or a metric.")
    ] = "list_usd",
    by: Annotated[str | None, typer.Option("--by", help="Show the shares within each level of this driver.")] = None,
    sample: Annotated[str | None, typer.Option("--sample", help="Show the waterfall of a call to this sample.")] = None,
    variant: Annotated[str | None, typer.Option("--variant", help="Of this variant, by label.")] = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Which choices and inputs drive the cost of a call.

    Shares are SHAP values, with intervals.
    """
    from paretoken.analysis.drivers import explain_drivers
    from paretoken.core.errors import SpecError
    from paretoken.experiment.archive import open_run
    from paretoken.report.reasons import crossing_rows, driver_rows, effect_rows, segment_share_rows, step_rows

    if variant is not None and sample is None:
        raise SpecError("--variant picks one of a sample's calls.", fix="Add --sample ID.")
    results = open_run(run)
    label = None if variant is None else results.labels[results.variant_id(variant)]
    found = explain_drivers(results, target, sample)
    parts = None if by is None or not found.explained else found.by(by)
    steps = None if sample is None or not found.explained else found.waterfall(sample, label)
    if as_json:
        return print_json(
            {
                "target": found.target,
                "r2": dict(zip(("value", "low", "high"), found.r2, strict=True)),
                "sentences": found.sentences,
                "mean": found.mean,
                "shares": [share._asdict() for share in found.shares],
                "effects": [effect._asdict() for effect in found.effects],
                "interactions": [crossing._asdict() for crossing in found.crossings],
                **({} if parts is None else {"by": parts.to_dict()}),
                **({} if steps is None else {"waterfall": [step._asdict() for step in steps]}),
            }
        )
    for sentence in found.sentences:
        say(sentence)
    print_rows(driver_rows(found))
    print_rows(effect_rows(found)[:MOST_ROWS], title="what each choice adds to a call, against the mean of all calls")
    if (more := len(found.effects) - MOST_ROWS) > 0:
        say(f"{more} more levels, which add most: --json has them")
    print_rows(crossing_rows(found)[:3], title="what two do together that neither does alone")
    if parts is not None:
        print_rows(segment_share_rows(parts), title=f"shares within each {by}")
    if steps is not None:
        print_rows(step_rows(found, steps), title=f"from the mean call to {steps[-1].value} on sample {sample}")
    return None


def explain(
    a: Annotated[str, typer.Argument(metavar="A", help="Label or id of a variant, or RUN:LABEL.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.")],
    run: Annotated[str, typer.Option("--run", help="The run, where A and B do not name theirs.")] = "last",
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """The exact waterfall from A's cost to B's.

    Its steps are price, prompt, answers, cache and retries.
    """
    from paretoken.analysis.explanation import explain as explain_cost
    from paretoken.report.reasons import factor_rows

    found = explain_cost(_side(a, run), _side(b, run))
    if as_json:
        return print_json(asdict(found) | {"factors": [f._asdict() for f in found.factors], "difference":
                          found.difference, "sentences": found.sentences})  # fmt: skip
    for sentence in found.sentences:
        say(sentence)
    return print_rows(factor_rows(found))


def _side(name: str, run: str) -> tuple[Results, str]:
    """The run and the variant that a name means: `LABEL` of the run, or `RUN:LABEL`."""
    from paretoken.core.errors import SpecError
    from paretoken.experiment.archive import open_run

    other, colon, label = name.partition(":")
    try:
        results = open_run(run)
        results.variant_id(name)
    except SpecError:
        if not colon:
            raise
        results = open_run(other)
        return results, label
    return results, name
