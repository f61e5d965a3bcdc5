"""How far a judge agrees with people, and whether it is taken in by length."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from paretoken.records.table import RecordTable

N_RESAMPLES = 1000
MIN_ANSWERS = 10
"""Answers below which no interval is given."""
NOTABLE = 0.3
"""Rank correlation with length from which on it is worth a word."""
_WORDS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))

Interval = tuple[float, float, float]
"""A number and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Agreement:
    """One judge's answers beside people's labels and the answers' lengths.

    Args:
        metric: The judge's metric.
        column: People's labels; None where the spec names none.
        model: The judge.
        scale: Worst and best grade.
        compares: The judge compares two texts, and gives 0, 0.5 or 1.
        n: Answers that were put to it.
        judge: Its grades, mapped to 0 to 1, shape `(n_judged,)`.
        people: People's labels of the same answers, mapped in the same way; NaN without one, shape `(n_judged,)`.
        chars: Length of the answers, shape `(n_judged,)`.
        flips: 1 where the verdict depends on the order of the texts, else 0; NaN for grades, shape `(n_judged,)`.
        sample: Index of the answers' samples, which are what is drawn again, shape `(n_judged,)`.
        seed: Of the draws.
    """

    metric: str
    column: str | None
    model: str
    scale: tuple[float, float]
    compares: bool
    n: int
    judge: NDArray[np.float64]
    people: NDArray[np.float64]
    chars: NDArray[np.float64]
    flips: NDArray[np.float64]
    sample: NDArray[np.int64]
    seed: int

    @classmethod
    def of(cls, table: RecordTable, metric: str, facts: Mapping[str, Any], seed: int) -> Agreement:
        """Read a judge's columns of a run.

        Args:
            table: The run's records.
            metric: The judge's metric.
            facts: What the lock says of the judge.
            seed: The run's.
        """
        nothing = np.full(len(table), np.nan)
        grades = table.values.get(metric, nothing)
        known = ~np.isnan(grades)
        people, chars, flips = (
            table.values.get(f"{metric}.{name}", nothing)[known] for name in ("human", "chars", "flip")
        )
        low, high = facts["scale"]
        return cls(
            metric, facts["human"], facts["model"], (low, high), facts["compares"], int((~table.failed).sum()),
            grades[known], people, chars, flips, table.sample[known], seed,
        )  # fmt: skip

    @property
    def n_judged(self) -> int:
        """Answers with a grade."""
        return len(self.judge)

    @cached_property
    def _labelled(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.people)

    @property
    def n_labelled(self) -> int:
        """Answers with a grade and a label."""
        return int(self._labelled.sum())

    @property
    def flip_rate(self) -> float | None:
        """Share of comparisons whose verdict depends on the order of the texts."""
        known = self.flips[~np.isnan(self.flips)]
        return float(known.mean()) if len(known) else None

    @cached_property
    def _classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Grades and labels as numbers of classes: whole grades, tenths of shorter scales, or loss, tie, win."""
        span = self.scale[1] - self.scale[0]
        steps = 2 if self.compares else round(span) if span >= 2 else 10
        judge, people = (np.rint(steps * v[self._labelled]).astype(np.int64) for v in (self.judge, self.people))
        return judge, people, steps + 1

    @property
    def exact(self) -> float | None:
        """Share of answers to which judge and people give the same grade, rounded to whole grades."""
        judge, people, _ = self._classes
        return float((judge == people).mean()) if len(judge) else None

    @cached_property
    def kappa(self) -> Interval | None:
        """Cohen's kappa with its interval: quadratic weights for grades, none for comparisons.

        None with too few labels, or where chance alone would agree as well (all labels are alike).

        Source: Cohen (1968), "Weighted kappa", Psychological Bulletin 70; percentile bootstrap over samples.
        """
        judge, people, k = self._classes
        cells = np.zeros((self.sample.max(initial=0) + 1, k * k))
        np.add.at(cells, (self.sample[self._labelled], k * judge + people), 1)
        apart = np.subtract.outer(np.arange(k), np.arange(k)) ** 2
        cost = (apart > 0).astype(float) if self.compares else apart.astype(float)

        def kappa(counts: NDArray[np.float64]) -> NDArray[np.float64]:
            tables = counts.reshape(-1, k, k) / counts.sum(axis=1)[:, None, None]
            seen = (tables * cost).sum(axis=(1, 2))
            by_chance = np.einsum("ni,ij,nj->n", tables.sum(axis=2), cost, tables.sum(axis=1))
            return np.asarray(1 - np.divide(seen, by_chance, out=np.full(len(seen), np.nan), where=by_chance > 0))

        return self._interval(cells, kappa)

    @cached_property
    def length_bias(self) -> Interval | None:
        """How much higher the judge grades an answer than people do, for every doubling of its length [0 to 1].

        Slope of judge - people on log2 of the length, by least squares, with a percentile bootstrap over samples.
        """
        long = np.log2(np.maximum(self.chars[self._labelled], 1))
        gap = (self.judge - self.people)[self._labelled]
        sums = np.zeros((self.sample.max(initial=0) + 1, 5))
        np.add.at(sums, self.sample[self._labelled], np.stack([np.ones_like(gap), long, gap, long * gap, long**2], 1))

        def slope(total: NDArray[np.float64]) -> NDArray[np.float64]:
            n, x, y, xy, xx = total.T
            spread = xx - x * x / n
            known = spread > 1e-9 * n
            return np.asarray(np.divide(xy - x * y / n, spread, out=np.full(len(n), np.nan), where=known))

        return self._interval(sums, slope)

    def _interval(
        self, by_sample: NDArray[np.float64], number: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Interval | None:
        """A number of sums over samples, with the interval that samples drawn again give it.

        Args:
            by_sample: Sums of each sample's answers, shape `(n_samples, n_sums)`.
            number: Gives one number per row of sums, NaN where there is none.
        """
        sums = by_sample[by_sample.any(axis=1)]
        if self.n_labelled < MIN_ANSWERS or np.isnan(found := number(sums.sum(axis=0, keepdims=True))[0]):
            return None
        rng = np.random.default_rng([self.seed, len(sums)])
        even = np.full(len(sums), 1 / len(sums))
        drawn = number(np.stack([rng.multinomial(len(sums), even) @ sums for _ in range(N_RESAMPLES)]))
        low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975])
        return float(found), float(low), float(high)

    @property
    def length_correlation(self) -> float | None:
        """Spearman's correlation of grades with length; good answers may be long, so this alone is no bias."""
        if self.n_judged < MIN_ANSWERS or len(set(self.judge)) < 2 or len(set(self.chars)) < 2:
            return None
        return float(np.corrcoef(_ranks(self.judge), _ranks(self.chars))[0, 1])

    @property
    def sentence(self) -> str:
        """All that is to be said of the judge."""
        against = "" if self.column is None else f" against {self.column}"
        told = [*([] if self.column is None else self._agreement()), *self._cautions()]
        if not told:
            told = [f"graded {self.n_judged} answers; whether people would agree is unknown (human: COLUMN tells)"]
        name = "judge" if self.metric == "judge" else f"judge {self.metric}"
        return f"{name}{against}: {'; '.join(told)}"

    def _agreement(self) -> list[str]:
        if self.n_labelled < MIN_ANSWERS:
            return [f"{self.n_labelled} answers have a grade and a label, too few to tell how far they agree"]
        same = "" if self.exact is None else f", the same grade for {100 * self.exact:.0f} %"
        if self.kappa is None:
            told = [f"kappa is not defined on {self.n_labelled} answers that are all graded alike{same}"]
        else:
            told = [f"kappa {_shown(self.kappa)} on {self.n_labelled} answers: {_in_words(self.kappa[0])}{same}"]
        if (bias := self.length_bias) is None:
            return told
        if bias[1] <= 0 <= bias[2]:
            return [*told, f"no leaning towards length is shown ({_shown(bias)} per doubling)"]
        side, sign = ("higher", 1) if bias[0] > 0 else ("lower", -1)
        size, (low, high) = sign * bias[0], sorted(sign * end for end in bias[1:])
        return [*told, f"answers twice as long are graded {_shown((size, low, high))} {side} than people grade them"]

    def _cautions(self) -> list[str]:
        told = []
        if self.n_judged < self.n:
            told.append(f"no grade for {self.n - self.n_judged} of {self.n} answers, for reasons in the report")
        if self.flip_rate is not None:
            told.append(f"the verdict depends on the order of the texts for {100 * self.flip_rate:.0f} % of them")
        rho = self.length_correlation
        if self.column is None and rho is not None and abs(rho) >= NOTABLE:
            kind = "longer" if rho > 0 else "shorter"
            told.append(f"{kind} answers get higher grades (Spearman {rho:+.2f} on {self.n_judged} answers): they may "
                        "be better, or it may favour them; people's labels (human: COLUMN) would tell")  # fmt: skip
        return told

    def body(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "metric": self.metric,
            "model": self.model,
            "human": self.column,
            "n": self.n,
            "n_judged": self.n_judged,
            "n_labelled": self.n_labelled,
            **{name: _ends(name, interval) for name, interval in self._intervals().items()},
            "same_grade_rate": self.exact,
            "flip_rate": self.flip_rate,
            "length_correlation": self.length_correlation,
            "sentence": self.sentence,
        }

    def _intervals(self) -> dict[str, Interval | None]:
        if self.column is None:
            return {}
        return {"kappa": self.kappa, "length_bias": self.length_bias}


def _ends(name: str, interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else dict(zip((name, "low", "high"), interval, strict=True))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _in_words(kappa: float) -> str:
    """Source: Landis and Koch (1977), "The measurement of observer agreement", Biometrics 33."""
    return next((word for bound, word in _WORDS if kappa > bound), "none beyond chance")


def _shown(interval: Interval) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*(round(number, 2) + 0.0 for number in interval))  # no -0.00
