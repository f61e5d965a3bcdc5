"""The same samples under several variants, in the order in which they were drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paretoken.core.calls import FIRST_REPEAT
from paretoken.core.trials import draw_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.records.table import RecordTable


class Units(NamedTuple):
    """What is independent of each other: sums over clusters, or single samples; arrays of shape `(n_clusters,)`.

    Attributes:
        control, treatment: Sums of values.
        sizes: Samples.
    """

    control: NDArray[np.float64]
    treatment: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def differences(self) -> NDArray[np.float64]:
        """Treatment less control."""
        return self.treatment - self.control

    @property
    def alike(self) -> bool:
        """All samples differ by the same amount."""
        differences = self.differences
        return bool(np.ptp(differences / self.sizes) <= 1e-12 * (1 + abs(differences[0])))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Values of two variants on the samples that have both, in drawn order.

    Attributes:
        control, treatment: Shape `(n,)`.
        cluster: Cluster of each sample, shape `(n,)`; samples of one cluster are adjacent.
        asked: Samples put to both, with or without values.
    """

    control: NDArray[np.float64]
    treatment: NDArray[np.float64]
    cluster: NDArray[np.int64]
    asked: int

    def __len__(self) -> int:
        return len(self.control)

    @property
    def complete(self) -> bool:
        """No value is missing."""
        return self.asked == len(self)

    @property
    def positive(self) -> bool:
        """No value is negative, and the control's are not all zero: then their ratio has a meaning."""
        return bool(self.control.min() >= 0 and self.treatment.min() >= 0 and self.control.sum() > 0)

    def units(self) -> Units:
        """Sums over clusters."""
        starts = np.flatnonzero(np.diff(self.cluster, prepend=-1))
        if len(starts) == len(self):
            return Units(self.control, self.treatment, np.ones(len(self)))
        sizes = np.diff(starts, append=len(self)).astype(float)
        return Units(np.add.reduceat(self.control, starts), np.add.reduceat(self.treatment, starts), sizes)


@dataclass(frozen=True, slots=True)
class Panel:
    """Values of several variants on the planned samples.

    Attributes:
        samples: Ids of all planned samples, in drawn order, shape `(n,)`.
        variants: Ids.
        cluster: Cluster of each sample; without clusters each sample is its own.
        asked: Whether all repeats are recorded, shape `(n_variants, n)`.
        values: Means over repeats by name, shape `(n_variants, n)`; NaN where there is none.
        difficulty: What other variants scored on each planned sample in earlier runs, by metric, shape `(n,)`.
    """

    samples: Sequence[str]
    variants: Sequence[str]
    cluster: NDArray[np.int64]
    asked: NDArray[np.bool_]
    values: Mapping[str, NDArray[np.float64]]
    difficulty: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def with_difficulty(self, known: Mapping[str, Mapping[str, float]]) -> Panel:
        """With the difficulty of samples, by metric and sample id; metrics that lack a sample are left out."""
        rows = {
            name: np.array([of[id_] for id_ in self.samples])
            for name, of in known.items()
            if all(id_ in of for id_ in self.samples)
        }
        return replace(self, difficulty=rows)

    def only(self, chosen: NDArray[np.bool_]) -> Panel:
        """Some of the samples; what is known of the difficulty of all tells nothing of a part."""
        if chosen.all():
            return self
        return replace(
            self,
            samples=[id_ for id_, keep in zip(self.samples, chosen, strict=True) if keep],
            cluster=self.cluster[chosen],
            asked=self.asked[:, chosen],
            values={name: rows[:, chosen] for name, rows in self.values.items()},
            difficulty={},
        )

    def seen(self, n: int) -> Panel:
        """As it was when only the first n samples of the drawn order were answered."""
        asked = self.asked.copy()
        asked[:, n:] = False
        return replace(self, asked=asked)

    @property
    def n_units(self) -> int:
        """Planned clusters."""
        return len(np.unique(self.cluster))

    def whole(self, *variants: str) -> int:
        """Samples of the drawn order up to the first cluster that is not yet put to all of these variants whole.

        What lies behind is left out by every look: answers that come early are not like the others.
        """
        open_ = ~self.asked[[self.variants.index(v) for v in variants]].all(axis=0)
        if not open_.any():
            return len(self.samples)
        return int(np.searchsorted(self.cluster, self.cluster[int(open_.argmax())]))

    def pairs(self, control: str, treatment: str, name: str, *, prefix: bool) -> Pairs:
        """Two variants' values of a quantity.

        Args:
            control: Variant id.
            treatment: Variant id.
            name: What is compared; unknown names give no pairs.
            prefix: Only the whole beginning of the drawn order.
        """
        if control not in self.variants or treatment not in self.variants:
            return Pairs(np.empty(0), np.empty(0), np.empty(0, np.int64), 0)
        a, b = self.variants.index(control), self.variants.index(treatment)
        n = self.whole(control, treatment) if prefix else len(self.samples)
        asked = self.asked[a, :n] & self.asked[b, :n]
        rows = self.values.get(name)
        if rows is None:
            return Pairs(np.empty(0), np.empty(0), np.empty(0, np.int64), int(asked.sum()))
        known = ~np.isnan(rows[a, :n]) & ~np.isnan(rows[b, :n])
        return Pairs(rows[a, :n][known], rows[b, :n][known], self.cluster[:n][known], int((asked | known).sum()))


def drawn(samples: Sequence[str], seed: int, clusters: Mapping[str, str] | None) -> tuple[list[str], NDArray[np.int64]]:
    """Samples in drawn order, and the number of each one's cluster."""
    order = draw_order(samples, seed, clusters)
    if not clusters:
        return order, np.arange(len(order))
    numbers: dict[str, int] = {}
    return order, np.array([numbers.setdefault(clusters[id_], len(numbers)) for id_ in order], np.int64)


def empty_panel(
    variants: Sequence[str], samples: Sequence[str], seed: int, clusters: Mapping[str, str] | None
) -> Panel:
    """The panel of a run that has not begun."""
    order, cluster = drawn(samples, seed, clusters)
    return Panel(order, list(variants), cluster, np.zeros((len(variants), len(order)), np.bool_), {})


def tabulate(table: RecordTable, order: Sequence[str], cluster: NDArray[np.int64], repeats: int) -> Panel:
    """The panel of a run's records.

    Args:
        table: The records.
        order: All planned samples, in drawn order.
        cluster: Cluster of each of them.
        repeats: How often each cell is asked.
    """
    place = {id_: i for i, id_ in enumerate(order)}
    where = np.array([place.get(id_, -1) for id_ in table.sample_ids], np.int64)
    n_cells = len(table.variant_ids) * len(order)
    column = where[table.sample] if len(table) else np.empty(0, np.int64)
    cell = table.variant * len(order) + column
    shape = (len(table.variant_ids), len(order))
    counts = np.bincount(cell[column >= 0], minlength=n_cells).reshape(shape)
    values = {}
    for name, numbers in table.values.items():
        known = ~np.isnan(numbers) & (column >= 0)
        if name in FIRST_REPEAT:
            known &= table.repeat == 0
        n = np.bincount(cell[known], minlength=n_cells)
        sums = np.bincount(cell[known], numbers[known], minlength=n_cells)
        with np.errstate(invalid="ignore"):
            values[name] = (sums / n).reshape(shape)
    return Panel(list(order), list(table.variant_ids), cluster, counts >= repeats, values)
