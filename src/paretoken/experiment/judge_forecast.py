"""What judges will have to be asked, and what they have cost so far."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, cast

from paretoken.core.calls import CALL_FAILED, Origin, Response
from paretoken.core.errors import Refused
from paretoken.core.protocols import Judging, ScoreItem
from paretoken.core.trials import Cell
from paretoken.core.usage import ZERO, Usage
from paretoken.experiment.recorded import Recorded
from paretoken.experiment.tally import Tally, VariantForecast
from paretoken.records import RunBook, SqlJournal

if TYPE_CHECKING:
    from collections.abc import Collection

    from paretoken.core.calls import Call, Message, Request
    from paretoken.core.trials import Variant
    from paretoken.core.usage import Price
    from paretoken.experiment.design import Design
    from paretoken.records import Database, SqlCache

_TO_COME = "?"
"""Stands for an answer that is not there yet."""


def judges_of(design: Design) -> list[Judging]:
    """The scorers that ask a model."""
    return [scorer for scorer in design.scorers if isinstance(scorer, Judging)]


def judge_row(judge: Judging) -> str:
    """Name of a judge's row in a forecast."""
    return f"judge {judge.metrics[0]}"


async def count_judges(
    design: Design, cache: SqlCache | None, journal: SqlJournal | None, run: str
) -> list[VariantForecast]:
    """What every judge has to be sent.

    Questions about answers that are known (cached or recorded ones) are known themselves. Those about answers to come
    are bounded by the longest answers that their models may give.

    Args:
        design: The experiment.
        cache: Where paid answers are looked up; None if there is no store yet.
        journal: Where the run that will go on has recorded; None if there is none.
        run: Its id.
    """
    judges = judges_of(design)
    metrics = {judge.metrics[0] for judge in judges}
    settled = _settled(journal, run, metrics) if judges and journal is not None else {}
    return [await _Counter(design, judge, cache, settled.get(judge.metrics[0], set())).count() for judge in judges]


def _settled(journal: SqlJournal, run: str, metrics: Collection[str]) -> dict[str, set[tuple[str, str, int]]]:
    """Cells in which nothing is left to be asked, by metric: they have a score, or no answer."""
    found: dict[str, set[tuple[str, str, int]]] = {metric: set() for metric in metrics}
    for row in journal.rows(run, kind=["call", "score"], role=["subject"]):
        cell = (row.variant, row.sample, row.repeat)
        body = json.loads(row.body)
        if row.kind == "call" and body["error"] is not None:
            for cells in found.values():
                cells.add(cell)
        elif row.kind == "score" and body["metric"] in found and CALL_FAILED not in body.get("beside", ()):
            found[body["metric"]].add(cell)
    return found


class _Counter:
    """Counts the calls of one judge."""

    def __init__(
        self, design: Design, judge: Judging, cache: SqlCache | None, settled: Collection[tuple[str, str, int]]
    ) -> None:
        self._design, self._judge, self._settled = design, judge, settled
        self._model = design.judges[judge.model]
        self._tally = Tally(self._model, design.spec.attempts)
        self._cache = cache
        self._seen: set[str] = set()
        self._samples: set[str] = set()
        self._calls = 0

    async def count(self) -> VariantForecast:
        """The judge's row."""
        for sample in self._design.samples:
            to_come: Counter[int] = Counter()
            for variant, repeat in product(self._design.variants, range(self._design.spec.repeats)):
                await self._take(variant, Cell(sample, repeat), to_come)
            for max_tokens, n in to_come.items():
                for question in self._questions(sample, None):
                    await self._add(question, n, max_tokens)
        name = judge_row(self._judge)
        sums = self._tally.sums() | {"samples": len(self._samples)}
        return VariantForecast(name, name, self._calls, self._calls - self._tally.to_send, **sums)

    async def _take(self, variant: Variant, cell: Cell, to_come: Counter[int]) -> None:
        """Take the questions about one answer; of an answer to come only its limit."""
        if (variant.id, cell.sample, cell.repeat) in self._settled:
            self._calls += len(self._questions(cell.sample, None))
            return
        request = self._design.request(variant, cell, run="")
        answer = await self._answer(request)
        questions = self._questions(cell.sample, answer)
        self._calls += len(questions)
        if answer is None:
            to_come[request.max_tokens] += 1
            return
        for question in questions:
            if question.key not in self._seen and not self._is_answered(question):
                await self._add(question, 1, 0)
            self._seen.add(question.key)

    async def _answer(self, request: Request) -> Response | None:
        """An answer that is there already, blank where there will be none; None for one to come."""
        model = self._design.models[request.model]
        if model.provider.recorded:
            try:
                return await model.provider.generate(request)
            except Refused:
                return Response("", Usage())
        reads = self._cache is not None and self._design.cache_mode(model) == "read_write"
        return self._cache.get(request.key) if reads and self._cache is not None else None

    def _is_answered(self, question: Request) -> bool:
        reads = self._cache is not None and self._design.cache_mode(self._model) == "read_write"
        return reads and self._cache is not None and self._cache.has(question.key)

    def _questions(self, sample: str, answer: Response | None) -> list[Request]:
        item = _item(self._design, sample, Response(_TO_COME, Usage()) if answer is None else answer)
        return [replace(question, base_url=self._model.base_url) for question in self._judge.requests(item)]

    async def _add(self, question: Request, n: int, answer_tokens: int) -> None:
        counted = await self._model.provider.count_tokens(question)
        self._tally.add(question, counted, n, answer_tokens)
        self._samples.add(question.origin.sample)


def _item(design: Design, sample: str, answer: Response) -> ScoreItem:
    body = design.samples[sample]
    fields = {**body.fields, **answer.fields}
    return ScoreItem(answer.text, body.input, body.reference, fields, body.further_references, Origin(sample=sample))


def read_judged(design: Design, database: Database) -> dict[str, Recorded]:
    """Recorded calls of every judge about answers of these very variants, by the name of its row.

    A judge's calls are known by their first message, which says what it judges by.
    """
    item = _item(design, next(iter(design.samples)), Response(_TO_COME, Usage()))
    pools: dict[tuple[str, Message], tuple[Price, Recorded]] = {}
    found: dict[str, Recorded] = {}
    for judge in judges_of(design):
        found[judge_row(judge)] = Recorded(same=True)
        for question in judge.requests(item)[:1]:
            pools[judge.model, question.messages[0]] = design.judges[judge.model].price, found[judge_row(judge)]
    variants = [variant.id for variant in design.variants]
    journal = SqlJournal(database)
    for run in reversed(RunBook(database).all()):
        if not run.lock.get("judges") or all(pool.is_full for pool in found.values()):
            continue
        for _, entry in journal.read(run.id, kind=["call"], role=["judge"], variant=variants):
            call = cast("Call", entry)
            price, pool = pools.get((call.request.model, call.request.messages[0]), (None, None))
            if price is None or pool is None or pool.is_full or call.response is None:
                continue
            usd = price.cost(call.response.usage) + max(call.billed_usd - call.response.billed_usd, ZERO)
            pool.calls[call.origin.sample, call.request.key] = float(usd), call.response.usage.output_tokens
    return found
