# ruff: noqa: S101
"""What every scorer promises, as tests to inherit."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from paretoken.core.errors import ScoreError
from paretoken.core.protocols import Scored, ScoreItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.core.protocols import Scorer

TOLERANCE = 1e-5


class ScorerSuite:
    """Conformance tests of a `Scorer`, collected by pytest in a subclass.

    ```python
    class TestPoliteness(ScorerSuite):
        def make_scorer(self):
            return Politeness()
    ```
    """

    def make_scorer(self) -> Scorer:
        """The scorer under test; may be the same object each time."""
        raise NotImplementedError

    def items(self) -> list[ScoreItem]:
        """Three items or more that the scorer gives values for; override to fill the columns it reads."""
        texts = (
            ("The kettle boils a litre of water in three minutes.", "This kettle boils one litre in three minutes."),
            ("A warm jacket for cold days.", "The jacket keeps you warm when the days are cold and wet."),
            ("Ask your doctor before you take it.", "Consult a doctor before use."),
            ("The lamp is dimmable and saves power, which makes long evenings of reading cheap.", "A dimmable lamp."),
        )
        return [ScoreItem(answer, f"question {i}", reference, {}) for i, (answer, reference) in enumerate(texts)]

    def _score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        return asyncio.run(self.make_scorer().score(items))

    def _values(self, items: Sequence[ScoreItem]) -> list[list[float]]:
        """Values of items that must all have one."""
        scored = self._score(items)
        assert all(s.value is not None for row in scored for s in row), f"an ordinary item has no value: {scored}"
        return [[s.value for s in row if s.value is not None] for row in scored]

    def _check_shape(self, scored: list[list[Scored]], n_items: int) -> None:
        assert len(scored) == n_items, f"{n_items} items gave {len(scored)} lists"
        metrics = self.make_scorer().metrics
        for row in scored:
            assert tuple(s.metric for s in row) == metrics, "one value per metric, in the order of `metrics`"
            for s in row:
                assert s.value is not None or s.reason, f"{s.metric} is missing without a reason"
                assert s.value is None or math.isfinite(s.value), f"{s.metric} is {s.value}"

    def test_names_itself_and_its_metrics(self) -> None:
        """Name, metrics and provenance are there before anything is scored, and stay."""
        scorer = self.make_scorer()
        assert scorer.name
        assert scorer.provenance
        assert scorer.metrics
        assert len(set(scorer.metrics)) == len(scorer.metrics)
        assert scorer.provenance == self.make_scorer().provenance

    def test_one_value_per_item_and_metric(self) -> None:
        """Shape `(n, n_metrics)`, in order."""
        items = self.items()
        self._check_shape(self._score(items), len(items))

    def test_empty_batch_gives_empty_list(self) -> None:
        """No items, no scores."""
        assert self._score([]) == []

    def test_values_lie_within_their_ranges(self) -> None:
        """Ordinary and blank answers, and a perfect one; a range is of a metric that exists."""
        scorer, items = self.make_scorer(), self.items()
        assert set(scorer.ranges) <= set(scorer.metrics)
        assert all(low < high for low, high in scorer.ranges.values())
        perfect = [replace(item, answer=item.reference or item.answer) for item in items]
        for row in self._score([*items, *perfect, replace(items[0], answer="")]):
            for s in row:
                low, high = scorer.ranges.get(s.metric, (-math.inf, math.inf))
                assert s.value is None or low <= s.value <= high, f"{s.metric} is {s.value}, not in [{low}, {high}]"

    def test_same_items_give_the_same_scores(self) -> None:
        """No hidden chance or state."""
        assert self._score(self.items()) == self._score(self.items())

    def test_an_item_does_not_depend_on_its_batch(self) -> None:
        """Alone, reversed or beside others, an item scores the same."""
        items = self.items()
        together = self._values(items)
        backwards = self._values(items[::-1])[::-1]
        alone = [self._values([item])[0] for item in items]
        for one, two, three in zip(together, backwards, alone, strict=True):
            for value, reversed_value, alone_value in zip(one, two, three, strict=True):
                assert math.isclose(value, reversed_value, abs_tol=TOLERANCE)
                assert math.isclose(value, alone_value, abs_tol=TOLERANCE)

    def test_blank_answers_are_scored_or_explained(self) -> None:
        """Nothing, spaces and line breaks beside an ordinary answer; never NaN."""
        first, *rest = self.items()
        items = [replace(first, answer=blank) for blank in ("", "   ", "\n\n")] + rest
        self._check_shape(self._score(items), len(items))

    def test_any_script_is_scored_explained_or_refused(self) -> None:
        """Chinese and emoji give a value, a reason or a ScoreError, in the answer as in the reference."""
        first = self.items()[0]
        for text in ("这款水壶三分钟就能烧开一升水。", "🎉🚀", "Sale 🎉 bei uns, 很便宜!", "\u200b", "\ufffd"):
            for item in (replace(first, answer=text), replace(first, answer=text, reference=text)):
                try:
                    scored = self._score([item])
                except ScoreError:
                    continue
                self._check_shape(scored, 1)

    def test_a_perfect_answer_is_not_worse_than_nonsense(self) -> None:
        """Repeating the reference scores at least as high as words without sense."""
        if not self.make_scorer().needs_reference:
            return
        items = self.items()
        perfect = self._values([replace(item, answer=item.reference or "") for item in items])
        nonsense = self._values([replace(item, answer="zebra of the to quickly nine under") for item in items])
        for high, low in zip(perfect, nonsense, strict=True):
            assert all(a >= b for a, b in zip(high, low, strict=True))

    def test_a_missing_reference_is_a_reason(self) -> None:
        """Without a reference, a scorer that needs one gives None and says why; any other gives a value."""
        items = [replace(item, reference=None) for item in self.items()]
        scored = self._score(items)
        self._check_shape(scored, len(items))
        if self.make_scorer().needs_reference:
            assert all(s.value is None for row in scored for s in row)
        else:
            assert all(s.value is not None for row in scored for s in row)
