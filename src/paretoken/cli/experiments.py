"""Verbs that make and judge experiments: init, plan, run, cheapest, compare, front."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paretoken.cli.planned import say_forecast, say_outlook, say_racing
from paretoken.cli.screen import (
    LiveProgress,
    Wide,
    flush,
    live_progress,
    note,
    only_answers,
    print_json,
    print_rows,
    say,
    say_verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paretoken.analysis.results import Results
    from paretoken.experiment.api import Outcome
    from paretoken.experiment.runner import Progress

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A spec file, or a folder with a spec.yaml.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run id, a unique prefix, a spec path, or 'last'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
INTERRUPTED = 130
SEGMENTS = "what each segment adds to a call"
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use at most this many samples.")]


def init(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a runnable spec, data and prompts into an empty folder."""
    from paretoken.experiment.starter import write_starter

    written = write_starter(folder)
    if as_json:
        return print_json({"written": [str(path) for path in written]})
    for path in written:
        say(str(path))
    say(f"\nnext: paretoken plan {folder} && paretoken run {folder}")
    return None


def plan(
    spec: SpecPath,
    limit: Limit = None,
    pilot: Annotated[
        int | None, typer.Option("--pilot", min=10, help="Run this many samples first, within the budget.")
    ] = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Count calls and tokens and forecast the cost. Spends nothing, but for a --pilot."""
    from paretoken.experiment.api import plan as make_plan
    from paretoken.experiment.edited import edit_changes
    from paretoken.experiment.race_outlook import race_outlook
    from paretoken.experiment.reach import recorded_outlook
    from paretoken.report.comparisons import edit_rows
    from paretoken.report.overview import forecast_rows
    from paretoken.report.prompt_segments import cut_rows

    outcome = None if pilot is None else _run_pilot(spec, limit, pilot)
    with only_answers():
        design, forecast = make_plan(spec, limit=limit)
    outlooks, changes, racing = recorded_outlook(design), edit_changes(design), race_outlook(design, forecast)
    cuts = cut_rows(design)
    if as_json:
        variants, judges = ([row.body() for row in rows] for rows in (forecast.variants, forecast.judges))
        body = {**forecast.body(), "spent_usd": forecast.spent_usd, "verdict": forecast.verdict, "variants": variants,
                **({"judges": judges} if judges else {}),
                "reach": [{"treatment": o.treatment, **asdict(o.reach)} for o in outlooks],
                **({"segments": cuts} if cuts else {}),
                "edits": [asdict(change) for change in changes],
                "race": None if racing is None else {**asdict(racing), "verdict": racing.verdict}}  # fmt: skip
        print_json(body | ({} if outcome is None else {"pilot": _pilot_body(outcome)}))
    else:
        say(design.spec.question or design.spec.experiment)
        print_rows(cuts, title="how the prompt is cut")
        print_rows(forecast_rows(forecast), first=["calls", "expected", "90 % interval", "lowest to highest"])
        say_forecast(forecast, design, spec)
        say_racing(racing, design, spec)
        say_outlook(outlooks, design, spec)
        print_rows(edit_rows(changes), title="what edits do to the prompts")
        _say_dropped(design.dropped)
    raise typer.Exit(0 if outcome is None else outcome.exit_code)


def _run_pilot(spec: Path, limit: int | None, pilot: int) -> Outcome:
    from paretoken.experiment.api import run as run_experiment

    with live_progress() as on_progress, _resumable(on_progress):
        outcome = run_experiment(spec, limit=limit, pilot=pilot, on_progress=on_progress)
    sent = _pilot_body(outcome)
    note(f"pilot of {pilot} samples: {sent['sent']} calls sent, ${sent['billed_usd']:f} billed; `paretoken run {spec}` "
         "goes on from there")  # fmt: skip
    _note_trouble(outcome, spec)
    return outcome


def _pilot_body(outcome: Outcome) -> dict[str, Any]:
    progress = outcome.progress
    return {"run": outcome.results.run.id, "sent": progress.sent, "billed_usd": progress.billed_usd}


def run(
    spec: SpecPath,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start another run; paid answers stay cached.")] = False,
    limit: Limit = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Send failed calls again.")] = False,
    aa: Annotated[bool, typer.Option("--aa", help="Check the A/B test on arms that are alike.")] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if", metavar="CONDITION", help='Exit 1 if met: "bertscore_f1 worse or undecided", "below baseline".'
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML.")] = None,
    draw: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the Pareto front.")] = True,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Run an experiment up to its budget, or go on with it.

    It resumes by itself; a finished run is printed again.
    """
    from paretoken.experiment.api import run as run_experiment

    with live_progress() as on_progress, _resumable(on_progress):

        def on_outcome(outcome: Outcome) -> None:
            on_progress.close()
            if as_json:
                ended = {"status": outcome.ending.status, "reason": outcome.ending.reason, "failures": outcome.failures}
                picture = {"picture": _picture(outcome) if draw else None}
                print_json(results_body(outcome.results) | ended | _money_body(outcome.progress) | picture)
            else:
                _say_results(outcome.results)
                if draw and (path := _picture(outcome)):
                    say(f"picture: {path}")
            if junit is not None:
                _save_junit(outcome, junit)
            flush()

        outcome = run_experiment(spec, fresh=fresh, limit=limit, retry_errors=retry_errors, aa=aa,
                                 fail_if=fail_if or (), on_progress=on_progress, on_outcome=on_outcome)  # fmt: skip
    if not as_json:
        say_tracking(outcome.results)
    _note_ending(outcome, spec)
    raise typer.Exit(outcome.exit_code)


def cheapest(
    spec: SpecPath,
    metric: Annotated[str | None, typer.Option("--metric", help="What must be good enough.")] = None,
    within: Annotated[
        float | None, typer.Option("--within", help="Loss against the best that is good enough, in its unit.")
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="A variant that stands for the best, e.g. today's.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Error rate.")] = None,
    tolerance: Annotated[
        str | None, typer.Option("--tolerance", help="Cost difference that does not matter, e.g. 5%.")
    ] = None,
    limit: Limit = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Find the cheapest variant that is good enough.

    Good enough is within a margin of the best, or above the spec's floors.

    The variants are those of the spec. Where its own plan is `cheapest`, options replace parts of it.
    """
    from paretoken.experiment.api import run as run_experiment
    from paretoken.experiment.resolve_race import cheapest_plan

    asked = {"metric": metric, "within": within, "of": of, "alpha": alpha,
             "tolerance": None if tolerance is None else {"list_usd": tolerance}}  # fmt: skip
    instead = cheapest_plan(spec, {name: value for name, value in asked.items() if value is not None})
    with live_progress() as on_progress, _resumable(on_progress):

        def on_outcome(outcome: Outcome) -> None:
            on_progress.close()
            if as_json:
                ended = {"status": outcome.ending.status, "reason": outcome.ending.reason}
                print_json(results_body(outcome.results) | ended | _money_body(outcome.progress))
            else:
                _say_results(outcome.results)
            flush()

        outcome = run_experiment(spec, limit=limit, instead=instead, on_progress=on_progress, on_outcome=on_outcome)
    _note_ending(outcome, spec)
    raise typer.Exit(outcome.exit_code)


def compare(
    run: RunName = "last",
    control: Annotated[str | None, typer.Argument(metavar="A", help="Label or id of the control.")] = None,
    treatment: Annotated[str | None, typer.Argument(metavar="B", help="Label or id of the treatment.")] = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Paired differences with intervals, and a verdict in words.

    Name two variants, A and B, or none for the questions of the spec.
    """
    from paretoken.core.errors import SpecError
    from paretoken.experiment.archive import open_run
    from paretoken.experiment.baseline import hold
    from paretoken.report.comparisons import compared_rows, noise_rows, remarks, segment_rows
    from paretoken.report.prompt_segments import effect_rows

    results = open_run(run)
    if (control is None) != (treatment is None):
        raise SpecError("name two variants, or none.", fix=f"Known: {', '.join(results.labels.values())}.")
    pairs = results.comparisons if control is None or treatment is None else [results.compare(control, treatment)]
    declared = control is None
    if as_json:
        held = hold(results) if declared else None
        pairs = [*pairs, *([] if held is None else held.comparisons)]
        bodies = [asdict(pair) | {"sentence": pair.sentence, "verdict": pair.verdict} for pair in pairs]
        for body, effect in zip(bodies, results.prompt_segments if declared else (), strict=False):
            body["prompt_segment"] = effect.body()
        return print_json(bodies)
    if not pairs:
        say(_nothing_to_compare(results, run))
    for pair in pairs:
        say_verdict(pair.sentence)
        first = ["difference", "finding", "relative", "p"]
        print_rows(compared_rows(pair), first=first)
        for remark in remarks(pair):
            if remark not in pair.sentence:
                say(f"remark: {remark}")
    if declared:
        for sentence in results.verdicts[0 if results.prompt_segments else len(pairs) :]:
            say_verdict(sentence)
        for sentence in _baseline_sentences(results):
            say(sentence)
        print_rows(
            effect_rows(results.prompt_segments), title=SEGMENTS, first=["verdict", *results.objectives.maximize]
        )
        print_rows(segment_rows(results), title="by tag (for exploring: no claim is made)")
        print_rows(noise_rows(results), title="where the noise comes from (variances of the difference)")
    return None


def _nothing_to_compare(results: Results, run: str) -> str:
    """Why there are no pairs, and what to do."""
    if len(results.summaries) < 2:
        return "there is nothing to compare: fewer than two variants have answers"
    fix = f"name two variants, paretoken compare {run} A B"
    if results.race is not None:
        return f"a race decides by rounds, not by pairs: {fix}"
    front = [f'only "{standing.summary.label}"' for standing in results.standings if standing.on_front]
    return f"{front[0] if front else 'no variant'} is on the front: {fix}"


def front(run: RunName = "last", as_json: Json = False, wide: Wide = False) -> None:
    """The Pareto table: who is beaten by whom."""
    from paretoken.experiment.archive import open_run

    results = open_run(run)
    if as_json:
        return print_json(results_body(results))
    return _say_results(results)


def results_body(results: Results) -> dict[str, Any]:
    """What a run found, as plain JSON values."""
    from paretoken.report.tables import front_rows

    return {
        "run": results.run.id,
        "question": results.run.lock["question"],
        "front": front_rows(results),
        "verdicts": results.verdicts,
        **({"prompt_segments": [e.body() for e in results.prompt_segments]} if results.prompt_segments else {}),
        **({"judges": [judge.body() for judge in results.agreements]} if results.agreements else {}),
        "dropped": results.run.lock["dropped"],
        "baseline": _baseline_sentences(results),
    }


def _say_results(results: Results) -> None:
    from paretoken.report.cautions import score_cautions
    from paretoken.report.overview import DECIDING, closing_rows, confirmation_rows
    from paretoken.report.prompt_segments import effect_rows

    say(str(results.run.lock["question"] or results.run.experiment))
    print_rows(closing_rows(results), first=[*results.objectives.maximize, *DECIDING])
    print_rows(effect_rows(results.prompt_segments), title=SEGMENTS, first=["verdict", *results.objectives.maximize])
    for sentence in results.verdicts:
        say_verdict(sentence)
    for judge in results.agreements:
        say(judge.sentence)
    print_rows(confirmation_rows(results), title="selected, and confirmed on samples held out")
    _say_dropped(results.run.lock["dropped"])
    for sentence in _baseline_sentences(results):
        say(sentence)
    for caution in score_cautions(results):
        say(f"caution: {caution.words}")
    say(f"run: {results.run.id} ({results.run.status})")


def _baseline_sentences(results: Results) -> list[str]:
    from paretoken.experiment.baseline import hold

    held = hold(results)
    return [] if held is None else held.sentences


def _say_dropped(dropped: Any) -> None:
    for name, reason in dropped.items():
        say(f"dropped objective {name}: {reason}")


def say_tracking(results: Results, say: Callable[[str], None] = say) -> None:
    """How a run's tracker is opened."""
    from paretoken.report.mlflow_links import open_lines, page_file

    track: Any = results.run.lock["track"]
    if "mlflow" in track:
        page = page_file(results.file, results.run.id)
        for line in open_lines(track["mlflow"], page.read_text(encoding="utf-8") if page.is_file() else ""):
            say(f"mlflow: {line}")


@contextmanager
def _resumable(live: LiveProgress) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        live.close()
        if live.last is not None:
            note(_closing_line(live.last, "interrupted"))
        note("interrupted: the same command goes on where it stopped")
        raise typer.Exit(INTERRUPTED) from None


def _closing_line(progress: Progress, status: str) -> str:
    """How far a run came, and what it sent and spent now: what the records and the ledger say."""
    lost = f" ({progress.unanswered} of them without an answer)" if progress.unanswered else ""
    return (
        f"{progress.run}: {status}, {progress.done} of {progress.total} calls done; now: {progress.sent} sent{lost}, "
        f"{progress.hits} cached, ${progress.billed_usd:f} billed"
    )


def _money_body(progress: Progress) -> dict[str, Any]:
    return {
        "calls": {"done": progress.done, "total": progress.total, "sent_now": progress.sent,
                  "cached_now": progress.hits,
                  "failed_now": progress.failed, "unanswered_now": progress.unanswered},
        "billed_now_usd": progress.billed_usd, "spent_usd": progress.spent_usd,
    }  # fmt: skip


def _save_junit(outcome: Outcome, path: Path) -> None:
    from paretoken.core.errors import SpecError
    from paretoken.report.junit import save_junit

    error = "" if outcome.ending.error is None else str(outcome.ending.error)
    try:
        save_junit(outcome.results, outcome.gates, path, held=outcome.held, error=error, broken=outcome.broken)
    except OSError as problem:
        raise SpecError(f"cannot be written: {problem}.", file=path) from problem


def _note_ending(outcome: Outcome, spec: Path) -> None:
    progress = outcome.progress
    note(_closing_line(progress, outcome.ending.status))
    if (judges := progress.judges).made or judges.spent_usd:
        note(f"judges: {judges.made - judges.hits} calls sent, {judges.hits} cached, ${judges.billed_usd:f} of it; in "
             f"the whole run ${judges.spent_usd:f} of ${progress.spent_usd:f}")  # fmt: skip
    if outcome.ending.status == "finished" and outcome.ending.reason != "complete":
        note(f"ended by itself: {outcome.ending.reason}")
    for failure in outcome.failures:
        note(f"gate failed: {failure}")
    for failure in outcome.untracked:
        note(failure)
    _note_trouble(outcome, spec)


def _note_trouble(outcome: Outcome, spec: Path) -> None:
    progress, run_id = outcome.progress, outcome.results.run.id
    if outcome.assumed_usd:
        note(f"${outcome.assumed_usd:f} booked for calls of an earlier, killed process whose outcome is unknown")
    if progress.failed:
        note(f"{progress.failed} calls failed: `paretoken show {run_id}` lists them, "
             f"`paretoken run {spec} --retry-errors` sends them again")  # fmt: skip
    if progress.judges.failed:
        note(f"{progress.judges.failed} calls of judges failed: `paretoken run {spec} --retry-errors` sends them again")
    for metric, reason in outcome.unscored.items():
        note(f"{metric}: {reason}; all else is recorded, and `paretoken run {spec} --retry-errors` tries it again")
    if outcome.ending.error is not None:
        note(f"error: {outcome.ending.error}")
        if progress.total > progress.done and outcome.ending.error.exit_code == 4:
            note(f"next: `paretoken run {spec}` once the cause is mended; `paretoken show {run_id}` lists what failed")
        cost = "" if outcome.left_usd is None else f", about ${outcome.left_usd:.6f} at the cost so far"
        note(f"spent ${progress.spent_usd:f}; left to do: {progress.total - progress.done} calls{cost}")


def _picture(outcome: Outcome) -> str | None:
    if not outcome.results.summaries:
        return None
    try:
        return _draw(outcome)
    except OSError as error:  # a full disk costs the picture, not the verdict
        note(f"no picture: {error}")
        return None


def _draw(outcome: Outcome) -> str:
    from paretoken.experiment.archive import run_folder

    path = run_folder(outcome.results) / "front.png"
    if outcome.progress.made or not path.is_file():
        from paretoken.report.figures import save_front
        from paretoken.report.race_figures import save_race
        from paretoken.report.segments_figure import save_segments

        save_front(outcome.results, path)
        save_race(outcome.results, path.parent)
        save_segments(outcome.results, path.parent)
    return str(path)
