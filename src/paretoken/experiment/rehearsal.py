"""Every scorer is tried on made-up answers, so that what cannot work is told before a call is paid."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from paretoken.core.calls import Origin
from paretoken.core.errors import ParetokenError, ProviderError, ScoreError
from paretoken.core.protocols import LARGEST_SCORE, Comparing, Fetching, Judging, ScoreItem
from paretoken.core.trials import Cell
from paretoken.experiment.resolve_scorers import places_of_scorers
from paretoken.experiment.source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.core.protocols import Scored, Scorer
    from paretoken.experiment.design import Design

MADE_UP = ("A small lamp that is easy to clean, for 25 dollars.", '{"name": "lamp", "price": 25}', "25", "")


async def try_scorers(design: Design) -> None:
    """Let every scorer but judges and those with an encoder score made-up answers, or a recorded one if all are.

    An answer that only some scorers fail on says nothing: real answers may be others. One that fails on all is wrong.

    Raises:
        SpecError: A scorer scores none of them.
    """
    items = await _recorded(design) or _made_up(design)
    for place, scorer in zip(places_of_scorers(design.spec.scorers), design.scorers, strict=True):
        if isinstance(scorer, Judging | Fetching):
            continue
        others = tuple(item.answer for item in items)
        tried = [replace(item, others=others) for item in items] if isinstance(scorer, Comparing) else items
        outcomes = await asyncio.gather(*(checked_scores(scorer, [item]) for item in tried), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, ScoreError)]
        if failures and len(failures) == len(tried):
            raise Source(design.path).error(f"{failures[0]}.", "scorers", place,
                                            fix="This was a trial on made-up answers; nothing was spent.")  # fmt: skip


def _made_up(design: Design) -> list[ScoreItem]:
    sample = design.dataset.samples[0]
    origin = Origin(sample=sample.id)
    return [
        ScoreItem(answer, sample.input, sample.reference, sample.fields, sample.further_references, origin)
        for answer in (*MADE_UP, sample.reference or sample.input)
    ]


async def _recorded(design: Design) -> list[ScoreItem]:
    """The first recorded answer of every variant, with the columns beside it; none where a model would be paid."""
    variants = [v for v in design.variants if design.models[v.model].provider.recorded]
    if len(variants) < len(design.variants):
        return []
    sample, items = design.dataset.samples[0], []
    for variant in variants:
        try:
            provider = design.models[variant.model].provider
            response = await provider.generate(design.request(variant, Cell(sample.id, 0), ""))
        except ProviderError:
            continue
        fields = {**sample.fields, **response.fields}
        items.append(ScoreItem(response.text, sample.input, sample.reference, fields, sample.further_references,
                               Origin(sample=sample.id)))  # fmt: skip
    return items


async def checked_scores(scorer: Scorer, items: Sequence[ScoreItem]) -> list[list[Scored]]:
    """What a scorer says of a batch, if it keeps its promises.

    Raises:
        ScoreError: It fails, or does not give one finite value a metric and item.
    """
    try:
        rows = await scorer.score(items)
        given = [tuple(scored.metric for scored in row) for row in rows]
        values = [scored.value for row in rows for scored in row]
        odd = [value for value in values if value is not None and not abs(value) <= LARGEST_SCORE]
    except ParetokenError:
        raise
    except Exception as error:
        raise ScoreError(f"scorer {scorer.name!r} failed: {type(error).__name__}: {error}") from error
    if len(given) != len(items) or any(sorted(metrics) != sorted(scorer.metrics) for metrics in given):
        raise ScoreError(f"scorer {scorer.name!r} must give {', '.join(scorer.metrics)} for each of {len(items)} "
                         f"answers, and gave {given[:2]}")  # fmt: skip
    if odd:
        raise ScoreError(f"scorer {scorer.name!r} gave {odd[0]!r}, with which nothing can be reckoned")
    return rows
