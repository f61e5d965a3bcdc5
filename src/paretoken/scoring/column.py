"""Scores that were recorded earlier, by people or by another judge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, SupportsFloat

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import LARGEST_SCORE, Scored, ScoreItem
from paretoken.core.text import comparable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Column:
    """A recorded score, read from a column of the sample.

    Args:
        column: The column; its name is the metric's.
        range: Lowest and highest score of the scale, mapped to 0 and 1; None to take scores as they are.

    Raises:
        SpecError: The column is not a name or the range not two rising numbers.
    """

    name = "column"
    needs_reference = False

    def __init__(self, column: str, range: Sequence[float] | None = None) -> None:  # noqa: A002 - the spec's word
        if not isinstance(column, str) or not column:
            raise SpecError(f"column is given {column!r}.", fix="Give the column's name.")
        if range is not None and not rising(range):
            raise SpecError(
                f"column {column!r} has the range {range!r}.", fix="Give its lowest and highest score: range: [1, 10]."
            )
        column = comparable(column)
        self.metrics: tuple[str, ...] = (column,)
        self.ranges: Mapping[str, tuple[float, float]] = {} if range is None else {column: (0.0, 1.0)}
        self._column, self._range = column, range

    @property
    def provenance(self) -> str:
        """Column and scale."""
        return f"column({self._column!r}{f', range={list(self._range)}' if self._range is not None else ''})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Read a batch, shape `(n, 1)`.

        Raises:
            ScoreError: A recorded score is outside the range.
        """
        return [[self._read(item)] for item in items]

    def _read(self, item: ScoreItem) -> Scored:
        column = self._column
        recorded = item.fields.get(column)
        if recorded is None or recorded == "":
            return Scored(column, None, f"the sample has no score in column {column!r}")
        value = read_number(recorded)
        if value is None:
            return Scored(column, None, f"column {column!r} holds {recorded!r}, which is not a number")
        if self._range is None:
            return Scored(column, value)
        low, high = self._range
        if not low <= value <= high:
            raise ScoreError(
                f"column {column!r} holds {recorded!r}, outside its range [{low}, {high}]: "
                "correct the range or the recorded score"
            )
        return Scored(column, (value - low) / (high - low))


def read_number(recorded: object) -> float | None:
    """A recorded number in any dress; None for anything else."""
    try:
        value = float(recorded) if isinstance(recorded, str | SupportsFloat) else math.nan
    except (ValueError, TypeError, OverflowError):
        return None
    return value if abs(value) <= LARGEST_SCORE else None


def rising(bounds: object) -> bool:
    """Whether something is two rising numbers."""
    return (
        isinstance(bounds, list | tuple)
        and len(bounds) == 2
        and all(isinstance(b, int | float) and not isinstance(b, bool) and abs(b) <= LARGEST_SCORE for b in bounds)
        and bounds[0] < bounds[1]
    )
