"""Where the variants of a search come from: a study proposes them, and is told what became of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.estimate import statistic
from paretoken.analysis.objectives import split_quantile
from paretoken.analysis.raceplan import interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Decision
    from paretoken.analysis.objectives import Objectives
    from paretoken.core.calls import Scalar
    from paretoken.core.trials import Variant
    from paretoken.experiment.raceplanner import Ends, Samples
    from paretoken.experiment.study import Study


class SearchEntrants:
    """Variants that a study proposes, a few at a time.

    A run that goes on hands out the study's trials of its own again, in their order, before it asks for new ones: the
    same records lead to the same decisions.

    Args:
        study: Proposes.
        objectives: What it is told.
        parallel: Variants that may be undecided at once.
        total: Samples of the race.
    """

    def __init__(self, study: Study, objectives: Objectives, *, parallel: int, total: int) -> None:
        self._study, self._objectives, self._parallel, self._total = study, objectives, parallel, total
        self._earlier = iter([tried for tried in study.trials() if tried.own])
        self._entered: list[str] = []
        self._numbers: dict[str, int] = {}
        self._finished: set[int] = set()

    def next(self, n_open: int) -> Variant | None:
        """The next variant; None while as many as may be are undecided, or if there are no more."""
        if n_open >= self._parallel:
            return None
        tried = next(self._earlier, None)
        if tried is not None and tried.state != "running":
            number, variant = tried.number, tried.variant
            self._finished.add(number)
        elif (asked := self._study.ask()) is not None:
            number, variant = asked
        else:
            return None
        self._entered.append(variant.id)
        self._numbers[variant.id] = number
        return variant

    def settle(self, variant: Variant, decision: Decision | None, samples: Samples, ends: Ends) -> None:
        """Tell the study a variant's estimates, and why it left, if it did."""
        number = self._numbers[variant.id]
        if number in self._finished:
            return
        goals = self._objectives
        columns = {
            name: np.array([sample.get(name, math.nan) for sample in samples])
            for name in {*(split_quantile(name)[0] for name in (*goals.names, *goals.subject_to)), *ends}
        }
        values = {name: _value(name, columns) for name in goals.names}
        margins = {
            name: bound - value if sign == ">=" else value - bound
            for name, (sign, bound) in goals.subject_to.items()
            if (value := _value(name, columns)) is not None
        }
        attrs: dict[str, Scalar | list[Scalar]] = {"variant": variant.id, "n": len(samples), **self._fate(decision)}
        for name, (low, high) in ends.items():
            seen = columns[name][~np.isnan(columns[name])]
            if (found := interval(seen, (low, high), self._total)) is not None:
                attrs[f"{name}_interval"] = [float(end) for end in found]
        self._study.tell(number, values, margins, attrs)

    def _fate(self, decision: Decision | None) -> dict[str, Scalar | list[Scalar]]:
        if decision is None:
            return {"fate": "open"}
        told: dict[str, Scalar | list[Scalar]] = {"fate": decision.fate}
        if decision.by:
            told["beaten_by"] = [self._numbers[self._entered[rival]] for rival in decision.by]
        return told | ({"breaks": list(decision.limits)} if decision.limits else {})

    def close(self, decisions: Mapping[int, Decision]) -> None:
        """Note in the study what became of every trial in the end: a trial that was told cannot change."""
        fates = {
            str(self._numbers[self._entered[arm]]): {"n": decision.n, **self._fate(decision)}
            for arm, decision in decisions.items()
        }
        self._study.note("decisions", fates)


def _value(name: str, columns: Mapping[str, NDArray[np.float64]]) -> float | None:
    """A mean, or a quantile such as `latency_s.p95`; None without values."""
    of, q = split_quantile(name)
    return statistic(columns[of], q)
