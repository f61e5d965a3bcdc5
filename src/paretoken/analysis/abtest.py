"""An A/B test as it was declared: which questions it asks of a panel of values, and what they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from paretoken.analysis.difference import Measure, PairedDifference, Rules, measure
from paretoken.analysis.objectives import split_quantile
from paretoken.analysis.paired import PairedT
from paretoken.analysis.power import Reach, chance_to_decide, reach
from paretoken.analysis.sequences import BURN_IN, Asymptotic, Betting
from paretoken.analysis.verdict import Comparison, Finding, decide_family, judge_alone, judge_family, without_warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoken.analysis.panel import Panel

FUTILE = 0.05
"""Chance of a decision below which a question is given up."""
MIN_LOOK = 30
"""Samples before which nothing is given up."""
END_ERROR = 0.025
"""Error of each end of a variant's own interval."""
WON = ("cheaper", "cheaper, not worse", "cheaper, better")
"""Verdicts that make a treatment the winner, or confirm it."""
RELABELLINGS = 1000
"""How often pairs are relabelled to see whether a test keeps its promise."""
INFORMATIVE = ("input_tokens", "output_tokens", "latency_s", "latency_s.p95", "latency_s.p99")

Found = tuple[Measure, float | None, Finding]
"""What was found of a quantity with a margin, or None for none."""
Mode = Literal["fixed", "continuous"]
Population = Literal["beyond", "dataset"]


