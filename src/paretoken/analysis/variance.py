"""Where the noise comes from: samples differ, answers to one sample differ, scores of one answer may differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from paretoken.records.table import RecordTable

WORTH = 0.1
"""Share by which another repeat has to narrow an interval to be worth its money."""
MAX_REPEATS = 10


@dataclass(frozen=True, slots=True)
class VarianceSplit:
    """Variance of a treatment's difference from the control on one quantity, by where it comes from.

    Attributes:
        name: The quantity.
        n, repeats: Samples that have all repeats in both arms, and how many repeats those are.
        sample: Variance between samples, of the mean over ever more answers.
        answer: Variance between answers to one sample, that of the scorer included where it is not known.
        scorer: Variance between scores of one and the same answer; None where no answer was scored twice, and for
            quantities that are not scored.
        standard_errors: Of the mean difference over these samples, had each been asked 1, 2, ... times.
        worth: Repeats beyond which one more narrows the interval by less than 10 %.
    """

    name: str
    n: int
    repeats: int
    sample: float
    answer: float
    scorer: float | None
    standard_errors: tuple[float, ...]
    worth: int


def split_variance(
    control: RecordTable,
    treatment: RecordTable,
    name: str,
    repeats: int,
    answers: Mapping[tuple[str, str, int], str] | None = None,
) -> VarianceSplit | None:
    """Split the variance of a paired difference.

    Args:
        control: The control's records.
        treatment: The treatment's, of the same table.
        name: The quantity.
        repeats: How often each sample was asked.
        answers: Text by variant id, sample id and repeat, to find answers that were scored twice; None knows none.

    Returns:
        None with less than two repeats, or two samples that have them all.

    Source: one-way random-effects analysis of variance, Searle, Casella and McCulloch (1992), "Variance Components",
    chapter 3, balanced data.
    """
    if repeats < 2:
        return None
    a, b = _grid(control, name, repeats), _grid(treatment, name, repeats)
    differences = b - a
    differences = differences[~np.isnan(differences).any(axis=1)]
    n = len(differences)
    if n < 2:
        return None
    within = float(differences.var(axis=1, ddof=1).mean())
    between = max(float(differences.mean(axis=1).var(ddof=1)) - within / repeats, 0.0)
    noise = [None if answers is None else _scorer_variance(arm, name, answers) for arm in (control, treatment)]
    scorer = None if noise[0] is None or noise[1] is None else min(noise[0] + noise[1], within)
    errors = tuple(((between + within / k) / n) ** 0.5 for k in range(1, MAX_REPEATS + 1))
    worth = 1
    while worth < MAX_REPEATS and errors[worth] < (1 - WORTH) * errors[worth - 1]:
        worth += 1
    return VarianceSplit(name, n, repeats, between, within - (scorer or 0.0), scorer, errors, worth)


def _grid(table: RecordTable, name: str, repeats: int) -> NDArray[np.float64]:
    """Values by sample and repeat; NaN where there is none."""
    grid = np.full((len(table.sample_ids), repeats), np.nan)
    column = table.values.get(name)
    if column is not None:
        grid[table.sample, table.repeat] = column
    return grid


def _scorer_variance(table: RecordTable, name: str, answers: Mapping[tuple[str, str, int], str]) -> float | None:
    """Pooled variance of scores of equal answers to one sample."""
    column = table.values.get(name)
    if column is None:
        return None
    groups: dict[tuple[int, str], list[float]] = {}
    for sample, variant, repeat, value in zip(table.sample, table.variant, table.repeat, column, strict=True):
        key = (table.variant_ids[int(variant)], table.sample_ids[int(sample)], int(repeat))
        if key in answers and not np.isnan(value):
            groups.setdefault((int(sample), answers[key]), []).append(float(value))
    twice = [np.array(group) for group in groups.values() if len(group) > 1]
    if not twice:
        return None
    degrees = sum(len(group) - 1 for group in twice)
    return float(sum(((group - group.mean()) ** 2).sum() for group in twice) / degrees)
