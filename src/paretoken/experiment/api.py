"""What the command line and Python users call to plan and run experiments."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.calls import SCORING_FAILED
from paretoken.core.clock import SystemClock
from paretoken.core.errors import ParetokenError, ScoreError, SpecError
from paretoken.core.trials import Record, RunInfo
from paretoken.core.usage import ZERO
from paretoken.experiment.archive import alone
from paretoken.experiment.baseline import check_baseline, hold, load_baseline
from paretoken.experiment.design import RACING
from paretoken.experiment.engine import Engine
from paretoken.experiment.findings import Findings, kept_findings, open_study_of
from paretoken.experiment.forecast import Forecast, forecast
from paretoken.experiment.notebook import complete, notebook_bar
from paretoken.experiment.reach import recorded_difficulty
from paretoken.experiment.rehearsal import try_scorers
from paretoken.experiment.resolve import load_design
from paretoken.experiment.runner import PRECEDENCE, Ending, Judged, Progress, drive
from paretoken.experiment.tally import predicted_body
from paretoken.experiment.tracking import Trackers
from paretoken.records import (
    Database,
    History,
    RunBook,
    SqlJournal,
    SqlLedger,
    book_orphans,
    database_path,
    ids_only,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from paretoken.analysis.baseline import Held
    from paretoken.analysis.gate import Gate
    from paretoken.analysis.results import Results
    from paretoken.core.calls import Response
    from paretoken.core.protocols import Clock
    from paretoken.core.trials import Trial
    from paretoken.experiment.design import Design
    from paretoken.experiment.study import Study


CELLS_AHEAD = 4
"""Cells under way, in units of the concurrency: blocks that wait for one slow call must not leave places empty."""
TOLD_WAIT_S = 10.0
"""Waits from this length on are told [s]."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `run` gives back.

    Attributes:
        results: The run, opened for reading.
        ending: How it ended.
        progress: What was done now; `done` also counts what earlier parts of the run had done.
        assumed_usd: Money booked for calls of a killed process, whose outcome is unknown [USD].
        untracked: Why a tracker does not have the run, in words; empty where all have it.
        gates: What was to fail the run.
        held: The run held against the question's baseline; None where nothing is frozen.
    """

    results: Results
    ending: Ending
    progress: Progress
    assumed_usd: Decimal
    gates: tuple[Gate, ...] = ()
    held: Held | None = None
    untracked: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        """Gates that failed, in words."""
        on_baseline = [] if self.held is None else self.held.gated
        found = [
            f"{gate.text}: {', '.join(names)} of {c.treatment!r}"
            for gate in self.gates
            for c in (on_baseline if gate.on_baseline else self.results.all_comparisons)
            if (names := gate.failures(c))
        ]
        return found + self.broken

    @property
    def broken(self) -> list[str]:
        """Gates that failed, in words, and are about no single question: of what could not be asked at all, too."""
        nothing = None if self.held is None or self.held.itself else self.held.nothing
        strict = [gate for gate in self.gates if gate.on_baseline and "undecided" in gate.findings]
        unasked = [f"{gate.text}: {nothing}" for gate in strict if nothing is not None]
        return unasked + ([] if self.broken_promise is None else [self.broken_promise])

    @property
    def broken_promise(self) -> str | None:
        """What is wrong with the test itself, if an A/A test finds differences more often than promised."""
        rate, test = self.results.false_difference_rate, self.results.test
        if rate is None or test is None:
            return None
        from paretoken.analysis.abtest import RELABELLINGS

        if rate <= test.alpha + 3 * (test.alpha * (1 - test.alpha) / RELABELLINGS) ** 0.5:
            return None
        promised = f"more than the {100 * test.alpha:g} % promised"
        return f"A/A: {100 * rate:.1f} % of the relabellings show a difference, {promised}"

    @property
    def exit_code(self) -> int:
        """0, or the code of what stopped the run; 5 when a scorer failed, 4 when a variant has no answer at all.

        1 when a gate failed.
        """
        codes = [] if self.ending.error is None else [self.ending.error.exit_code]
        codes += [ScoreError.exit_code] if self.unscored else []
        if not codes and any(s.n == s.n_failed for s in self.results.summaries):
            return 4
        return min(codes, key=PRECEDENCE.index) if codes else 1 if self.failures else 0

    @property
    def unscored(self) -> dict[str, str]:
        """By metric why it is missing for an answer that its scorer failed on."""
        missing = [by_metric.items() for summary in self.results.summaries for by_metric in [summary.missing]]
        told = [(metric, reason) for items in missing for metric, reasons in items for reason in reasons]
        return {metric: reason for metric, reason in told if reason.startswith(SCORING_FAILED)}

    @property
    def left_usd(self) -> Decimal | None:
        """What the calls that are left would cost at the mean of those done [USD]; None before the first."""
        done = self.progress.done
        return self.progress.spent_usd / done * (self.progress.total - done) if done else None


def plan(path: str | Path, *, limit: int | None = None, clock: Clock | None = None) -> tuple[Design, Forecast]:
    """Check a spec and forecast what `run` would now cost. Spends nothing.

    Args:
        path: A spec file or its folder.
        limit: Use at most this many samples.
        clock: Time.

    Raises:
        SpecError: The spec cannot be run as written.
    """
    clock = clock or SystemClock()
    design = load_design(Path(path), clock, limit=limit)

    async def count() -> Forecast:
        file = database_path(design.root)
        try:
            await try_scorers(design)
            if design.plan["kind"] in RACING:
                await design.look_ahead()
            if not file.is_file():
                return await forecast(design, None, clock)
            with Database(file) as database:
                earlier = RunBook(database).of_identity(design.identity)
                return await forecast(design, database, clock, earlier[-1] if earlier else None)
        finally:
            await design.aclose()

    return design, complete(count())


def run(
    path: str | Path,
    *,
    fresh: bool = False,
    limit: int | None = None,
    retry_errors: bool = False,
    pilot: int | None = None,
    aa: bool = False,
    instead: Mapping[str, object] | None = None,
    fail_if: Sequence[str] = (),
    on_progress: Callable[[Progress], None] | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    clock: Clock | None = None,
) -> Outcome:
    """Run an experiment, or go on with it; a finished one is only read.

    Args:
        path: A spec file or its folder.
        fresh: Start another run of the same spec; paid answers still come from the cache.
        limit: Use at most this many samples.
        retry_errors: Send failed calls of the run again.
        pilot: Stop after this many samples of the drawn order; the run goes on from there later.
        aa: Check the A/B test itself: between arms that are alike it must find no difference.
        instead: A plan to take in place of the spec's, e.g. `{"cheapest": {"metric": "chrf", "within": 0.02}}`.
        fail_if: Conditions that make the exit code 1, e.g. `bertscore_f1 worse or undecided`.
        on_progress: Called after every call; in a notebook, a bar is shown without it.
        on_outcome: Called as soon as the outcome is known, before trackers get it.
        clock: Time.

    It works inside a running event loop too, as in a notebook, whose stop button ends the run as Ctrl-C does.

    Raises:
        SpecError: The spec cannot be run as written; nothing was spent.
        StoreError: The records cannot be written.
    """
    coroutine = run_async(
        path, fresh=fresh, limit=limit, retry_errors=retry_errors, pilot=pilot, aa=aa, instead=instead, fail_if=fail_if,
        on_progress=on_progress or notebook_bar() or (lambda _: None), on_outcome=on_outcome, clock=clock,
    )  # fmt: skip
    return complete(coroutine)


async def run_async(
    path: str | Path,
    *,
    fresh: bool = False,
    limit: int | None = None,
    retry_errors: bool = False,
    pilot: int | None = None,
    aa: bool = False,
    instead: Mapping[str, object] | None = None,
    fail_if: Sequence[str] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    clock: Clock | None = None,
) -> Outcome:
    """`run`, to be awaited."""
    clock = clock or SystemClock()
    design = load_design(Path(path), clock, limit=limit, aa=aa, instead=instead)
    if pilot and design.searches:
        raise SpecError("a search has no pilot: it decides itself what to try.", fix="Give it a small budget first: "
                        "what it pays for is not paid again.", file=design.path, field="plan.search")  # fmt: skip
    try:
        await design.fetch()
        gates = _gates(design, fail_if)
        file = database_path(design.root)
        estimate = None  # made before the file, as it may complain
        if not file.is_file():
            estimate = await forecast(design, None, clock)
        with Database(file) as database:
            earlier = RunBook(database).of_identity(design.identity)
            latest = None if fresh or not earlier else earlier[-1]
            if latest is not None and latest.status == "finished" and not retry_errors:
                results = _load_results(database, latest.id)
                spent = SqlLedger(database, latest.id).spent(latest.scope)
                progress = _progress(design, len(results.table), spent, results.judges_usd)
                progress.run = latest.id
                outcome = Outcome(results, Ending("finished", latest.reason), progress, ZERO, gates, hold(results))
                on_outcome(outcome)
                return outcome
            await try_scorers(design)
            if latest is None:
                estimate = estimate or await forecast(design, database, clock)
                found = {
                    "estimate": estimate.body(),
                    "most": design.most(),
                    "difficulty": recorded_difficulty(design, database),
                    "concurrency": design.spec.concurrency,
                    "token": secrets.token_hex(4),
                }
                latest = _open_run(design, database, found, fresh, clock)
            with alone(design.root, latest.id):
                trackers = Trackers(design, pilot is not None)
                outcome = await _go_on(design, latest, database, clock, retry_errors, pilot, on_progress, trackers)
                outcome = replace(outcome, gates=gates, held=hold(outcome.results))
                on_outcome(outcome)
                trackers.on_run(outcome.results.run)
                return replace(outcome, untracked=tuple(trackers.failures))
    finally:
        await design.aclose()


def _gates(design: Design, conditions: Sequence[str]) -> tuple[Gate, ...]:
    load_baseline(design.path.resolve())  # a broken one is told now, not after the run
    if not conditions:
        return ()
    from paretoken.analysis.abtest import AbTest
    from paretoken.analysis.gate import Gate

    control = design.variants[0].id  # of a grid: the questions are the same for all
    test = AbTest.of(design.lock, "" if design.plan["kind"] == "abtest" else control, [v.id for v in design.variants])
    gates = tuple(Gate.parse(text, test.quantities()) for text in conditions)
    on_baseline = [gate for gate in gates if gate.on_baseline]
    if design.plan["kind"] in RACING and len(on_baseline) < len(gates):
        raise SpecError("a race compares no treatment with a control, so nothing can fail it.", file=design.path,
                        field="plan", fix='Gate on "below baseline", or gate an A/B test.')  # fmt: skip
    if on_baseline:
        check_baseline(design, on_baseline)
    return gates


def _open_run(design: Design, database: Database, found: dict[str, Any], fresh: bool, clock: Clock) -> RunInfo:
    """Write a new run with what was found out before it; another process may have written the same one meanwhile."""
    book = RunBook(database)
    full = design.spec.store.content == "full"
    samples = [(s.id, design.content(s, full=full)) for s in design.dataset.samples]
    key = design.dataset.hash if full else ids_only(design.dataset.hash)
    with database.transaction():
        earlier = book.of_identity(design.identity)
        if earlier and not fresh:
            return earlier[-1]
        info = RunInfo(
            id=_free_id(f"{design.spec.experiment}-{design.identity[:6]}", {run.id for run in book.all()}),
            experiment=design.spec.experiment,
            identity=design.identity,
            started_at=clock.now().isoformat(),
            status="running",
            reason="",
            lock={**design.lock, **found},
        )
        book.open(info, key, samples)
    return info


def _free_id(base: str, taken: set[str]) -> str:
    return next(name for name in (base, *(f"{base}-{k}" for k in range(2, len(taken) + 3))) if name not in taken)


async def _go_on(
    design: Design,
    info: RunInfo,
    database: Database,
    clock: Clock,
    retry_errors: bool,
    pilot: int | None,
    on_progress: Callable[[Progress], None],
    trackers: Trackers,
) -> Outcome:
    if info.status == "running":  # its process died
        database.check()
    book, ledger = RunBook(database), SqlLedger(database, info.id)
    caps = design.caps_of(info.scope)
    ledger.set_limits({cap.row(clock.now()): cap.usd for cap in caps})
    assumed = book_orphans(ledger, SqlJournal(database), clock)
    info = replace(info, lock={**design.lock, **kept_findings(design, info.lock)})
    book.reopen(info.id, info.lock)
    known = History(SqlJournal(database), info.id, without_errors=retry_errors)
    progress = _progress(design, len(known), ledger.spent(info.scope), known.judges_usd)
    progress.run, spent_before = info.id, progress.spent_usd
    progress.cautions.extend(design.cautions)

    def tell(model: str, wait_s: float, why: str) -> None:
        if wait_s >= TOLD_WAIT_S:
            progress.waiting = f"waiting {wait_s:.0f} s for {model}: {why}"
            on_progress(progress)

    def on_call(record: Record) -> None:
        progress.count(record)
        progress.cautions.extend(told for told in design.lessons() if told not in progress.cautions)
        on_progress(progress)

    def on_judged(response: Response | None, usd: Decimal) -> None:
        progress.count_judged(response, usd)
        on_progress(progress)

    def on_trial(trial: Trial, records: list[Record]) -> None:
        if findings is not None:
            findings.publish()
        trackers.on_trial(info, trial, records)

    engine = Engine(design, info, database, ledger, caps, clock, known, on_call, on_judged, tell)
    ending = Ending("stopped", "interrupted")
    reading = asyncio.get_running_loop().run_in_executor(None, _prepare_analysis)
    study: Study | None = None
    findings: Findings | None = None
    try:
        study = open_study_of(design, info) if design.searches else None
        if design.plan["kind"] in RACING:
            await design.look_ahead()
        planner = design.planner(pilot, info.lock, study)
        findings = Findings(book, design, info, planner, clock)
        progress.board = getattr(planner, "board", None)
        on_progress(progress)
        ending = await drive(planner, engine.execute, CELLS_AHEAD * design.spec.concurrency, on_trial)
        if ending.status == "finished" and not pilot:
            await engine.compare_answers()
        if pilot and ending.status == "finished":
            ending = Ending("stopped", f"pilot of {pilot} samples")
            if progress.made:
                rest = await forecast(design, database, clock, info)
                book.reopen(info.id, {**info.lock, "estimate": _after_pilot(info, rest)})
    except ParetokenError as error:
        ending = Ending("failed", str(error), error)
        raise
    except Exception as error:
        ending = Ending("failed", f"internal error: {error!r}")
        raise
    finally:
        if findings is not None:
            findings.publish(at_once=True)
        if study is not None:
            study.close()
        engine.complete(progress)
        progress.spent_usd = sum(ledger.spent(info.scope), ZERO)
        progress.billed_usd = progress.spent_usd - spent_before
        on_progress(progress)
        book.close(info.id, status=ending.status, reason=ending.reason, at=clock.now().isoformat())
    await reading
    results = _load_results(database, info.id)
    return Outcome(results, ending, progress, assumed)


def _prepare_analysis() -> None:
    """Import what the closing table needs, on a thread, while calls are in flight."""
    from paretoken.analysis.results import prepare

    prepare()


def _load_results(database: Database, run: str) -> Results:
    from paretoken.analysis.results import Results

    return Results.load(database, run)


def _after_pilot(info: RunInfo, rest: Forecast) -> dict[str, Any]:
    """The estimate of a run whose pilot told more: what was spent so far, and the interval of the rest on top."""
    predicted = predicted_body(rest.predicted, float(rest.spent_usd))
    return {**cast("dict[str, Any]", info.lock["estimate"]), "recorded": rest.total("recorded"), "predicted": predicted}


def _progress(design: Design, done: int, spent: tuple[Decimal, Decimal], judges_usd: Decimal) -> Progress:
    limit = None if design.spec.budget is None else design.spec.budget.usd
    judges = Judged(spent_usd=judges_usd)
    return Progress(total=design.n_calls, done=done, spent_usd=sum(spent, ZERO), limit_usd=limit, judges=judges)
