"""What data say about one number, whichever way they were collected."""

from __future__ import annotations

from typing import Protocol


class Evidence(Protocol):
    """Tests and intervals of one number, each the inverse of the other.

    p-values and intervals of a fixed size hold for the size declared before; those of a confidence sequence hold at
    every look.

    Attributes:
        estimate: The number as it looks now.
    """

    @property
    def estimate(self) -> float: ...  # noqa: D102

    def p_above(self, bound: float) -> float:
        """p-value against `number <= bound`: small where the number is shown to lie above."""
        ...

    def p_below(self, bound: float) -> float:
        """p-value against `number >= bound`."""
        ...

    def interval(self, error: float) -> tuple[float, float]:
        """Bounds, each of which is wrong with probability `error` at most; infinite where nothing is known."""
        ...
