"""What a race found, read from a run's lock and records."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.analysis.estimate import Estimate, statistic, t_interval
from paretoken.analysis.hypervolume import Box, bootstrap_hypervolume
from paretoken.analysis.objectives import is_quantile, split_quantile
from paretoken.analysis.racecourse import Look, race_course, variant_course
from paretoken.analysis.raceplan import END_ERROR, RacePlan, interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.objectives import Objectives
    from paretoken.analysis.panel import Panel
    from paretoken.core.trials import RunInfo
    from paretoken.records.table import RecordTable

MIN_COMMON = 8
"""Samples that the chosen variants must have in common before an interval is given to their hypervolume."""
MOST_NAMED = 8
"""Most variants that a sentence names."""
_MUTE = {
    True: "is the same for every answer: it decides nothing",
    False: "has no value for any answer: it decides nothing",
}


@dataclass(frozen=True, slots=True)
class Departure:
    """What became of a variant.

    Attributes:
        fate: As in `Decision`; `open` where nothing is decided.
        n: Samples it had answered when it was decided, or has answered so far.
        by: Labels of the rivals that settled it.
        limits: Names of the limits that it breaks.
        kept_as: What a variant is called that was kept: `front`, or `cheapest` where one was looked for.
    """

    fate: str
    n: int
    by: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    kept_as: str = "front"

    @property
    def words(self) -> str:
        """Why it left, or that it did not."""
        others = f" and {len(self.by) - 1} more" if len(self.by) > 1 else ""
        match self.fate:
            case "beaten":
                return f"beaten by {self.by[0]}{others} after {self.n} samples"
            case "dearer":
                return f"more expensive than {self.by[0]}{others}"
            case "infeasible":
                return f"breaks {', '.join(self.limits)} after {self.n} samples"
            case "kept":
                return self.kept_as
        return "undecided so far"


@dataclass(frozen=True, slots=True)
class Saving:
    """What racing did not ask.

    Attributes:
        cells: Cells that were asked.
        planned: Cells of all variants that entered.
        usd: List cost of the cells that were asked [USD].
        saved_usd: List cost of those that were not, at each variant's mean [USD].
    """

    cells: int
    planned: int
    usd: float
    saved_usd: float

    @property
    def rate(self) -> float:
        """Share of the cost that was saved."""
        whole = self.usd + self.saved_usd
        return self.saved_usd / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One number of a chosen variant, as it was selected by and on samples that had no say in it."""

    label: str
    name: str
    selected: Estimate
    held_out: Estimate


