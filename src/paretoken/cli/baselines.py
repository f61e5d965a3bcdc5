"""The verb `baseline`: what a question's later runs are held against."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.cli.experiments import Json, RunName, SpecPath
from paretoken.cli.screen import Wide, print_json, say

if TYPE_CHECKING:
    from paretoken.analysis.baseline import Baseline

baseline = typer.Typer(help="Freeze a run, and hold later runs of its question against it.", no_args_is_help=True)


@baseline.command(name="set")
def freeze(
    run: RunName = "last",
    variant: Annotated[str | None, typer.Argument(help="Label or id, where the run has several.")] = None,
    as_json: Json = False,
) -> None:
    """Freeze a finished run's variant as the baseline: writes baseline.json beside its spec."""
    from paretoken.experiment.archive import open_run
    from paretoken.experiment.baseline import save_baseline

    file, frozen, before = save_baseline(open_run(run), variant)
    if as_json:
        return print_json({"file": str(file), "baseline": _body(frozen), "before": before and _body(before)})
    say(f"frozen: {_words(frozen)}")
    if before is not None:
        say(f"replaced: {_words(before)}")
    for metric, count in frozen.lacking.items():
        say(f"left out: {count} of {len(frozen.contents)} samples, which have no {metric}")
    return say(f"file: {file}")


@baseline.command()
def show(run: RunName = "last", as_json: Json = False, wide: Wide = False) -> None:
    """What is frozen, and how a run compares with it."""
    from paretoken.core.errors import SpecError
    from paretoken.experiment.archive import open_run
    from paretoken.experiment.baseline import frozen_beside, hold, spec_file

    try:
        results = open_run(run)
    except SpecError as no_run:  # a fresh checkout has the file, but no records
        if (frozen := frozen_beside(Path(run))) is None:
            raise
        if as_json:
            return print_json({"baseline": _body(frozen), "run": None, "sentences": []})
        say(f"frozen: {_words(frozen)}")
        return say(f"compared with nothing: {no_run}")
    held = hold(results)
    if held is None:
        raise SpecError("nothing is frozen for this question.", fix=f"`paretoken baseline set {results.run.id}` "
                        "freezes this run.", file=spec_file(results))  # fmt: skip
    if as_json:
        return print_json({"baseline": _body(held.baseline), "run": results.run.id, "sentences": held.sentences})
    say(f"frozen: {_words(held.baseline)}")
    for sentence in held.sentences:
        say(sentence)
    return None


@baseline.command()
def rm(spec: SpecPath, as_json: Json = False) -> None:
    """Forget the baseline of a spec."""
    from paretoken.experiment.baseline import remove_baseline

    file = remove_baseline(Path(spec))
    return print_json({"removed": str(file)}) if as_json else say(f"removed: {file}")


def _body(frozen: Baseline) -> dict[str, Any]:
    means = {name: sum(v.values()) / len(v) for name, v in frozen.values.items() if v}
    kept = {name: value for name, value in asdict(frozen).items() if name not in ("contents", "values")}
    return {**kept, "samples": len(frozen.contents), "lacking": frozen.lacking, "means": means}


def _words(frozen: Baseline) -> str:
    means = [f"{name} {value:.4g}" for name, value in _body(frozen)["means"].items() if name != "list_usd"]
    return f"{frozen.name} ({frozen.at[:10]}, {len(frozen.contents)} samples): {', '.join(means)}"
