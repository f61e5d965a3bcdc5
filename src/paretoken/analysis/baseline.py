"""A variant of a run, frozen: what later runs of the same question are held against."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.analysis.abtest import AbTest
from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from paretoken.analysis.panel import Panel
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison, Judgement

FROZEN = "baseline"
"""Stands for the frozen variant among variant ids."""


@dataclass(frozen=True)
class Baseline:
    """What was frozen; no texts.

    Attributes:
        run, at: The run and when it began.
        label, prompt, model, params: The variant.
        provenance: By metric, what its scores depend on.
        contents: Hash of input and references by id of every sample that was put to it.
        values: By metric, and of `list_usd`, the value of each sample that has one: a mean over repeats.
        ranges: By metric, the ends of its scale, where it has some.
    """

    run: str
    at: str
    question: str
    variant: str
    label: str
    prompt: str
    model: str
    params: Mapping[str, object]
    provenance: Mapping[str, str]
    contents: Mapping[str, str]
    values: Mapping[str, Mapping[str, float]]
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def freeze(cls, results: Results, reference: str | None = None) -> Baseline:
        """Take a variant of a run.

        Args:
            results: The run; its work must be done.
            reference: Label or id of the variant; None where there is one only.

        Raises:
            SpecError: The run goes on, the variant is not named, or it has no scores.
        """
        run, lock = results.run, cast("dict[str, Any]", results.run.lock)
        if run.status != "finished":
            raise SpecError(f"{run.id} is {run.status}: a baseline is a finished run.", fix="Finish it first.")
        answered = [summary.variant for summary in results.summaries]
        if reference is None and len(answered) != 1:
            known = ", ".join(results.labels[id_] for id_ in answered)
            raise SpecError(f"{run.id} has {len(answered)} variants.", fix=f"Name the one to freeze: {known}.")
        id_ = answered[0] if reference is None else results.variant_id(reference)
        panel, metrics = results.panel, results.metrics
        if id_ not in panel.variants:
            raise SpecError(f"{results.labels[id_]!r} has no answers in {run.id}.", fix="Freeze another variant.")
        row = panel.variants.index(id_)
        values = {
            name: {s: float(v) for s, v in zip(panel.samples, column[row], strict=True) if not np.isnan(v)}
            for name, column in panel.values.items()
            if name in ("list_usd", *metrics)
        }
        if not any(values.get(metric) for metric in metrics):
            raise SpecError(f"{results.labels[id_]!r} has no scores in {run.id}.", fix="Freeze another variant.")
        variant = next(row for row in lock["variants"] if row["id"] == id_)
        contents = contents_of(results.samples, lock["dataset"]["hash"])
        asked = {s: contents.get(s, "") for s, was in zip(panel.samples, panel.asked[row], strict=True) if was}
        ranges = {name: list(ends) for s in lock["scorers"] for name, ends in s.get("ranges", {}).items()}
        return cls(
            run.id, run.started_at, str(lock["question"]), id_, variant["label"], variant["prompt"], variant["model"],
            variant["params"], provenance_of(lock), asked, values, ranges,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The variant and its run."""
        return f"{self.label} of {self.run}"

    @property
    def lacking(self) -> dict[str, int]:
        """How many samples lack a score, by metric."""
        counts = {name: len(self.contents) - len(self.values.get(name, {})) for name in self.provenance}
        return {name: count for name, count in counts.items() if count}


def provenance_of(lock: Mapping[str, Any]) -> dict[str, str]:
    """What a run's scores depend on, by metric."""
    return {metric: scorer["provenance"] for scorer in lock["scorers"] for metric in scorer["metrics"]}