class RaceOutcome:
    """What a race decided, and what it rests on.

    Args:
        run: The run.
        panel: Values of all variants on all samples, in drawn order.
        labels: Label by variant id.
        objectives: What it minimises and maximises.

    Attributes:
        plan: What was declared.
        selection: The samples that were raced on.
        held_out: Those that the chosen variants answered afterwards; None where there are none.
    """

    def __init__(self, run: RunInfo, panel: Panel, labels: Mapping[str, str], objectives: Objectives) -> None:
        lock = cast("dict[str, Any]", run.lock)
        self._run, self._labels, self._objectives = run, labels, objectives
        self._found: dict[str, Any] = lock.get("race", {})
        self._seed, self._repeats = int(lock["seed"]), int(lock["spec"].get("repeats", 1))
        self.plan = RacePlan.of(lock)
        raced = set(self.plan.parts(panel.samples)[0])
        chosen = np.array([sample in raced for sample in panel.samples], np.bool_)
        self.selection = panel.only(chosen)
        self.held_out = None if chosen.all() else panel.only(~chosen)

    @cached_property
    def departures(self) -> dict[str, Departure]:
        """What became of every variant, by id."""
        decided: dict[str, Any] = self._found.get("decisions", {})
        left = {id_: self._departure(id_, decided.get(id_)) for id_ in self._labels}
        return left if self.plan.races else self._compared(left)

    def _compared(self, left: Mapping[str, Departure]) -> dict[str, Departure]:
        """Where nobody could leave early, those that others beat at their values, quantiles too, are beaten."""
        signs = {**dict.fromkeys(self._objectives.minimize, 1.0), **dict.fromkeys(self._objectives.maximize, -1.0)}
        done = [id_ for id_, departure in left.items() if departure.fate == "kept"]
        rows = [[sign * self._value(id_, name) for name, sign in signs.items()] for id_ in done]
        points = np.nan_to_num(np.array(rows, dtype=float).reshape(len(rows), len(signs)), nan=math.inf)
        found = dict(left)
        for id_, own in zip(done, points, strict=True):
            better = np.all(points <= own, axis=1) & np.any(points < own, axis=1)
            if better.any():
                by = tuple(self._labels[other] for other, wins in zip(done, better, strict=True) if wins)
                found[id_] = Departure("beaten", left[id_].n, by)
        return found

    def _value(self, variant: str, name: str) -> float:
        """A mean, or a quantile such as `latency_s.p95`; NaN without values."""
        of, q = split_quantile(name)
        values = self._values(self.selection, variant, of)
        found = statistic(values, q)
        return math.nan if found is None else found

    def _departure(self, variant: str, body: Mapping[str, Any] | None) -> Departure:
        kept_as = "cheapest" if self.plan.kind == "cheapest" else "front"
        if body is None:
            return Departure("open", self.n_asked(variant), kept_as=kept_as)
        by = tuple(self._labels.get(rival, rival) for rival in body["by"])
        return Departure(body["fate"], body["n"], by, tuple(body["limits"]), kept_as)

    def n_asked(self, variant: str) -> int:
        """Samples of the race that a variant has answered, without a gap from the first on."""
        known = variant in self.selection.variants
        return self.selection.whole(variant) if known else 0

    @property
    def chosen(self) -> list[str]:
        """Ids of the front, or of the one that was looked for."""
        return [id_ for id_, departure in self.departures.items() if departure.fate == "kept"]

    def ends(self, variant: str, name: str) -> tuple[float, float] | None:
        """Least and largest value that a variant's calls can have; None where nothing bounds them."""
        if name in self.plan.ranges:
            return self.plan.ranges[name]
        ends = self._found.get("ends", {}).get(variant, {}).get(name)
        return None if ends is None else (ends[0], ends[1])

    def estimate(self, variant: str, name: str, estimate: Estimate) -> Estimate:
        """An estimate with an interval that holds at every look, of the mean over these samples."""
        values, ends = self._values(self.selection, variant, name), self.ends(variant, name)
        found = None if ends is None else interval(values, ends, len(self.selection.samples))
        low, high = found or (None, None)
        if low is not None and low == high and math.isclose(low, estimate.mean):
            low = high = estimate.mean
        return replace(estimate, low=low, high=high)

    def _values(self, panel: Panel, variant: str, name: str) -> NDArray[np.float64]:
        rows = panel.values.get(name)
        if rows is None or variant not in panel.variants:
            return np.empty(0)
        row = rows[panel.variants.index(variant)]
        if panel is self.selection:  # what lies behind a gap is not like the others
            row = row[: self.n_asked(variant)]
        return np.asarray(row[~np.isnan(row)])

    @cached_property
    def saving(self) -> Saving:
        """What racing did not ask."""
        total, cells, usd, saved = len(self.selection.samples), 0, 0.0, 0.0
        for id_ in self._labels:
            costs = self._values(self.selection, id_, "list_usd")
            n, mean = self._repeats * self.n_asked(id_), float(costs.mean()) if len(costs) else 0.0
            cells, usd, saved = cells + n, usd + n * mean, saved + (self._repeats * total - n) * mean
        return Saving(cells, self._repeats * total * len(self._labels), usd, saved)

    @cached_property
    def confirmed(self) -> list[Confirmed]:
        """The chosen variants' objectives beside what held-out samples say of them."""
        if self.held_out is None or self._run.status != "finished":
            return []
        names = [name for name in self._objectives.names if not is_quantile(name)]
        pairs = [
            (id_, name, self._values(self.selection, id_, name), self._values(self.held_out, id_, name))
            for id_ in self.chosen
            for name in names
        ]
        return [
            Confirmed(self._labels[id_], name, self.estimate(id_, name, t_interval(before)), t_interval(after))
            for id_, name, before, after in pairs
            if len(before) and len(after)
        ]

    def _points(self, variants: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
        """Variants with a value of every mean objective, and those values, smaller is better; `(n, n_objectives)`."""
        goals = self._goals
        rows = [[sign * _mean(self._values(self.selection, id_, name)) for name, sign in goals] for id_ in variants]
        points = np.array(rows, dtype=float).reshape(len(rows), len(goals))
        known = ~np.isnan(points).any(axis=1)
        return [id_ for id_, good in zip(variants, known, strict=True) if good], points[known]

    @property
    def _goals(self) -> list[tuple[str, float]]:
        """Mean objectives with their signs: smaller is better."""
        goals = self._objectives
        named = [(name, 1.0) for name in goals.minimize] + [(name, -1.0) for name in goals.maximize]
        return [(name, sign) for name, sign in named if not is_quantile(name)]

    @cached_property
    def hypervolume(self) -> tuple[float, float, float] | None:
        """Of the chosen variants in the box of all, with a 95 % interval; None before the end, or without values.

        On held-out samples where there are some, else on those that all chosen variants have answered.
        """
        points = self._points(list(self._labels))[1]
        panel = self.held_out or self.selection
        ids = [id_ for id_ in self.chosen if id_ in panel.variants]
        if not len(points) or not ids or self._run.status != "finished":
            return None
        rows = [panel.variants.index(id_) for id_ in ids]
        values = np.stack([sign * panel.values[name][rows].T for name, sign in self._goals], axis=2)
        values = values[~np.isnan(values).any(axis=(1, 2))]
        return bootstrap_hypervolume(Box.around(points), values, self._seed) if len(values) >= MIN_COMMON else None

    def course(self, table: RecordTable) -> list[Look]:
        """How the race came about.

        Args:
            table: The run's records.
        """
        ids, points = self._points(list(self._labels))
        if not len(points):
            return []
        stay = ("kept", "open")
        leaves = {id_: math.inf if left.fate in stay else left.n for id_, left in self.departures.items()}
        limits = {name: limit for name, limit in self._objectives.subject_to.items() if not is_quantile(name)}
        final = {id_: row for id_, row in zip(ids, points.tolist(), strict=True) if self._feasible(id_, limits)}
        return race_course(table.on(self.selection.samples), final, leaves, self._goals, limits, Box.around(points))

    def _feasible(self, variant: str, limits: Mapping[str, tuple[str, float]]) -> bool:
        means = {name: _mean(self._values(self.selection, variant, name)) for name in limits}
        kept = all(means[n] >= bound if sign == ">=" else means[n] <= bound for n, (sign, bound) in limits.items())
        return kept and self.departures[variant].fate != "infeasible"

    def path(self, variant: str, name: str) -> list[tuple[int, Estimate]]:
        """How a variant's mean, and the interval that holds at every look, came about: `(samples, estimate)`."""
        values, total = self._values(self.selection, variant, name), len(self.selection.samples)
        return variant_course(values, self.ends(variant, name), total, END_ERROR)

    def sentences(self) -> list[str]:
        """What is to be said of the race, one sentence each."""
        left, n = self.departures, len(self.selection.samples)
        confidence = f"{100 * (1 - self.plan.alpha):g} % confidence, on these {n} samples"
        told = [self._cheapest(confidence) if self.plan.kind == "cheapest" else self._front(confidence)]
        undecided = [self._labels[id_] for id_, departure in left.items() if departure.fate == "open"]
        if undecided and self._found:
            told.append(f"undecided: {_some(undecided)}")
        told += self._infeasible()
        told += [f"caution: {name} {_MUTE[known]}" for name, known in self.mute]
        if self.plan.races and (saving := self.saving).saved_usd > 0:
            told.append(
                f"racing asked {saving.cells:,} of {saving.planned:,} cells: ${saving.usd:.6f} at list price, "
                f"${saving.saved_usd:.6f} saved ({100 * saving.rate:.0f} %)"
            )
        if (volume := self.hypervolume) is not None and self.plan.kind != "cheapest":
            where = "on held-out samples" if self.held_out is not None else "on these samples"
            told.append(f"hypervolume of the front: {volume[0]:.3f} [{volume[1]:.3f}, {volume[2]:.3f}] {where}")
        return told

    def _front(self, confidence: str) -> str:
        names = [self._labels[id_] for id_ in self.chosen]
        beaten = sum(departure.fate == "beaten" for departure in self.departures.values())
        margins = [f"{goal.slack:g} {goal.name}" for goal in self.plan.goals if goal.slack]
        margins += [f"{100 * goal.tolerance:g} % {goal.name}" for goal in self.plan.goals if goal.tolerance]
        within = f", within {' and '.join(margins)}" if margins else ""
        entered = f"{len(self._labels)} variants"
        if not names:
            return f"no variant of {entered} is shown to be on the front"
        how = f"{beaten} of {entered} dropped" if beaten else f"none of {entered} dropped"
        if self._open:
            return f"front so far: {_some(names)}; {how}, each covered by one that is left{within} ({confidence})"
        if not self.plan.races:
            return f"front: {_some(names)}; {entered} answered all samples"
        return f"front: {_some(names)}; {how}, each covered by one on the front{within} ({confidence})"

    def _cheapest(self, confidence: str) -> str:
        wanted = [f"{limit.name} {'>=' if limit.at_least else '<='} {limit.bound:g}" for limit in self.plan.limits]
        if self.plan.within is not None:
            best = f'"{self._labels[self.plan.reference]}"' if self.plan.reference else "the best"
            wanted.insert(0, f"within {self.plan.within:g} of {best} on {self.plan.goals[0].name}")
        what = " and ".join(wanted)
        if not self.chosen:
            return f"the cheapest variant {what} is not known yet" if self._open else f"no variant is {what}"
        winner = self.chosen[0]
        cost = _mean(self._values(self.selection, winner, "list_usd"))
        dearest = max((_mean(self._values(self.selection, id_, "list_usd")), self._labels[id_]) for id_ in self._labels)
        saving = f', {100 * (1 - cost / dearest[0]):.0f} % below "{dearest[1]}"' if dearest[0] > cost else ""
        tolerance = self.plan.goals[1].tolerance
        about = f", beyond {100 * tolerance:g} %" if tolerance else ""
        closer = "" if self.plan.within is None else " within half of that margin"
        return (
            f'cheapest {what}: "{self._labels[winner]}" at ${1000 * cost:.4g} per 1,000 calls{saving}; no other'
            f"{closer or ' that keeps the limits'} costs less{about} ({confidence})"
        )

    @property
    def _open(self) -> bool:
        return any(departure.fate == "open" for departure in self.departures.values())

    def _infeasible(self) -> list[str]:
        """Which limit rules out most."""
        broken = [name for departure in self.departures.values() for name in departure.limits]
        if not broken:
            return []
        counts = sorted(((broken.count(name), name) for name in set(broken)), reverse=True)
        listed = ", ".join(f"{name} {count}" for count, name in counts)
        n = sum(departure.fate == "infeasible" for departure in self.departures.values())
        none = "no variant keeps the limits; " if n == len(self._labels) else ""
        return [f"{none}{n} of {len(self._labels)} variants break a limit: {listed}"]

    @property
    def mute(self) -> list[tuple[str, bool]]:
        """Objectives that tell nothing apart, and whether they have values."""
        found = []
        for name, _ in self._goals:
            rows = self.selection.values.get(name, np.empty(0))
            known = rows[~np.isnan(rows)]
            if not known.size or (np.ptp(known) == 0 and known.size > 1):
                found.append((name, bool(known.size)))
        return found


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _some(names: Sequence[str]) -> str:
    """A list of names, shortened where it is long."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(f'"{name}"' for name in names[:MOST_NAMED]) + more
