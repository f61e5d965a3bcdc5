"""Planners that put a fixed list of variants to the same samples, interleaved in seeded order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from paretoken.core.trials import Cell, Done, Trial, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoken.core.trials import Record, Variant

BLOCK = 8
"""Samples per trial: small enough to interleave arms, large enough to score in batches."""


class FixedPlanner:
    """Puts every variant to every sample: the grid, and an A/B test of fixed size.

    Samples are shuffled once and cut into blocks; within a block the variants come in an order drawn for that block,
    so that drift over time and the vendor's prompt cache meet all variants alike.

    Args:
        variants: What is tried.
        samples: Sample ids.
        repeats: How often each sample is asked.
        seed: Seed of both orders.
        only_first: Stop after this many samples of the order; None is all of them.
    """

    def __init__(
        self,
        variants: Sequence[Variant],
        samples: Sequence[str],
        *,
        repeats: int,
        seed: int,
        only_first: int | None = None,
    ) -> None:
        self._variants, self._samples, self._repeats, self._seed = variants, samples, repeats, seed
        self._only_first = only_first
        self._trials = self._schedule()

    def _schedule(self) -> Iterator[Trial]:
        rng = random.Random(f"order/{self._seed}")  # noqa: S311 - an order, no secret
        samples = list(self._samples)
        rng.shuffle(samples)
        samples = samples[: self._only_first]
        for start in range(0, len(samples), BLOCK):
            cells = tuple(Cell(sample, k) for sample in samples[start : start + BLOCK] for k in range(self._repeats))
            for variant in rng.sample(list(self._variants), len(self._variants)):
                yield Trial(variant, cells)

    def ask(self) -> Trial | Wait | Done:
        """The next block, until all are given out."""
        return next(self._trials, Done())

    def tell(self, trial: Trial, records: Sequence[Record]) -> None:
        """Nothing to learn: the size is fixed."""
