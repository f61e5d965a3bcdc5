"""Cross-validation between models: how far an answer agrees with what other models answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from paretoken.core.errors import SpecError
from paretoken.core.protocols import Fetching, Scored, ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.overlap import Chrf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from paretoken.core.protocols import Scorer


class Consensus:
    """Mean similarity of an answer to the other models' answers to the same sample; no reference is needed.

    It tells the odd one out, not the truth: what most models get wrong, it rewards. Answers are scored when all are
    there, at the end of a run.

    Args:
        by: `bertscore` (F1), or `chrf` where no encoder reads the language.
        encoder: Arguments of BERTScore, e.g. `{model: bert-base-chinese}`.
        language: The dataset's language.
        folder: What paths are relative to.
        on_disk: Keep embeddings in the user's cache folder.

    Raises:
        SpecError: An argument cannot be used.
    """

    name = "consensus"
    metrics = ("consensus",)
    needs_reference = False
    needs_others = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"consensus": (0.0, 1.0)}

    def __init__(
        self,
        by: str = "bertscore",
        *,
        encoder: Mapping[str, object] | None = None,
        language: str | None = None,
        folder: Path | None = None,
        on_disk: bool = True,
    ) -> None:
        if by not in ("bertscore", "chrf"):
            raise SpecError(f"consensus is measured by {by!r}.", fix="Say bertscore or chrf.")
        told: dict[str, object] = {"language": language, "on_disk": on_disk}
        told |= {} if folder is None else {"folder": folder}
        try:
            self._scorer = Chrf() if by == "chrf" else cast("Scorer", BertScore(**(told | dict(encoder or {}))))  # type: ignore[arg-type]
        except TypeError as error:
            raise SpecError(f"consensus' encoder: {error}.", fix="It takes what bertscore takes.") from error

    @property
    def provenance(self) -> str:
        """That of the similarity."""
        return f"mean {self._scorer.metrics[-1]} with the other models' answers: {self._scorer.provenance}"

    async def fetch(self) -> None:
        """Get the encoder's weights if they are not on this machine."""
        if isinstance(self._scorer, Fetching):
            await self._scorer.fetch()

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Compare each item's answer with its `others`, shape `(n, 1)`; 1 is full agreement.

        Raises:
            ScoreError: The encoder cannot be loaded, or does not read the answers.
        """
        pairs = [ScoreItem(item.answer, item.input, other, {}) for item in items for other in item.others]
        found = iter([row[-1] for row in await self._scorer.score(pairs)])
        return [[self._mean([next(found) for _ in item.others])] for item in items]

    def _mean(self, scored: Sequence[Scored]) -> Scored:
        values = [one.value for one in scored if one.value is not None]
        if not values:
            return Scored("consensus", None, scored[0].reason if scored else "no other model answered this sample")
        return Scored("consensus", sum(values) / len(values))
