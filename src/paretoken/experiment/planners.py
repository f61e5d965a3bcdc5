"""Planners that put a fixed list of variants to the same samples, interleaved in seeded order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from paretoken.core.calls import FIRST_REPEAT, NUMBERS
from paretoken.core.trials import Cell, Done, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.core.trials import Record, Variant, Wait

BLOCK = 8
"""Samples per trial: small enough to interleave arms, large enough to score in batches."""


def blocks(samples: Sequence[str], variants: Sequence[Variant], repeats: int, seed: int, start: int) -> list[Trial]:
    """The trials of the block of samples that begins at `start`, variants in an order drawn for that block.

    So drift over time and the vendor's prompt cache meet all variants alike.
    """
    cells = tuple(Cell(sample, k) for sample in samples[start : start + BLOCK] for k in range(repeats))
    rng = random.Random(f"block/{seed}/{start}")  # noqa: S311 - an order, no secret
    return [Trial(variant, cells) for variant in rng.sample(list(variants), len(variants))]


def by_sample(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of each sample, repeats together."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.sample, []).append(record)
    return groups


def sample_means(group: Sequence[Record]) -> dict[str, float]:
    """Means over the repeats of a sample by name, as the records' table makes them."""
    sums: dict[str, list[float]] = {}
    for record in group:
        response = record.call.response
        if response is None:
            continue
        usage = response.usage
        said = (float(response.list_usd), float(response.billed_usd), usage.input_tokens, usage.output_tokens,
                response.latency_s, response.ttft_s)  # fmt: skip
        numbers = dict(zip(NUMBERS, said, strict=True)) | {m: score.value for m, score in record.scores.items()}
        for name, number in numbers.items():
            if number is not None and not (record.repeat and name in FIRST_REPEAT):
                sums.setdefault(name, []).append(number)
    return {name: sum(numbers) / len(numbers) for name, numbers in sums.items()}


class FixedPlanner:
    """Puts every variant to every sample: the grid, and an A/B test of fixed size.

    Args:
        variants: What is tried.
        samples: Sample ids in drawn order.
        repeats: How often each sample is asked.
        seed: Seed of the order of variants.
    """

    def __init__(self, variants: Sequence[Variant], samples: Sequence[str], *, repeats: int, seed: int) -> None:
        self.variants = list(variants)
        self.findings: Mapping[str, object] = {}
        starts = range(0, len(samples), BLOCK)
        self._trials = (trial for start in starts for trial in blocks(samples, variants, repeats, seed, start))

    def ask(self) -> Trial | Wait | Done:
        """The next block, until all are given out."""
        return next(self._trials, Done())

    def tell(self, trial: Trial, records: Sequence[Record]) -> None:
        """Nothing to learn: the size is fixed."""
