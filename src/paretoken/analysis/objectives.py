"""What is wanted, by the names of what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LATENCY_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def split_quantile(name: str) -> tuple[str, str]:
    """The measured quantity in a name, and the quantile asked for, empty for the mean.

    Only latency has quantiles; every other dot belongs to the name.

    >>> split_quantile("latency_s.p95"), split_quantile("judge.score")
    (('latency_s', 'p95'), ('judge.score', ''))
    """
    column, _, q = name.partition(".")
    return (column, q) if column == "latency_s" and q in LATENCY_QUANTILES else (name, "")


def is_quantile(name: str) -> bool:
    """Whether a name asks for a quantile of a quantity and not for its mean."""
    return split_quantile(name)[1] != ""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What is wanted.

    Attributes:
        minimize, maximize: Names as `VariantSummary.value` takes them.
        subject_to: Limits by name: `(">=" or "<=", bound)`.
    """

    minimize: tuple[str, ...]
    maximize: tuple[str, ...]
    subject_to: Mapping[str, tuple[str, float]]

    @property
    def names(self) -> tuple[str, ...]:
        """All objectives, minimised ones first."""
        return (*self.minimize, *self.maximize)

    def quality(self, metrics: Sequence[str]) -> str | None:
        """Of a run's metrics the first that is maximised, or else the first that is not minimised; None without one."""
        better = [name for name in metrics if name not in self.minimize]
        return next((name for name in (*self.maximize, *better) if name in better), None)
