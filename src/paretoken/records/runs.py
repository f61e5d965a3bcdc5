"""The book of runs: what was executed, with which lock, on which samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from paretoken.core.errors import SpecError
from paretoken.core.trials import RunInfo
from paretoken.records.database import Database, among, entries_table, runs_table, samples_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Row

_sample = samples_table.c


def ids_only(dataset: str) -> str:
    """The key under which samples are kept whose texts may not be."""
    return f"{dataset}/ids"


class RunBook:
    """Runs and their samples in a project's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, run: RunInfo, dataset: str, samples: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        """Write a new run and the samples it works on.

        Args:
            run: The run.
            dataset: Content hash of the samples; samples already known under it are not written again.
            samples: `(id, content)` in order.
        """
        connection = self._database.connection
        with self._database.transaction():
            known = connection.scalar(
                select(func.count()).select_from(samples_table).where(samples_table.c.dataset == dataset)
            )
            if not known and samples:
                rows = [
                    {
                        "dataset": dataset,
                        "id": id_,
                        "position": i,
                        "body": json.dumps(body, ensure_ascii=False, default=str),
                    }
                    for i, (id_, body) in enumerate(samples)
                ]
                connection.execute(insert(samples_table), rows)
            connection.execute(
                insert(runs_table).values(
                    id=run.id,
                    experiment=run.experiment,
                    identity=run.identity,
                    started_at=run.started_at,
                    status=run.status,
                    reason=run.reason,
                    lock=json.dumps(run.lock, ensure_ascii=False),
                )
            )

    def close(self, run: str, *, status: str, reason: str, at: str) -> None:
        """Write how a run ended."""
        self._update(run, status=status, reason=reason, finished_at=at)

    def reopen(self, run: str, lock: Mapping[str, object]) -> None:
        """Write that a run goes on, with the budget, tags and tracking it now has in its lock."""
        body = json.dumps(lock, ensure_ascii=False)
        self._update(run, status="running", reason="", finished_at=None, lock=body)

    def amend(self, run: str, lock: Mapping[str, object]) -> None:
        """Write what was found out since into a run's lock."""
        self._update(run, lock=json.dumps(lock, ensure_ascii=False))

    def _update(self, run: str, **values: str | None) -> None:
        with self._database.transaction():
            self._database.connection.execute(update(runs_table).where(runs_table.c.id == run).values(**values))

    def all(self) -> list[RunInfo]:
        """Every run, oldest first."""
        query = select(runs_table).order_by(runs_table.c.started_at, runs_table.c.id)
        return [_run(row) for row in self._database.connection.execute(query)]

    def of_identity(self, identity: str) -> list[RunInfo]:
        """Runs of one lock, oldest first."""
        return [run for run in self.all() if run.identity == identity]

    def find(self, reference: str) -> RunInfo:
        """The run meant by an id, a unique prefix, or `last`.

        Raises:
            SpecError: No run, or several, are meant.
        """
        runs = self.all()
        if not runs:
            raise SpecError("there is no run yet.", fix="Start one with `paretoken run SPEC`.")
        if reference == "last":
            return runs[-1]
        meant = [run for run in runs if run.id == reference] or [r for r in runs if r.id.startswith(reference)]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise SpecError(f"{reference!r} means several runs: {', '.join(run.id for run in meant)}.")
        raise SpecError(f"no run is called {reference!r}.", fix="`paretoken runs` lists them.")

    def samples(self, dataset: str) -> dict[str, dict[str, object]]:
        """Samples of a dataset by id, in order."""
        return dict(self.read_samples(dataset))

    def read_samples(self, dataset: str, ids: Iterable[str] | None = None) -> Iterator[tuple[str, dict[str, object]]]:
        """Samples of a dataset in order, streamed: all, or those of some ids."""
        query = select(_sample.id, _sample.body).where(_sample.dataset == dataset).order_by(_sample.position)
        if ids is not None:
            query = query.where(among(_sample.id, ids))
        for id_, body in self._database.connection.execute(query):
            yield id_, json.loads(body)

    def has_samples(self, dataset: str) -> bool:
        """Whether any sample is kept under a key."""
        return (
            self._database.connection.scalar(select(_sample.id).where(_sample.dataset == dataset).limit(1)) is not None
        )

    def clusters(self, dataset: str) -> dict[str, str | None]:
        """The cluster that each sample names, by id, in order."""
        cluster = func.json_extract(_sample.body, "$.cluster").label("cluster")
        query = select(_sample.id, cluster).where(_sample.dataset == dataset).order_by(_sample.position)
        return {row.id: row.cluster for row in self._database.connection.execute(query)}

    def remove(self, run: str) -> None:
        """Delete a run and its entries; cached answers stay, for they are paid."""
        with self._database.transaction():
            self._database.connection.execute(delete(entries_table).where(entries_table.c.run == run))
            self._database.connection.execute(delete(runs_table).where(runs_table.c.id == run))


def _run(row: Row[tuple[object, ...]]) -> RunInfo:
    return RunInfo(
        id=row.id,
        experiment=row.experiment,
        identity=row.identity,
        started_at=row.started_at,
        finished_at=row.finished_at,
        status=row.status,
        reason=row.reason,
        lock=json.loads(row.lock),
    )