@dataclass(frozen=True)
class AbTest:
    """What was declared before the run.

    Attributes:
        control: Variant id.
        treatments: Variant ids.
        labels: Label by variant id.
        metrics: Quality metrics that are judged, larger is better.
        margins: Largest loss that counts as not worse, by quantity.
        alpha: Error rate of all questions together.
        mode: `fixed` or `continuous`.
        sequence: Kind of confidence sequence.
        population: What the verdict speaks of.
        settled: Ids of variants whose answers would come out the same if asked again.
        confirm: Share of the samples, the last drawn, that is held out to confirm the winner.
        ranges: Bounds of quantities by variant id and name.
        alike: The arms are alike, for the test itself is tested: no number of samples would tell them apart.
        relabel: Seed by which control and treatment are swapped at random, sample by sample; None does not.
    """

    control: str
    treatments: tuple[str, ...]
    labels: Mapping[str, str]
    metrics: tuple[str, ...]
    margins: Mapping[str, float]
    alpha: float = 0.05
    mode: Mode = "fixed"
    sequence: Literal["betting", "asymptotic"] = "betting"
    population: Population = "beyond"
    settled: frozenset[str] = frozenset()
    confirm: float = 0.0
    ranges: Mapping[str, Mapping[str, tuple[float, float]]] | None = None
    alike: bool = False
    relabel: int | None = None

    @classmethod
    def of(cls, lock: Mapping[str, object], control: str = "", treatments: Sequence[str] = ()) -> AbTest:
        """The test that a run's lock declares; of a grid, the same questions of the variants named.

        Args:
            lock: The run's lock.
            control: Variant id, where it is not the declared one.
            treatments: Variant ids, likewise.
        """
        body = cast("dict[str, Any]", lock)
        plan, rows, goals = body["plan"], body["variants"], body["objectives"]
        scorers = body["scorers"]
        metrics = [metric for scorer in scorers for metric in scorer["metrics"]]
        judged = [m for m in goals["maximize"] if m in metrics] or [m for m in metrics if m not in goals["minimize"]]
        judged += [name for name in plan.get("margin", {}) if name in metrics and name not in judged]
        scores = {name: tuple(ends) for scorer in scorers for name, ends in scorer.get("ranges", {}).items()}
        scores |= {name: tuple(ends) for name, ends in plan.get("range", {}).items()}
        most = body.get("most", {})
        ranges = {r["id"]: {n: (0.0, top) for n, top in most.get(r["id"], {}).items()} | scores for r in rows}
        recorded = {id_ for id_, model in body["models"].items() if model["recorded"]}
        settled = {r["id"] for r in rows if r["model"] in recorded or not r["params"].get("temperature", 0.0)}
        return cls(
            control=control or plan["control"],
            treatments=tuple(treatments or plan["treatment"]),
            labels={row["id"]: row["label"] for row in rows},
            metrics=tuple(judged),
            margins=plan.get("margin", {}),
            alpha=plan.get("alpha", 0.05),
            mode=plan.get("mode", "fixed"),
            sequence=plan.get("sequence", "betting"),
            population=plan.get("population", "beyond"),
            settled=frozenset(settled),
            confirm=plan.get("confirm") or 0.0,
            ranges=ranges,
            alike="aa" in plan,
            relabel=plan.get("relabel"),
        )

    @property
    def continuous(self) -> bool:
        """Whether it may be looked at before its end."""
        return self.mode == "continuous"

    def anytime(self) -> AbTest:
        """The same questions, answered by intervals that hold at every look."""
        return replace(self, mode="continuous")

    def quantities(self) -> list[str]:
        """The declared questions' quantities: cost, metrics, and whatever else has a margin."""
        return ["list_usd", *self.metrics, *(n for n in self.margins if n not in ("list_usd", *self.metrics))]

    def parts(self, panel: Panel) -> tuple[Panel, Panel | None]:
        """The samples among which a winner is selected, and those held out to confirm it."""
        if not self.confirm:
            return panel, None
        units = np.unique(panel.cluster, return_inverse=True)[1]
        first = units < round((1 - self.confirm) * panel.n_units)
        return panel.only(first), panel.only(~first)

    def rules(self, panel: Panel, treatment: str, n_units: int | None = None) -> Rules:
        """How one comparison is to be made.

        Args:
            panel: The planned samples.
            treatment: Variant id.
            n_units: Size of the population, where the panel is a part of it.
        """
        ranges = self.ranges or {}
        if self.relabel is not None:
            ranges = dict.fromkeys((self.control, treatment), _hull(ranges, self.control, treatment))
        return Rules(
            mode=self.mode,
            sequence=self.sequence,
            population=self.population,
            settled=self.relabel is None and {self.control, treatment} <= self.settled,
            n_units=n_units or panel.n_units,
            horizon=panel.n_units,
            max_unit=int(np.bincount(panel.cluster).max()) if len(panel.cluster) else 1,
            ranges=ranges,
        )

    def _measure(self, panel: Panel, treatment: str, name: str, n_units: int | None) -> Measure | None:
        values = split_quantile(name)[0]
        pairs = panel.pairs(self.control, treatment, values, prefix=self.continuous)
        if self.relabel is not None:
            swap = np.random.default_rng([self.relabel, 7]).random(int(panel.cluster.max()) + 1) < 0.5
            swapped = swap[pairs.cluster]
            a, b = pairs.control, pairs.treatment
            pairs = replace(pairs, control=np.where(swapped, b, a), treatment=np.where(swapped, a, b))
        whole = n_units is None or n_units == panel.n_units
        difficulty = panel.difficulty.get(name) if whole and self.relabel is None else None
        return measure(name, pairs, self.rules(panel, treatment, n_units), self.control, treatment, difficulty)

    def _questions(self, panel: Panel, n_units: int | None) -> Iterator[tuple[str, Measure, float | None]]:
        for treatment in self.treatments:
            for name in self.quantities():
                found = self._measure(panel, treatment, name, n_units)
                if found is not None:
                    yield treatment, found, self.margins.get(name)

    def _unseen(self, asked: Sequence[object], treatments: int) -> int:
        """Questions of the family without an answer yet: those declared less those asked, and of further treatments."""
        return (treatments + len(self.treatments)) * len(self.quantities()) - len(asked)

    def compare(self, panel: Panel, *, unseen: int = 0, part: str = "", n_units: int | None = None) -> list[Comparison]:
        """Every treatment against the control; the declared questions are one family.

        Args:
            panel: The planned samples and what is known of them.
            unseen: Treatments that were looked at before these were chosen; they count as open.
            part: What samples these are, in words.
            n_units: Size of the population, where the panel is a part of it.
        """
        asked = list(self._questions(panel, n_units))
        judged = judge_family([(m, margin) for _, m, margin in asked], self.alpha, unseen=self._unseen(asked, unseen))
        if self.alike:
            judged = [replace(judgement, needs=None) for judgement in judged]
        if self.relabel is not None:
            part = "labels swapped at random"
        comparisons = []
        for treatment in self.treatments:
            own = {m.name: j for (id_, m, _), j in zip(asked, judged, strict=True) if id_ == treatment}
            others = [j for name, j in own.items() if name != "list_usd" and name not in self.metrics]
            for name in INFORMATIVE:
                found = None if name in own else self._measure(panel, treatment, name, n_units)
                if found is not None and len(found.pairs):
                    others.append(without_warning(judge_alone(found, self.alpha)))
            quality = tuple(own[name] for name in self.metrics if name in own)
            n = max((j.difference.n for j in (*own.values(), *others)), default=0)
            seen = max((len(np.unique(m.pairs.cluster)) for id_, m, _ in asked if id_ == treatment), default=0)
            comparisons.append(
                Comparison(
                    self.labels[self.control], self.labels[treatment], own.get("list_usd"), quality, tuple(others), n,
                    len(panel.samples), self.population, self.continuous, part, len(panel.samples),
                    seen if panel.n_units < len(panel.samples) else None,
                )
            )  # fmt: skip
        return comparisons

    def winner(self, selected: Sequence[Comparison]) -> str | None:
        """The treatment to be confirmed: of those shown to be cheaper and not worse, the cheapest; its variant id."""
        good = [
            (c.cost.difference.mean_b, treatment)
            for c, treatment in zip(selected, self.treatments, strict=True)
            if c.cost is not None and c.cost.difference.mean_b is not None and c.verdict in WON
        ]
        return min(good)[1] if good else None

    def result(self, panel: Panel) -> tuple[list[Comparison], Comparison | None]:
        """The comparisons, and the winner's confirmation on samples that had no say in its selection."""
        selection, held_out = self.parts(panel)
        if held_out is None:
            return self.compare(panel), None
        whole = len(panel.samples)
        found = self.compare(selection, part="selection", n_units=panel.n_units)
        compared = [replace(comparison, whole=whole) for comparison in found]
        winner = self.winner(compared)
        if winner is None:
            return compared, None
        alone = replace(self, treatments=(winner,))
        confirmed = alone.compare(held_out, part="held out", n_units=panel.n_units)[0]
        return compared, replace(confirmed, whole=whole) if confirmed.n else None

    def findings(self, panel: Panel, n_units: int | None = None) -> tuple[dict[str, list[Found]], float]:
        """What is found of every treatment so far, without intervals, and the error of one end."""
        asked = list(self._questions(panel, n_units))
        found, error = decide_family([(m, margin) for _, m, margin in asked], self.alpha, unseen=self._unseen(asked, 0))
        by_treatment: dict[str, list[Found]] = {t: [] for t in self.treatments}
        for (treatment, m, margin), finding in zip(asked, found, strict=True):
            by_treatment[treatment].append((m, margin, finding))
        return by_treatment, error

    def look(self, panel: Panel, n_units: int | None = None) -> dict[str, str]:
        """Treatments that need no further samples: `answered` or `futile`, by variant id."""
        by_treatment, error = self.findings(panel, n_units)
        horizon = len(panel.samples)
        done = {}
        for treatment, found in by_treatment.items():
            open_ = [(m, margin) for m, margin, finding in found if finding in ("undecided", "cannot tell")]
            if found and not open_:
                done[treatment] = "answered"
            elif found and all(
                len(m.pairs) >= MIN_LOOK and chance_to_decide(m, margin, error, horizon) < FUTILE for m, margin in open_
            ):
                done[treatment] = "futile"
        return done

    def estimate(self, panel: Panel, variant: str, name: str) -> tuple[float, float] | None:
        """95 % bounds of a variant's mean, which hold at every look where the test does; None where nothing is known.

        Args:
            panel: The planned samples and what is known of them.
            variant: Variant id.
            name: The quantity.
        """
        values = panel.pairs(variant, variant, name, prefix=self.continuous)
        if not len(values):
            return None
        s, _, sizes = values.units()
        if not self.continuous:
            return PairedT(s, sizes).interval(END_ERROR) if len(s) > 1 else None
        ends = (self.ranges or {}).get(variant, {}).get(name)
        if ends is None or values.control.min() < ends[0] or values.control.max() > ends[1]:
            spread = len(s) >= BURN_IN and np.ptp(s / sizes) > 0
            return Asymptotic(s, sizes, panel.n_units).interval(END_ERROR) if spread else None
        w_max = float(np.bincount(panel.cluster).max())
        return Betting(s, sizes, *ends, w_max=w_max, horizon=panel.n_units).interval(END_ERROR)

    def reach(self, panel: Panel, treatment: str, planned: int) -> list[Reach]:
        """What a number of samples can show of a treatment, from pairs that are recorded.

        Args:
            panel: Recorded pairs, of this experiment or an earlier one.
            treatment: Variant id.
            planned: Samples to come in all, those held out included.

        Returns:
            One entry per declared question of which ten pairs are known; at the level that the first of all questions
            is tested at.
        """
        alone = replace(self, mode="fixed", population="beyond", treatments=(treatment,), relabel=None)
        error = self.alpha / (2 * len(self.treatments) * len(self.quantities()))
        size = round((1 - self.confirm) * planned)
        finite = self.population == "dataset" and {self.control, treatment} <= self.settled
        return [
            reach(
                found,
                margin,
                error,
                size,
                sequential=self.continuous,
                width=self._width(treatment, found.name),
                total=planned if finite else math.inf,
            )
            for _, found, margin in alone._questions(panel, None)
            if isinstance(found.evidence, PairedT)
        ]

    def _width(self, treatment: str, name: str) -> float:
        """Largest possible difference of a sample, where a test rests on it."""
        a, b = ((self.ranges or {}).get(id_, {}).get(name) for id_ in (self.control, treatment))
        if a is None or b is None or not self.continuous or self.sequence == "asymptotic":
            return 0.0
        return max(b[1] - a[0], a[1] - b[0])

    def path(
        self, panel: Panel, treatment: str, name: str, n_points: int = 40, *, n_units: int | None = None
    ) -> list[tuple[int, PairedDifference]]:
        """How the interval of a quantity shrank: its confidence sequence after ever more samples.

        Args:
            panel: The planned samples and what is known of them.
            treatment: Variant id.
            name: The quantity.
            n_points: Most looks; they lie evenly.
            n_units: Size of the population, where the panel is a part of it.

        Returns:
            `(samples, difference)`, each number of samples once; the level is that of a single question.
        """
        if not {self.control, treatment} <= set(panel.variants):
            return []
        test = replace(self.anytime(), treatments=(treatment,))
        n = panel.whole(self.control, treatment)
        points = {}
        for k in np.unique(np.linspace(min(10, n), n, n_points).astype(int)):
            seen = panel.seen(int(k))
            found = test._measure(seen, treatment, name, n_units)
            if found is not None and found.evidence is not None and len(found.pairs) not in points:
                points[len(found.pairs)] = found.at(self.alpha / 2)
        return list(points.items())

    def false_differences(self, panel: Panel, n: int = RELABELLINGS) -> float:
        """Share of random relabellings of these very pairs in which a difference is found, where there is none.

        Control and treatment are swapped at random sample by sample, so that no difference is left; a test that keeps
        its promise finds one in at most `alpha` of the cases, whatever the number of looks.

        Args:
            panel: The pairs.
            n: How many relabellings.
        """
        wrong = 0
        for k in range(n):
            by_treatment, _ = replace(self, relabel=1000 + k).findings(panel)
            wrong += any(f in ("better", "worse") for found in by_treatment.values() for _, _, f in found)
        return wrong / n


def _hull(ranges: Mapping[str, Mapping[str, tuple[float, float]]], a: str, b: str) -> dict[str, tuple[float, float]]:
    """Bounds that hold for both of two variants."""
    one, other = ranges.get(a, {}), ranges.get(b, {})
    return {n: (min(ends[0], other[n][0]), max(ends[1], other[n][1])) for n, ends in one.items() if n in other}
