"""One number for the quality of an answer: similarity, facts and length, weighed as people weigh them."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, cast

from paretoken.core.errors import SpecError
from paretoken.core.protocols import Fetching, Scored, ScoreItem
from paretoken.core.registry import suggest
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.facts import Facts
from paretoken.scoring.form import Length
from paretoken.scoring.overlap import Chrf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoken.core.protocols import Scorer

WEIGHTS = {"facts": 0.15, "length": 0.05}
"""Of what stands beside the similarity, which has the rest."""


class Quality:
    """A weighted mean of BERTScore F1, `facts` and `length`, with its parts beside it.

    No single one may be trusted alone: an encoder overlooks a wrong number or a "not", facts overlook everything else,
    and length can be had for nothing. The default weights are those that agree best with people on recorded summaries,
    rounded (`bench/metric_human.py`).

    Args:
        weights: By metric; they are scaled to sum 1.
        similarity: `bertscore`, or `chrf` where no encoder reads the language.
        encoder: Arguments of BERTScore, e.g. `{model: bert-base-chinese}`.
        language: The dataset's language.
        references: The dataset's references.
        folder: What paths are relative to.
        on_disk: Keep embeddings in the user's cache folder.

    Raises:
        SpecError: An argument cannot be used.
    """

    name = "quality"
    needs_reference = True

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        similarity: str = "bertscore",
        encoder: Mapping[str, object] | None = None,
        language: str | None = None,
        references: Sequence[str] | None = None,
        folder: Path | None = None,
        on_disk: bool = True,
    ) -> None:
        if similarity not in ("bertscore", "chrf"):
            raise SpecError(f"quality's similarity is {similarity!r}.", fix="Say bertscore or chrf.")
        told: dict[str, object] = {"language": language, "references": references, "on_disk": on_disk}
        told |= {} if folder is None else {"folder": folder}
        try:
            first = Chrf() if similarity == "chrf" else cast("Scorer", BertScore(**(told | dict(encoder or {}))))  # type: ignore[arg-type]
        except TypeError as error:
            raise SpecError(f"quality's encoder: {error}.", fix="It takes what bertscore takes.") from error
        self._parts: tuple[Scorer, ...] = (first, Facts(), Length())
        self.metrics = ("quality", *(metric for part in self._parts for metric in part.metrics))
        given = {first.metrics[-1]: 1 - sum(WEIGHTS.values()), **WEIGHTS} if weights is None else weights
        for metric, weight in given.items():
            if metric not in self.metrics[1:]:
                raise SpecError(f"quality weighs {metric!r}, which it does not measure.",
                                fix=suggest(metric, self.metrics[1:]))  # fmt: skip
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise SpecError(f"quality's weight of {metric!r} is {weight!r}.", fix="Give a number from 0 up.")
        if not sum(given.values()):
            raise SpecError("quality's weights sum to 0.", fix="Give one of them a number above 0.")
        self._weights = {metric: weight / sum(given.values()) for metric, weight in given.items() if weight}

    @property
    def provenance(self) -> str:
        """Weights, and provenance of the parts."""
        weights = " + ".join(f"{weight:.4g} {metric}" for metric, weight in self._weights.items())
        return f"{weights}; {'; '.join(part.provenance for part in self._parts)}"

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Those of the parts, and of their mean."""
        parts = {metric: ends for part in self._parts for metric, ends in part.ranges.items()}
        ends = [sum(weight * parts[metric][k] for metric, weight in self._weights.items()) for k in (0, 1)]
        return {"quality": (math.floor(1e6 * ends[0]) / 1e6, math.ceil(1e6 * ends[1]) / 1e6), **parts}

    async def fetch(self) -> None:
        """Get the encoder's weights if they are not on this machine."""
        for part in self._parts:
            if isinstance(part, Fetching):
                await part.fetch()

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch.

        Args:
            items: Answers, shape `(n,)`.

        Returns:
            The weighted mean first, then every metric of the parts, shape `(n, n_metrics)`; larger is better.

        Raises:
            ScoreError: As BERTScore.
        """
        parts = await asyncio.gather(*(part.score(items) for part in self._parts))
        rows = [[one for part in row for one in part] for row in zip(*parts, strict=True)]
        return [[self._mean(row), *row] for row in rows]

    def _mean(self, row: Sequence[Scored]) -> Scored:
        found = {one.metric: one for one in row}
        total = 0.0
        for metric, weight in self._weights.items():
            value = found[metric].value
            if value is None:
                return Scored("quality", None, f"{metric}: {found[metric].reason}")
            total += weight * value
        return Scored("quality", total)
