"""Calls and scores the cells of a design, through the gateway."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from paretoken.core.calls import CALL_FAILED, SCORING_FAILED, Attempt, Call, Score, paid_usd
from paretoken.core.errors import BrokenBound, ProviderError, ScoreError
from paretoken.core.protocols import Comparing, Judging, ScoreItem
from paretoken.core.text import split_thinking
from paretoken.core.trials import Record
from paretoken.experiment.judging import JudgeModel
from paretoken.experiment.rehearsal import checked_scores
from paretoken.gateway.onion import Backoff, HoldGate, Limits, Window, build_onion
from paretoken.pricing import PriceBook
from paretoken.records import SqlCache, SqlJournal, SqlLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from decimal import Decimal

    from paretoken.core.calls import Entry, Origin, Response
    from paretoken.core.protocols import ChatModel, Clock, Scored, Scorer
    from paretoken.core.trials import Cell, RunInfo, Trial, Variant
    from paretoken.experiment.design import Design
    from paretoken.experiment.model_design import ModelDesign
    from paretoken.experiment.runner import Progress
    from paretoken.gateway.scopes import Cap
    from paretoken.gateway.waits import TellWait
    from paretoken.records import Database, History
    from paretoken.records.codec import Content

RECORDED_TIMEOUT_S = 60.0
MOST_UNSCORED = 3
"""First answers that a scorer may fail on without scoring any; one more, and the run stops."""


class Engine:
    """One run's way to the models and scorers.

    Args:
        design: What is run.
        run: The run.
        database: Where everything is written.
        ledger: The run's money.
        caps: What limits it.
        clock: Time.
        known: What an earlier part of the run recorded; those calls are not made again.
        on_call: Called after every cell's call, with its record so far.
        on_judged: Called after every call of a judge, with its answer, None if it failed, and what it cost [USD].
        tell: Called while calls wait.
    """

    def __init__(
        self,
        design: Design,
        run: RunInfo,
        database: Database,
        ledger: SqlLedger,
        caps: Sequence[Cap],
        clock: Clock,
        known: History,
        on_call: Callable[[Record], None],
        on_judged: Callable[[Response | None, Decimal], None],
        tell: TellWait,
    ) -> None:
        self._tell = tell
        self._design, self._run, self._clock, self._on_call = design, run.id, clock, on_call
        self._journal = _Flights(database, design.spec.store.content)
        self._cache = SqlCache(database, clock, design.spec.cache.max_age)
        timeouts = [_timeout_s(model) for model in design.asked.values()]
        self._prices = PriceBook({id_: model.price for id_, model in design.asked.items() if model.price_stated})
        self._gate = HoldGate(ledger, clock, caps, patience_s=max(timeouts))
        self._shared = Window(design.spec.concurrency)
        self._onions = {id_: self._onion(id_, model) for id_, model in design.asked.items()}
        scorers = [self._with_model(scorer, on_judged) for scorer in design.scorers]
        self._known = known
        self._at_once = [scorer for scorer in scorers if not isinstance(scorer, Comparing)]
        self._at_the_end = [scorer for scorer in scorers if isinstance(scorer, Comparing)]
        self._proven: set[tuple[str, ...]] = set()
        self._waiting: dict[tuple[str, ...], list[Score]] = {}
        self._answers: dict[tuple[str, int], list[tuple[Record, Response]]] = {}
        self._scopes = tuple(dict.fromkeys(cap.scope for cap in caps))

    def _onion(self, id_: str, model: ModelDesign) -> ChatModel:
        spec, provider = self._design.spec, model.provider
        stated = getattr(model.entry, "limits", None)
        concurrency = provider.slots or spec.concurrency
        if stated is not None and stated.concurrency is not None:
            concurrency = min(concurrency, stated.concurrency)
        return build_onion(
            provider,
            model=id_,
            prices=self._prices,
            gate=self._gate,
            journal=self._journal,
            cache=self._cache,
            cache_mode=self._design.cache_mode(model),
            clock=self._clock,
            limits=Limits(
                rpm=None if stated is None else stated.rpm,
                tpm=None if stated is None else stated.tpm,
                concurrency=concurrency,
            ),
            shared=self._shared,
            backoff=Backoff(attempts=spec.attempts),
            timeout_s=_timeout_s(model),
            seed=spec.seed,
            tell=self._tell,
        )

    def complete(self, progress: Progress) -> None:
        """Bring a run's progress up to what is recorded: a stop may come between a record and its count."""
        uncounted = self._journal.n_recorded - progress.made
        progress.made += uncounted
        progress.done += uncounted
        progress.unanswered, progress.waiting = len(self._journal.flying), ""

    def _with_model(self, scorer: Scorer, on_judged: Callable[[Response | None, Decimal], None]) -> Scorer:
        """A judge with its model, through the same layers and caps as every call; any other scorer as it is."""
        if not isinstance(scorer, Judging):
            return scorer
        model = JudgeModel(self._onions[scorer.model], self._design.judges[scorer.model], on_judged)
        return scorer.asking(model, quotes=self._design.spec.store.content == "full")

    async def execute(self, trial: Trial) -> list[Record]:
        """Call and score a trial's cells; cells answered before are taken from the records.

        Returns:
            One record per cell, in order; failed calls are records with an error.

        Raises:
            BudgetExceeded: The money is used up.
            BrokenBound: A provider billed more than was promised.
            ScoreError: A scorer refuses.
        """
        outcomes = await asyncio.gather(
            *(self._answer(trial.variant, cell) for cell in trial.cells), return_exceptions=True
        )
        answers = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        unscored = [answer for answer in answers if answer[1] is not None and self._lacks_scores(answer[0])]
        scores = await self._score(
            self._at_once, [(r, self._item(r, response)) for r, response in unscored if response]
        )
        if self._at_the_end:
            for record, response in answers:
                if response is not None:
                    self._answers.setdefault((record.sample, record.repeat), []).append((record, response))
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome  # what was paid is scored all the same
        return [
            Record(r.sample, r.variant, r.repeat, r.call, {**r.scores, **scores.get((r.sample, r.repeat), {})})
            for r, _ in answers
        ]

    async def compare_answers(self) -> None:
        """Let scorers that compare models score every answer; all answers are there, and no other score will come.

        Raises:
            ScoreError: A scorer refuses.
        """
        items = []
        for answers in self._answers.values():
            for record, response in answers:
                model = record.call.request.model
                others = tuple(self._answer_of(r, other) for r, other in answers if r.call.request.model != model)
                items.append((record, replace(self._item(record, response), others=others)))
        await self._score(self._at_the_end, items)
        for waiting in self._waiting.values():
            self._journal.append(waiting)
        await self._journal.committed()

    async def _answer(self, variant: Variant, cell: Cell) -> tuple[Record, Response | None]:
        key = (cell.sample, variant.id, cell.repeat)
        known = self._known.take(*key)
        if known is not None and not (self._lacks_scores(known) and self._forgot(known)):
            return known, known.call.response
        if known is not None:
            self._journal.known.add(key)
        request = self._design.request(variant, cell, self._run, self._scopes)
        try:
            response = await self._onions[variant.model].generate(request)
        except ProviderError as error:
            call = Call(request, self._clock.now(), error=str(error), billed_usd=paid_usd(error.attempts))
            if isinstance(error, BrokenBound):
                self._on_call(Record(*key, call=call, scores={}))
                raise
        else:
            call = Call(request, self._clock.now(), response, billed_usd=paid_usd(response.attempts))
        record = Record(*key, call=call, scores={})
        if known is None:
            self._on_call(record)
        return record, call.response

    def _forgot(self, record: Record) -> bool:
        """Whether the records lack what scorers read: the text, or the columns beside a recorded answer."""
        model = self._design.models[record.call.request.model]
        return model.provider.recorded or self._design.spec.store.content != "full"

    def _lacks_scores(self, record: Record) -> bool:
        return record.error is None and any(
            metric not in record.scores for scorer in self._at_once for metric in scorer.metrics
        )

    async def _score(
        self, scorers: Sequence[Scorer], items: Sequence[tuple[Record, ScoreItem]]
    ) -> dict[tuple[str, int], dict[str, Score]]:
        """Scores by (sample, repeat) and metric, written to the journal together, also those beside a failure.

        An answer that a scorer fails on has a missing value. One that has failed on the first answers and scored none
        stops the run, and they stay unscored.
        """
        if not items or not scorers:
            return {}
        batches = await asyncio.gather(*(_outcomes(scorer, [item for _, item in items]) for scorer in scorers))
        written: list[Score] = []
        missing: list[Score] = []
        failures: list[BaseException] = []
        for scorer, batch in zip(scorers, batches, strict=True):
            waiting = self._waiting.setdefault(scorer.metrics, [])
            for (record, _), values in zip(items, batch, strict=True):
                origin = record.call.origin
                if isinstance(values, ScoreError):
                    missing += (unscored := _unscored(scorer, origin, values))
                    waiting += unscored
                    if scorer.metrics not in self._proven and len(waiting) > MOST_UNSCORED * len(scorer.metrics):
                        failures.append(values)
                elif isinstance(values, BaseException):
                    failures.append(values)
                else:
                    self._proven.add(scorer.metrics)
                    written += [
                        Score(origin, scorer.name, s.metric, s.value, s.reason, scorer.provenance, s.beside)
                        for s in values
                    ]
            if scorer.metrics in self._proven:
                written += waiting
                waiting.clear()
        self._journal.append(written)
        await self._journal.committed()
        if failures:
            raise failures[0]
        asked = {record.call.origin for record, _ in items}
        out: dict[tuple[str, int], dict[str, Score]] = {}
        for score in (*missing, *written):
            if score.origin in asked:
                out.setdefault((score.origin.sample, score.origin.repeat), {})[score.metric] = score
        return out

    def _answer_of(self, record: Record, response: Response) -> str:
        """What scorers see of an answer."""
        model = self._design.models[record.call.request.model]
        return split_thinking(response.text)[1] if model.cuts_thinking else response.text

    def _item(self, record: Record, response: Response) -> ScoreItem:
        sample, model = self._design.samples[record.sample], self._design.models[record.call.request.model]
        return ScoreItem(
            self._answer_of(record, response),
            sample.input,
            sample.reference,
            {**sample.fields, **response.fields},
            sample.further_references,
            replace(record.call.origin, scopes=self._scopes),
            max_tokens=None if model.provider.recorded else record.call.request.max_tokens,
        )


