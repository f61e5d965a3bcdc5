"""How good a front is in one number: the share of the spanned space that it dominates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECADE = 10.0
"""Ratio of the largest to the smallest value from which on an objective is measured on a logarithmic scale."""
MARGIN = 0.05
"""How far beyond the worst value the reference lies, relative to the span."""
N_BOOTSTRAP = 200


@dataclass(frozen=True)
class Box:
    """The space that some points span, and in which fronts are measured; smaller is better in every dimension.

    Attributes:
        low, span: Of every dimension, on its scale; shape `(n_objectives,)`.
        logarithmic: Dimensions on a logarithmic scale.
    """

    low: NDArray[np.float64]
    span: NDArray[np.float64]
    logarithmic: NDArray[np.bool_]

    @classmethod
    def around(cls, points: NDArray[np.float64]) -> Box:
        """The box of some points, shape `(n, n_objectives)`; positive values over more than a decade go by ratio."""
        low, high = points.min(axis=0), points.max(axis=0)
        logarithmic = (low > 0) & (high >= DECADE * low)
        low, high = (np.log(end, where=logarithmic, out=end.copy()) for end in (low, high))
        return cls(low, np.where(high > low, high - low, 1.0), logarithmic)

    def hypervolume(self, points: NDArray[np.float64]) -> float:
        """Share of the box, with a margin beyond its worst corner, that some points dominate; 0 to 1."""
        from moocore import hypervolume

        if not len(points):
            return 0.0
        scaled = points.copy()
        np.log(points, where=self.logarithmic & (points > 0), out=scaled)
        scaled = np.maximum((scaled - self.low) / self.span, 0.0)
        return float(hypervolume(scaled, ref=np.full(len(self.low), 1 + MARGIN))) / (1 + MARGIN) ** len(self.low)


def bootstrap_hypervolume(box: Box, values: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """Hypervolume of the means over samples, with a 95 % interval.

    Args:
        box: In which it is measured.
        values: Shape `(n_samples, n_points, n_objectives)`, smaller is better; samples are drawn anew as a whole.
        seed: Of the drawing.

    Returns:
        The hypervolume, and the ends of its interval.
    """
    rng, n = np.random.default_rng([seed, 11]), len(values)
    drawn = [box.hypervolume(values[rng.integers(n, size=n)].mean(axis=0)) for _ in range(N_BOOTSTRAP)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return box.hypervolume(values.mean(axis=0)), float(low), float(high)
