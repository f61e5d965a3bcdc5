"""A run opened for reading: everything the terminal, MLflow, a notebook or a report shows of it comes from here."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.analysis.abtest import RELABELLINGS, WON, AbTest
from paretoken.analysis.agreement import Agreement
from paretoken.analysis.front import FrontVolume, Standing, find_front, measure_front, with_departures
from paretoken.analysis.objectives import Objectives
from paretoken.analysis.panel import Panel, drawn, tabulate
from paretoken.analysis.raced import RaceOutcome
from paretoken.analysis.raceplan import ERROR_RATE
from paretoken.analysis.segments import SegmentEffect
from paretoken.analysis.summary import VariantSummary, summarize
from paretoken.analysis.variance import VarianceSplit, split_variance
from paretoken.core.calls import NUMBERS
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.trials import Record, RunInfo, Variant, draw_order
from paretoken.core.usage import from_pico
from paretoken.records import Database, RunBook, SqlJournal, ids_only, read_records, read_table, unanswered

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from decimal import Decimal
    from pathlib import Path

    import pandas as pd

    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.racecourse import Look
    from paretoken.analysis.verdict import Comparison
    from paretoken.core.calls import Attempt, Call
    from paretoken.records.table import RecordTable


class Results:
    """One run's records and what follows from them. Texts are read from the file when they are asked for.

    Args:
        run: The run.
        table: The numbers of its records, as far as they go.
        file: The database.

    Attributes:
        labels: Short label by variant id, in the order of the spec.
        variants: By id.
    """

    def __init__(self, run: RunInfo, table: RecordTable, file: Path) -> None:
        self.run, self.table, self.file = run, table, file
        rows = cast("list[dict[str, Any]]", run.lock["variants"])
        self.labels: dict[str, str] = {row["id"]: row["label"] for row in rows}
        self.variants = {
            row["id"]: Variant(row["prompt"], row["model"], tuple(sorted(row["params"].items())), row.get("copy", 0))
            for row in rows
        }

    @classmethod
    def load(cls, database: Database, reference: str) -> Results:
        """Open the run meant by an id, a unique prefix or `last`.

        Raises:
            SpecError: No such run.
        """
        run = RunBook(database).find(reference)
        return cls(run, read_table(database, run), database.path)

    def __repr__(self) -> str:
        return "\n".join([f"{self.run.id} ({self.run.status})", *self.verdicts])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(line)}</p>" for line in repr(self).splitlines())
        return said + self.summary_frame().to_html(float_format=lambda x: f"{x:.4g}", na_rep="–")

    @cached_property
    def records(self) -> list[Record]:
        """All records with their prompts and answers: some kilobytes each, so large runs are better streamed."""
        return list(self.read_records())

    def read_records(self, **among: Collection[str]) -> Iterator[Record]:
        """Records with their prompts and answers in the order of first calls, streamed.

        Args:
            among: `sample` or `variant` with the ids that are wanted; all without.
        """
        with Database(self.file) as database:
            yield from read_records(SqlJournal(database), self.run.id, **among)

    @cached_property
    def unanswered(self) -> list[Attempt]:
        """Calls that were sent and have no record, each with all the money that was booked for it."""
        with Database(self.file) as database:
            return unanswered(SqlJournal(database).read(self.run.id, kind=["attempt", "call"]))

    @cached_property
    def samples(self) -> dict[str, dict[str, object]]:
        """Content (`input`, `reference`, `fields`) by sample id."""
        return dict(self.read_samples())

    def read_samples(self, ids: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, object]]]:
        """`samples`, streamed: all, or those of some ids."""
        with Database(self.file) as database:
            yield from RunBook(database).read_samples(self._dataset_key, ids)

    @cached_property
    def clusters(self) -> dict[str, str | None]:
        """The cluster that each sample names, by id; None for those that name none."""
        with Database(self.file) as database:
            return RunBook(database).clusters(self._dataset_key)

    @cached_property
    def _dataset_key(self) -> str:
        key = str(cast("dict[str, Any]", self.run.lock["dataset"])["hash"])
        with Database(self.file) as database:
            return key if RunBook(database).has_samples(key) else ids_only(key)

    @cached_property
    def served(self) -> dict[str, list[str]]:
        """Versions of each model that gave the answers, as far as they were told."""
        with Database(self.file) as database:
            return SqlJournal(database).versions(self.run.id)

    @cached_property
    def objectives(self) -> Objectives:
        """What the run minimises, maximises and must respect."""
        lock = cast("dict[str, Any]", self.run.lock["objectives"])
        limits = {name: (sign, float(bound)) for name, (sign, bound) in lock["subject_to"].items()}
        return Objectives(tuple(lock["minimize"]), tuple(lock["maximize"]), limits)

    @property
    def plan(self) -> dict[str, Any]:
        """The planner's declaration: `kind`, and for an A/B test `control`, `treatment` and `margin`."""
        return cast("dict[str, Any]", self.run.lock["plan"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all quality metrics, in the order of the spec."""
        scorers = cast("list[dict[str, Any]]", self.run.lock["scorers"])
        return tuple(metric for scorer in scorers for metric in scorer["metrics"])

    @property
    def judges_usd(self) -> Decimal:
        """What judges were paid, assumed money included: no variant's cost [USD]."""
        return from_pico(self.table.judges_pico)

    def judgements(self, sample: str) -> list[Call]:
        """What judges were asked about the answers to a sample, and what they said, in the order of asking."""
        with Database(self.file) as database:
            found = SqlJournal(database).read(self.run.id, kind=["call"], role=["judge"], sample=[sample])
            return [cast("Call", call) for _, call in found]

    @cached_property
    def agreements(self) -> list[Agreement]:
        """How far every judge agrees with people, and what else is to be known of it."""
        seed = int(cast("int", self.run.lock["seed"]))
        scorers = cast("list[dict[str, Any]]", self.run.lock["scorers"])
        asking = [scorer for scorer in scorers if "judge" in scorer]
        return [Agreement.of(self.table, s["metrics"][0], s["judge"], seed) for s in asking]

    @cached_property
    def summaries(self) -> list[VariantSummary]:
        """One summary per variant that has records.

        Intervals heed clusters, and hold at every look where the run may be stopped by what it shows.
        """
        summaries = summarize(self._judged_table, self.labels)
        if (race := self.race) is not None:
            return [replace(s, estimates=self._raced_estimates(race, s)) for s in summaries]
        test = self.test or AbTest.of(self.run.lock, "-", ["-"])
        if not test.continuous and not cast("dict[str, Any]", self.run.lock["dataset"]).get("clusters"):
            return summaries
        return [replace(s, estimates=self._estimates(test, s)) for s in summaries]

    @property
    def _judged_table(self) -> RecordTable:
        """The records that variants are judged by: of a race those of the samples it was held on."""
        race = self.race
        return self.table if race is None or race.held_out is None else self.table.on(race.selection.samples)

    def _raced_estimates(self, race: RaceOutcome, summary: VariantSummary) -> dict[str, Estimate]:
        wanted = ("list_usd", *self.metrics, *self.objectives.names)
        return {
            name: race.estimate(summary.variant, name, estimate) if name in wanted else estimate
            for name, estimate in summary.estimates.items()
        }

    def _estimates(self, test: AbTest, summary: VariantSummary) -> dict[str, Estimate]:
        """A variant's estimates with the test's intervals; without one where none is shown."""
        wanted = ("list_usd", *self.metrics, *self.objectives.names)
        found = {name: test.estimate(self.panel, summary.variant, name) for name in wanted}
        return {
            name: replace(estimate, low=low, high=high)
            for name, estimate in summary.estimates.items()
            for low, high in [found.get(name) or (None, None)]
        }

    @cached_property
    def standings(self) -> list[Standing]:
        """The Pareto standing of every variant that has records.

        Where some have answered more samples than others, as in a run that was stopped or an A/B test that let some go
        early, who beats whom is judged on the samples that all have answered; a race has its own rules.
        """
        own = {summary.variant: summary for summary in self.summaries}
        if self.race is not None:
            return with_departures(find_front(self.summaries, self.objectives), self.race.departures)
        if len({summary.n for summary in self.summaries}) < 2:
            return find_front(self.summaries, self.objectives)
        common = summarize(self.table.common(), self.labels)
        judged = common if len(common) == len(own) else self.summaries
        return [replace(s, summary=own[s.summary.variant]) for s in find_front(judged, self.objectives)]

    @cached_property
    def front_volume(self) -> FrontVolume | None:
        """The hypervolume of the front at the estimated values; None where no variant is ranked."""
        return measure_front(self.standings, self.objectives)

    @property
    def chosen(self) -> list[str]:
        """Ids of the variants to go on with: an A/B test's winner, or the front; none before the end or without one."""
        if self.run.status != "finished":
            return []
        if self.test is None:
            return [s.summary.variant for s in self.standings if s.on_front]
        failed = self.confirmation is not None and self.confirmation.verdict not in WON
        winner = None if failed else self.test.winner(self.comparisons)
        return [] if winner is None else [winner]

    def variant_id(self, reference: str) -> str:
        """The variant meant by a label or an id.

        Raises:
            SpecError: There is none, or several.
        """
        meant = [id_ for id_, label in self.labels.items() if reference in (id_, label)]
        if len(meant) != 1:
            raise SpecError(f"no variant of {self.run.id} is called {reference!r}.",
                            fix=suggest(reference, self.labels.values()))  # fmt: skip
        return meant[0]

    @cached_property
    def panel(self) -> Panel:
        """The values of all variants on the planned samples, in drawn order."""
        ids = list(self.clusters) or list(self.table.sample_ids)
        named = any(told is not None for told in self.clusters.values())
        grouped = {id_: told or f"sample/{id_}" for id_, told in self.clusters.items()} if named else None
        order, cluster = drawn(ids, int(cast("int", self.run.lock["seed"])), grouped)
        known = cast("dict[str, dict[str, float]]", self.run.lock.get("difficulty", {}))
        return tabulate(self.table, order, cluster, self.repeats).with_difficulty(known)

    @property
    def repeats(self) -> int:
        """How often each cell is asked."""
        return int(cast("dict[str, Any]", self.run.lock["spec"]).get("repeats", 1))

    @cached_property
    def race(self) -> RaceOutcome | None:
        """What a race decided; None for other plans."""
        if self.plan["kind"] not in ("race", "cheapest", "search"):
            return None
        order = draw_order(list(self.clusters) or list(self.table.sample_ids), int(cast("int", self.run.lock["seed"])))
        panel = tabulate(self._raced_table, order, np.arange(len(order)), self.repeats)
        return RaceOutcome(self.run, panel, self.labels, self.objectives)

    @property
    def _raced_table(self) -> RecordTable:
        """The records with failures as a quantity, which may be raced on."""
        return replace(self.table, values={**self.table.values, ERROR_RATE: self.table.failed.astype(float)})

    @cached_property
    def race_course(self) -> list[Look]:
        """How the front of a race came about; nothing for other plans, nor where one variant is looked for."""
        race = self.race
        return [] if race is None or race.plan.kind == "cheapest" else race.course(self._raced_table)

    @cached_property
    def test(self) -> AbTest | None:
        """The A/B test that was declared; None for other plans.

        One of fixed size may be read once, at its end: before, its intervals are those that hold at every look.
        """
        if self.plan["kind"] != "abtest":
            return None
        test = AbTest.of(self.run.lock)
        return test if self.run.status == "finished" else test.anytime()

    def compare(self, control: str, treatment: str) -> Comparison:
        """Judge one variant against another, as if no other had been tried.

        Args:
            control: Label or id.
            treatment: Label or id.
        """
        a, b = self.variant_id(control), self.variant_id(treatment)
        test = self.test or AbTest.of(self.run.lock, a, [b])
        return replace(test, control=a, treatments=(b,)).compare(self.panel)[0]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every declared treatment against the control; for a grid, the rest of the front against its best variant.

        The best variant is the one with the highest first maximised metric, or else the dearest. The front was chosen
        by looking at the same numbers, so a grid's intervals are widened for all its variants, not only the front's.
        """
        if self.test is not None:
            return self._result[0]
        if self.race is not None:
            return []
        ranked_by = (*self.objectives.maximize, "list_usd")[0]
        front = [standing.summary for standing in self.standings if standing.on_front]
        front.sort(key=lambda summary: summary.value(ranked_by) or 0.0, reverse=True)
        if len(front) < 2:
            return []
        best, *others = (summary.variant for summary in front)
        test = AbTest.of(self.run.lock, best, others)
        return test.compare(self.panel, unseen=len(self.summaries) - len(front))

    @property
    def confirmation(self) -> Comparison | None:
        """The winner of several treatments on samples that had no say in its selection; None without such samples."""
        return self._result[1]

    @property
    def all_comparisons(self) -> list[Comparison]:
        """The comparisons, and the winner's confirmation last, if there is one."""
        return [*self.comparisons, *([] if self.confirmation is None else [self.confirmation])]

    @cached_property
    def _result(self) -> tuple[list[Comparison], Comparison | None]:
        return ([], None) if self.test is None else self.test.result(self.panel)

    @cached_property
    def prompt_segments(self) -> list[SegmentEffect]:
        """What each segment of the prompt costs and buys, in the prompt's order; nothing for other plans."""
        rows = self.plan.get("prompt_segments", ())
        if self.test is None or "aa" in self.plan or not rows:
            return []
        test, panel, measured = self.test, self.panel, zip(rows, self.comparisons, strict=True)
        return [
            SegmentEffect.of(
                row["segment"], row["n_examples"], without,
                panel.pairs(test.control, row["variant"], "input_tokens", prefix=test.continuous),
            )
            for row, without in measured
        ]  # fmt: skip

    @cached_property
    def false_difference_rate(self) -> float | None:
        """Of an A/A test: share of random relabellings of its pairs in which a difference is found; else None."""
        return self.test.false_differences(self.panel) if self.test is not None and "aa" in self.plan else None

    @cached_property
    def verdicts(self) -> list[str]:
        """All that is to be said of the comparisons, one sentence each."""
        if self.race is not None:
            return self.race.sentences()
        told = [told.sentence for told in self.prompt_segments or self.comparisons]
        if (confirmed := self.confirmation) is not None:
            going_on = confirmed.n < confirmed.planned and self.run.status != "finished"
            word = "confirmed" if confirmed.verdict in WON else "not confirmed yet" if going_on else "not confirmed"
            told.append(f"{word} on held-out samples: {confirmed.sentence}")
        elif self.test is not None and self.test.confirm and told:
            winner = self.test.winner(self.comparisons)
            told.append(
                "nothing to confirm: no treatment is shown to be cheaper and not worse on the samples of the selection"
                if winner is None
                else f'not confirmed yet: "{self.labels[winner]}" has answered no sample that is held out'
            )
        if (rate := self.false_difference_rate) is not None and self.test is not None:
            share = f"{100 * rate:.1f} % show a difference (promised: at most {100 * self.test.alpha:g} %)"
            told.append(f"A/A: among {RELABELLINGS:,} random relabellings of these pairs, {share}")
        return told

    def segments(self) -> list[tuple[str, str, Comparison]]:
        """The comparisons within each value of the tags that the spec names, for exploring: no claim is made of them.

        Returns:
            `(column, value, comparison)`; each tag's values share the error rate.
        """
        found: list[tuple[str, str, Comparison]] = []
        if self.test is None:
            return found
        for column in self.plan.get("segments", ()):
            tags = [self._tag(id_, column) for id_ in self.panel.samples]
            values = sorted(set(tags))
            test = replace(self.test, alpha=self.test.alpha / len(values), confirm=0.0)
            for value in values:
                part = self.panel.only(np.array([tag == value for tag in tags]))
                found += [(column, value, c) for c in test.compare(part) if c.n]
        return found

    def variance_splits(self) -> list[tuple[str, VarianceSplit]]:
        """Where the noise of every declared difference comes from, by label of the treatment; none without repeats."""
        if self.test is None or self.repeats < 2:
            return []
        answers = {
            (r.variant, r.sample, r.repeat): r.call.response.text
            for r in self.read_records()
            if r.call.response is not None and r.call.response.text
        }
        control = self.table.of(self.test.control)
        splits = [
            (
                self.labels[t],
                split_variance(
                    control, self.table.of(t), name, self.repeats, answers if name in self.metrics else None
                ),
            )
            for t in self.test.treatments
            for name in self.test.quantities()
        ]
        return [(label, split) for label, split in splits if split is not None]

    def _tag(self, sample: str, column: str) -> str:
        fields = self.samples.get(sample, {}).get("fields")
        value = fields.get(column) if isinstance(fields, dict) else None
        return "(none)" if value is None else str(value)

    def frame(self) -> pd.DataFrame:
        """All records as a pandas frame, one row a record."""
        from paretoken.analysis.frame import build_frame

        return build_frame(self.records, self.variants, self.labels, self.samples)

    def frames(self, variant: str) -> Iterator[pd.DataFrame]:
        """A variant's part of `frame`, some thousands of rows at once, all with the same columns and types."""
        from paretoken.analysis.frame import build_frames

        records = self.read_records(variant=[variant])
        return build_frames(records, self.table, self.metrics, self.variants, self.labels, self.read_samples)

    def summary_frame(self) -> pd.DataFrame:
        """One row per variant: means, interval bounds, quantiles and standing."""
        import pandas as pd

        rows = []
        for standing in self.standings:
            summary = standing.summary
            row: dict[str, object] = {"label": summary.label, "n": summary.n, "on_front": standing.on_front}
            for name in (*NUMBERS, *self.metrics):
                if (estimate := summary.estimates.get(name)) is not None:
                    row |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            row |= {f"latency_s_{q}": value for q, value in summary.latency_s.items()}
            rows.append(row | {"error_rate": summary.error_rate})
        return pd.DataFrame(rows, columns=None if rows else ["label"]).set_index("label")


def prepare() -> None:
    """Import what `summaries` and `standings` need, which takes longer than they do."""
    import moocore  # noqa: F401
    import scipy.special  # noqa: F401
