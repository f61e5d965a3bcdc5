"""A run opened for reading: everything the terminal, MLflow, a notebook or a report shows of it comes from here."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.front import Standing, find_front
from paretoken.analysis.objectives import Objectives
from paretoken.analysis.summary import VariantSummary, summarize
from paretoken.analysis.verdict import Comparison, compare
from paretoken.core.calls import NUMBERS
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.trials import Record, RunInfo, Variant
from paretoken.records import Database, RunBook, SqlJournal, build_records
from paretoken.records.table import RecordTable, build_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


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
        self.run, self.table, self._file = run, table, file
        rows = cast("list[dict[str, Any]]", run.lock["variants"])
        self.labels: dict[str, str] = {row["id"]: row["label"] for row in rows}
        self.variants = {
            row["id"]: Variant(row["prompt"], row["model"], tuple(sorted(row["params"].items()))) for row in rows
        }

    @classmethod
    def load(cls, database: Database, reference: str) -> Results:
        """Open the run meant by an id, a unique prefix or `last`.

        Raises:
            SpecError: No such run.
        """
        run = RunBook(database).find(reference)
        return cls(run, build_table(SqlJournal(database).rows(run.id)), database.path)

    @cached_property
    def records(self) -> list[Record]:
        """All records with their prompts and answers."""
        with Database(self._file) as database:
            return build_records(SqlJournal(database).read(self.run.id))

    @cached_property
    def samples(self) -> dict[str, dict[str, object]]:
        """Content (`input`, `reference`, `fields`) by sample id."""
        with Database(self._file) as database:
            return RunBook(database).samples(str(cast("dict[str, Any]", self.run.lock["dataset"])["hash"]))

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

    @cached_property
    def summaries(self) -> list[VariantSummary]:
        """One summary per variant that has records."""
        return summarize(self.table, self.labels)

    @cached_property
    def standings(self) -> list[Standing]:
        """The Pareto standing of every variant that has records."""
        return find_front(self.summaries, self.objectives)

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

    def compare(self, control: str, treatment: str, *, comparisons: int = 1) -> Comparison:
        """Judge one variant against another.

        Args:
            control: Label or id.
            treatment: Label or id.
            comparisons: How many treatments share the error rate.
        """
        a, b = self.variant_id(control), self.variant_id(treatment)
        judged = [name for name in self.objectives.maximize if name in self.metrics] or list(self.metrics)
        return compare(
            self.table.of(a),
            self.table.of(b),
            labels=(self.labels[a], self.labels[b]),
            metrics=judged,
            margins=self.plan.get("margin", {}),
            planned=int(cast("dict[str, Any]", self.run.lock["dataset"])["n"]),
            comparisons=comparisons,
            alpha=self.plan.get("alpha", 0.05),
        )

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every declared treatment against the control; for a grid, the rest of the front against its best variant.

        The best variant is the one with the highest first maximised metric, or else the dearest. The front was chosen
        by looking at the same numbers, so a grid's intervals are widened for all its variants, not only the front's.
        """
        if self.plan["kind"] == "abtest":
            treatments = self.plan["treatment"]
            return [self.compare(self.plan["control"], t, comparisons=len(treatments)) for t in treatments]
        ranked_by = (*self.objectives.maximize, "list_usd")[0]
        front = [standing.summary for standing in self.standings if standing.on_front]
        front.sort(key=lambda summary: summary.value(ranked_by) or 0.0, reverse=True)
        others = max(len(self.summaries) - 1, 1)
        return [self.compare(front[0].variant, s.variant, comparisons=others) for s in front[1:]]

    def frame(self) -> pd.DataFrame:
        """All records as a pandas frame, one row a record."""
        from paretoken.analysis.frame import build_frame

        return build_frame(self.records, self.variants, self.labels, self.samples)

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