class _Flights(SqlJournal):
    """A journal that knows which calls of subjects were sent and are not recorded yet.

    Attributes:
        flying: Their cells.
        known: Cells that an earlier part of the run recorded.
        n_recorded: Calls recorded now, but for those of known cells.
    """

    def __init__(self, database: Database, content: Content) -> None:
        super().__init__(database, content)
        self.flying: set[tuple[str, str, int]] = set()
        self.known: set[tuple[str, str, int]] = set()
        self.n_recorded = 0

    def append(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        super().append(entries)
        for entry in entries:
            origin = entry.origin
            if origin.role == "subject" and not isinstance(entry, Score):
                move = self.flying.add if isinstance(entry, Attempt) else self.flying.discard
                cell = (origin.sample, origin.variant, origin.repeat)
                move(cell)
                self.n_recorded += isinstance(entry, Call) and cell not in self.known


async def _outcomes(scorer: Scorer, items: Sequence[ScoreItem]) -> list[list[Scored] | BaseException]:
    """Scores of each item, or what went wrong.

    A judge is paid item by item, and of a batch that another scorer fails on every item is tried alone: what stops one
    is not the others' loss.
    """
    if not isinstance(scorer, Judging):
        try:
            return list(await checked_scores(scorer, items))
        except ScoreError as error:
            if len(items) == 1:
                return [error]
    alone = await asyncio.gather(*(checked_scores(scorer, [item]) for item in items), return_exceptions=True)
    return [outcome if isinstance(outcome, BaseException) else outcome[0] for outcome in alone]


def _unscored(scorer: Scorer, origin: Origin, error: ScoreError) -> list[Score]:
    reason = f"{SCORING_FAILED}: {error}"
    return [
        Score(origin, scorer.name, metric, None, reason, scorer.provenance, {CALL_FAILED: 1.0})
        for metric in scorer.metrics
    ]


def _timeout_s(model: ModelDesign) -> float:
    return getattr(model.entry, "timeout_s", RECORDED_TIMEOUT_S)
