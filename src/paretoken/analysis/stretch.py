"""A stretch of samples as pairs of variants see it, and what they remember of those before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoken.analysis.bets import Wealths, padded

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sums:
    """Sums over the samples that both of a pair have values of; arrays of shape `(n_slots, n_slots)`."""

    def __init__(self) -> None:
        self.n, self.row, self.column, self.squares = (np.zeros((0, 0)) for _ in range(4))

    def grow(self, n: int) -> None:
        """Make room for n variants."""
        arrays = (self.n, self.row, self.column, self.squares)
        self.n, self.row, self.column, self.squares = (padded(array, n) for array in arrays)

    def clear(self, slot: int) -> None:
        """Forget a variant."""
        for array in (self.n, self.row, self.column, self.squares):
            array[slot, :] = array[:, slot] = 0.0

    def leads(self) -> NDArray[np.float64]:
        """Mean lead of the row over the column."""
        return np.asarray((self.row - self.column) / np.maximum(self.n, 1))


@dataclass(frozen=True, slots=True)
class Stretch:
    """One goal of a stretch of samples, as pairs see it; arrays of shape `(n_samples, n_pairs)` if not said otherwise.

    Attributes:
        row, column: Values; 0 where one of them is missing.
        row_sum, column_sum, n: Of the samples before each.
        row_ends, column_ends: Least and largest value, shape `(2, n_pairs)`.
        spread: Of the lead, by the samples before.
        left: Samples not drawn before each, shape `(n_samples, 1)`.
        on: Where both values are there.
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]
    row_sum: NDArray[np.float64]
    column_sum: NDArray[np.float64]
    n: NDArray[np.float64]
    row_ends: NDArray[np.float64]
    column_ends: NDArray[np.float64]
    spread: NDArray[np.float64]
    left: NDArray[np.float64]
    on: NDArray[np.bool_]

    def follow(self, pair: NDArray[np.int64]) -> Stretch:
        """Another pair at every sample, shape `(n_samples, n)`; the ends are those of all pairs alike."""

        def there(of: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.take_along_axis(of, pair, axis=1)

        return Stretch(there(self.row), there(self.column), there(self.row_sum), there(self.column_sum),
                        there(self.n), self.row_ends[:, pair], self.column_ends[:, pair], there(self.spread), self.left,
                        np.take_along_axis(self.on, pair, axis=1))  # fmt: skip

    def bet(
        self,
        wealths: Wealths,
        chosen: Any,
        meets: NDArray[np.bool_],
        row: float,
        column: float,
        plus: float,
        *,
        or_zero: bool = True,
    ) -> NDArray[np.float64]:
        """Bet on a positive mean of `row * row value + column * column value + plus` over samples that have both.

        Where one is missing it counts as 0, which changes no sum: how many will be missing is not known before. With
        `or_zero`, a mean that cannot be negative, as of two free models' costs, is as good as a positive one.
        """
        gain = np.where(self.on, row * self.row + column * self.column + plus, 0.0)
        expected = -(row * self.row_sum + column * self.column_sum + plus * self.n) / self.left
        least = row * self.row_ends[int(row < 0)] + column * self.column_ends[int(column < 0)] + plus
        room = np.where((least >= 0) & or_zero, -math.inf, expected - np.minimum(least, 0.0))
        return wealths.bet(chosen, gain - expected, room, self.spread, meets)