def contents_of(samples: Mapping[str, Mapping[str, object]], dataset: str) -> dict[str, str]:
    """Hash of what each sample asks and wants; where texts are not kept, of the dataset as a whole."""

    def content(body: Mapping[str, object]) -> str:
        told = [body.get("input"), body.get("reference"), body.get("further_references", [])]
        text = json.dumps(told if "input" in body else dataset, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    return {id_: content(body) for id_, body in samples.items()}


@dataclass(frozen=True)
class Held:
    """A run held against a baseline."""

    results: Results
    baseline: Baseline

    @cached_property
    def refused(self) -> dict[str, str]:
        """Metrics that are not compared with the baseline, each with a sentence that says why."""
        declared = AbTest.of(self.results.run.lock, FROZEN, ["-"]).metrics
        return refused(self.baseline, provenance_of(self.results.run.lock), declared)

    @property
    def itself(self) -> bool:
        """Whether the frozen variant is of this very run; a fresh checkout's run has its id, but other answers."""
        run = self.results.run
        return (self.baseline.run, self.baseline.at) == (run.id, run.started_at)

    @cached_property
    def _test(self) -> AbTest:
        """The run's own questions, asked of every variant that came to its end against the frozen one."""
        race = self.results.race
        ids = [summary.variant for summary in self.results.summaries]
        if race is not None:
            ids = [id_ for id_ in ids if id_ in race.chosen]
        frozen_here = self.baseline.variant if self.itself else None
        test = AbTest.of(self.results.run.lock, FROZEN, [id_ for id_ in ids if id_ != frozen_here] or ["-"])
        if race is not None or self.results.run.status != "finished":
            test = test.anytime()
        metrics = tuple(m for m in test.metrics if m not in self.refused)
        costs = self.baseline.values.get("list_usd", {}).values()
        scores = next(iter((test.ranges or {}).values()), {})
        scales = {name: (low, high) for name, (low, high) in self.baseline.ranges.items()}
        return replace(
            test,
            metrics=metrics,
            margins={name: margin for name, margin in test.margins.items() if name in (*metrics, "list_usd")},
            labels={**test.labels, FROZEN: self.baseline.name},
            ranges={
                **(test.ranges or {}),
                FROZEN: {**scales, **scores, "list_usd": (min(costs, default=0.0), max(costs, default=0.0))},
            },
            settled=test.settled | {FROZEN},
            confirm=0.0,
            relabel=None,
        )

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every judged variant against the baseline, on the samples that both have, unchanged.

        All are one family, with the variants that a race or search left behind.
        """
        test, panel = self._test, self._panel
        if test.treatments == ("-",) or not test.metrics or not panel.samples:
            return []
        race = self.results.race
        unseen = 0 if race is None else len(self.results.labels) - len(test.treatments)
        return [c for c in test.compare(panel, unseen=unseen) if c.n]

    @property
    def gated(self) -> list[Comparison]:
        """Those that a gate looks at: all but an A/B test's control, which is not up for a decision."""
        test = self.results.test
        control = None if test is None else test.labels[test.control]
        return [comparison for comparison in self.comparisons if comparison.treatment != control]

    @property
    def _panel(self) -> Panel:
        """The run's panel on the shared samples, with the frozen values as one more variant."""
        contents = contents_of(self.results.samples, cast("dict[str, Any]", self.results.run.lock["dataset"])["hash"])
        panel = self.results.panel
        same = np.array([contents.get(id_, "") == self.baseline.contents.get(id_) for id_ in panel.samples], np.bool_)
        panel = replace(panel.only(same), difficulty={})
        own = provenance_of(self.results.run.lock)

        def frozen(name: str) -> list[float]:
            known = self.baseline.values.get(name, {}) if own.get(name) == self.baseline.provenance.get(name) else {}
            return [known.get(id_, np.nan) for id_ in panel.samples]

        values = {name: np.vstack([rows, frozen(name)]) for name, rows in panel.values.items()}
        asked = np.vstack([panel.asked, np.ones(len(panel.samples), np.bool_)])
        return replace(panel, variants=[*panel.variants, FROZEN], asked=asked, values=values)

    @property
    def nothing(self) -> str | None:
        """Why no variant is compared; None where one is."""
        race = self.results.race
        if self.comparisons:
            return None
        if self.refused and not self._test.metrics:
            return "; ".join(self.refused.values())
        if race is not None and not race.chosen:
            return f'the race chose no variant to hold against the baseline "{self.baseline.name}"'
        if self.itself and self._test.treatments == ("-",):
            return f'this run\'s "{self.baseline.label}" is the baseline itself ({self.baseline.run})'
        return f'no sample of this run is in the baseline "{self.baseline.name}" unchanged'

    @property
    def sentences(self) -> list[str]:
        """What is to be said, one sentence each: what cannot be compared first."""
        if self.nothing is not None:
            return list(self.refused.values()) if not self._test.metrics else [*self.refused.values(), self.nothing]
        return [*self.refused.values(), *(self._sentence(c, j) for c in self.comparisons for j in c.quality)]

    def _sentence(self, comparison: Comparison, judgement: Judgement) -> str:
        d = judgement.difference
        words = {"worse": "is below", "better": "is above", "not worse": "is not below"}.get(
            judgement.finding, "may be below or above" if judgement.finding == "undecided" else "cannot be told from"
        )
        ends = "" if d.low is None or d.high is None else f" [{d.low:+.3g}, {d.high:+.3g}]"
        size = d.reason if d.difference is None or d.reason else f"{d.difference:+.3g}{ends}"
        margin = "" if judgement.margin is None else f" (margin {judgement.margin:g})"
        told = f'"{comparison.treatment}" {words} the baseline "{comparison.control}" on {d.name}{margin}'
        return f"{told}: {size} on {d.n} samples"


def refused(baseline: Baseline, provenance: Mapping[str, str], metrics: Iterable[str]) -> dict[str, str]:
    """Metrics whose scores must not be compared with the baseline's, each with a sentence that says why."""
    told = {}
    for metric in metrics:
        frozen = baseline.provenance.get(metric)
        if frozen is None or not baseline.values.get(metric):
            told[metric] = f"{metric} is not compared with the baseline: it has no scores of it; freeze a run that has"
        elif frozen != provenance[metric]:
            told[metric] = (
                f"{metric} is not compared with the baseline: its scores were made by {frozen!r}, these by "
                f"{provenance[metric]!r}; run the frozen variant again and freeze that run"
            )
    return told
