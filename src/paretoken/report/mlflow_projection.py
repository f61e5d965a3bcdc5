"""What of a run goes where in MLflow."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.frame import param_text
from paretoken.core.usage import ZERO
from paretoken.report.estimate import cost_estimate
from paretoken.report.mlflow_keys import REST, metric_key, shown_key
from paretoken.report.mlflow_numbers import (
    agreement_numbers,
    difference_numbers,
    estimate_numbers,
    finding_tags,
    path_metrics,
    standing_tags,
    variant_numbers,
)
from paretoken.report.mlflow_race import race_course_metrics, race_metrics, variant_course_metrics
from paretoken.report.mlflow_registry import PromptBook, log_variant
from paretoken.report.mlflow_tables import prompt_file, write_parts
from paretoken.report.mlflow_traces import Traces
from paretoken.report.redaction import redactor
from paretoken.report.tables import question_of, standing_words
from paretoken.report.verdicts import courses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Span, TraceInfo

    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results
    from paretoken.core.trials import Variant
    from paretoken.records.table import RecordTable
    from paretoken.report.mlflow_drawer import Drawn

RUN_TAG = "paretoken.run"
VIEW_TAG = "mlflow.sharedViewState."
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_TEXTS = ("input", "reference", "answer")
_PAGE = 1000
_TRACES = 100
"""Most traces that MLflow takes or deletes at once."""
TAG_CHARS = 5_000
"""Characters of a tag that every store takes."""
BATCH = 1000
"""Most metrics that MLflow takes at once."""


class Projection:
    """One run in one MLflow experiment.

    Args:
        client: MLflow.
        results: The run.
        experiment: MLflow's experiment id.
        traces: Answers of each variant that are kept as traces.
    """

    def __init__(self, client: MlflowClient, results: Results, experiment: str, traces: int) -> None:
        self._client, self._results, self._experiment = client, results, experiment
        self._run = results.run
        self._lock = cast("Mapping[str, Any]", results.run.lock)
        self._cost = cost_estimate(results)
        self._dataset = _dataset_input(self._lock["dataset"])
        self._comparisons = {c.treatment: c for c in results.comparisons}
        self._courses = courses_of(results)
        self._traces = Traces(results, experiment, traces, {RUN_TAG: self._run.id})

    def write(self, folder: Path, draw: Callable[[], Drawn]) -> None:
        """Replace what MLflow holds of the run.

        Args:
            folder: Where the files of the parent run are drawn.
            draw: Says what was drawn, once it is.
        """
        from mlflow.tracing.client import TracingClient

        tracing = TracingClient(self._client.tracking_uri)
        self._delete()
        book = self._register()
        started = _milliseconds(datetime.fromisoformat(self._run.started_at))
        ended = _milliseconds(datetime.fromisoformat(self._run.finished_at or self._run.started_at))
        parent = self._create(self._run.id, started, self._outcome())
        spans: list[Span] = []
        for standing in self._results.standings:
            id_ = standing.summary.variant
            rows = self._results.table.of(id_)
            own = self._write_variant(parent, standing, rows, book)
            for info, parts in own:
                tracing.start_trace(info)
                spans += parts
            ended = max(ended, _end_ms(rows))
        for start in range(0, len(spans), BATCH):
            tracing.log_spans(self._experiment, spans[start : start + BATCH])
        drawn = draw()
        self._client.log_artifacts(parent, str(folder))
        self._write_parent(parent, ended, drawn)
        self._end(parent, ended)
        self._keep_view(parent)

    def _keep_view(self, parent: str) -> None:
        """A view of the runs list, which a link opens: the variants in order of cost with their objectives."""
        names = dict.fromkeys(
            ("usd_per_1k_calls", *(shown_key(n) for n in (*self._results.objectives.names, *self._results.metrics)))
        )
        columns = [*(f"metrics.`{name}`" for name in names), f"metrics.`{REST}on_front`", "tags.`standing`"]
        state = {
            "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
            "orderByKey": "metrics.`usd_per_1k_calls`",
            "orderByAsc": True,
            "selectedColumns": columns,
            "columnOrder": columns,
            "columnWidths": dict.fromkeys(columns, 150),
        }
        at_ms = _milliseconds(datetime.fromisoformat(self._run.started_at))
        view = {"name": self._run.id, "createdAt": at_ms, "updatedAt": at_ms, "state": json.dumps(state)}
        self._client.set_experiment_tag(self._experiment, f"{VIEW_TAG}{self._run.id}", json.dumps(view))

    def _delete(self) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        query = f"tags.`{RUN_TAG}` = '{self._run.id}'"
        while known := self._client.search_runs([self._experiment], query, max_results=_PAGE):
            for run in known:
                self._client.delete_run(run.info.run_id)
                artifacts: Any = get_artifact_repository(run.info.artifact_uri)
                with suppress(NotImplementedError, FileNotFoundError):  # some stores keep what they have
                    artifacts.delete_artifacts()
        where: Any = {"filter_string": query, "max_results": _TRACES}
        while traces := self._client.search_traces(locations=[self._experiment], include_spans=False, **where):
            self._client.delete_traces(self._experiment, trace_ids=[trace.info.trace_id for trace in traces])
        while models := self._client.search_logged_models([self._experiment], **where):
            for model in models:
                self._client.delete_logged_model(model.model_id)

    def _register(self) -> PromptBook:
        """Every prompt that was tried, and the champion where one prompt is chosen."""
        book = PromptBook(self._client, self._run.experiment, self._experiment, question_of(self._results))
        variants = self._results.variants
        for id_ in dict.fromkeys(variants[s.summary.variant].prompt for s in self._results.standings):
            book.register(id_, self._lock["prompts"][id_]["text"])
        chosen = {variants[id_].prompt for id_ in self._results.chosen}
        if len(chosen) == 1:
            book.crown(chosen.pop(), self._run.started_at)
        return book

    def _create(self, name: str, start_ms: int, tags: dict[str, str]) -> str:
        common = {metric_key(str(key)): str(value) for key, value in self._lock.get("tags", {}).items()} | {
            RUN_TAG: self._run.id,
            "question": question_of(self._results),
            "status": self._run.status,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "paretoken",
            **{
                f"scored_by.{metric_key(metric)}": scorer["provenance"][:TAG_CHARS]
                for scorer in self._lock["scorers"]
                for metric in scorer["metrics"]
            },
        }
        run = self._client.create_run(self._experiment, start_time=start_ms, tags=common | tags, run_name=name)
        return str(run.info.run_id)

    def _end(self, run_id: str, end_ms: int) -> None:
        if (status := _STATUS[self._run.status]) != "RUNNING":
            self._client.set_terminated(run_id, status, end_ms)

    def _write_parent(self, run_id: str, end_ms: int, drawn: Drawn) -> None:
        from mlflow.entities import Metric

        summaries, volume = self._results.summaries, self._results.front_volume
        numbers = {
            "n": float(sum(s.n for s in summaries)),
            "n_variants": float(len(summaries)),
            "n_on_front": float(sum(s.on_front for s in self._results.standings)),
            "list_usd_total": float(sum((s.list_usd_total for s in summaries), ZERO)),
            "billed_usd_total": float(self._cost.billed_usd),
        }
        numbers |= {} if volume is None else {"hypervolume": volume.hypervolume}
        if self._lock.get("judges"):
            numbers |= {"judges_usd_total": float(self._cost.judges_usd)} | agreement_numbers(self._results)
        numbers |= drawn.numbers | estimate_numbers(self._cost) | race_metrics(self._results)
        metrics = [Metric(name, value, end_ms, 0) for name, value in numbers.items()]
        params = self._common_params() | {"plan": self._results.plan["kind"]}
        tags = {"drivers": drawn.drivers, **_tables(drawn.tables)}
        self._log(run_id, params, [*metrics, *race_course_metrics(self._results, end_ms)], tags)
        self._client.log_inputs(run_id, [self._dataset])

    def _write_variant(
        self, parent: str, standing: Standing, rows: RecordTable, book: PromptBook
    ) -> list[tuple[TraceInfo, list[Span]]]:
        """The run of a variant; returns the traces that go with it."""
        from mlflow.entities import LoggedModelInput, Metric

        summary = standing.summary
        variant = self._results.variants[summary.variant]
        start_ms, end_ms = int(1000 * rows.at_s.min()), _end_ms(rows)
        link = book.link(variant.prompt)
        tags = {
            "mlflow.parentRunId": parent,
            "mlflow.linkedPrompts": link,
            "prompt": variant.prompt,
            "model": variant.model,
            "variant": variant.id,
            "standing": standing_words(standing),
            **standing_tags(standing),
            **_tables(["records.json"]),
        }
        comparison, course = self._comparisons.get(summary.label), self._courses.get(summary.label)
        numbers = variant_numbers(self._results, standing)
        if comparison is not None:
            tags |= finding_tags(comparison)
            numbers |= difference_numbers(comparison)
        run_id = self._create(summary.label, start_ms, tags)
        model_id = log_variant(self._client, self._experiment, run_id, summary.label, variant, {RUN_TAG: self._run.id})
        dataset = self._dataset.dataset
        of_model = {"model_id": model_id, "dataset_name": dataset.name, "dataset_digest": dataset.digest}
        told = {name for name in numbers if not name.startswith(REST)}
        metrics = [
            Metric(name, value, end_ms, 0, run_id=run_id, **(of_model if name in told else {}))
            for name, value in numbers.items()
        ]
        metrics += [] if course is None else path_metrics(course, end_ms)
        metrics += variant_course_metrics(self._results, variant.id, end_ms)
        chosen = {metric_key(key): param_text(value) for key, value in variant.params}
        self._log(run_id, self._common_params() | self._choices(variant) | chosen, metrics)
        self._client.log_inputs(run_id, [self._dataset], [LoggedModelInput(model_id)])
        with TemporaryDirectory() as folder:
            text = self._lock["prompts"][variant.prompt]["text"]
            (Path(folder) / prompt_file(variant.prompt)).write_text(text, encoding="utf-8")
            write_parts(self._tables(variant.id), Path(folder) / "records.json")
            self._client.log_artifacts(run_id, folder)
        self._end(run_id, end_ms)
        return list(self._traces.of(variant.id, run_id, model_id, link))

    def _choices(self, variant: Variant) -> dict[str, str]:
        """Its prompt and model by the shortest names that no other has: MLflow's axes show ten letters."""
        variants = self._results.variants.values()
        prompts = [prompt.partition("@")[0] for prompt in {v.prompt for v in variants}]
        models = [model.rpartition("/")[2] for model in {v.model for v in variants}]
        prompt, model = variant.prompt.partition("@")[0], variant.model.rpartition("/")[2]
        return {
            "prompt": prompt if prompts.count(prompt) == 1 else variant.prompt,
            "model": model if models.count(model) == 1 else variant.model,
        }

    def _common_params(self) -> dict[str, str]:
        return {
            "n_samples": str(self._lock["dataset"]["n"]),
            "seed": str(self._lock["seed"]),
            "scorers": ", ".join(scorer["name"] for scorer in self._lock["scorers"]),
        }

    def _log(
        self, run_id: str, params: Mapping[str, str], metrics: Sequence[Metric], tags: Mapping[str, str] | None = None
    ) -> None:
        from mlflow.entities import Param, RunTag

        named = [Param(name, value) for name, value in params.items()]
        self._client.log_batch(run_id, params=named, tags=[RunTag(*tag) for tag in (tags or {}).items()])
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + BATCH])

    def _tables(self, variant: str) -> Iterator[pd.DataFrame]:
        """A variant's records, some thousands at once, with what a reader looks at first in front.

        Texts are left out where the run does not keep them.
        """
        hide = redactor()
        first = ["sample", *_TEXTS, *self._results.metrics, "list_usd", "latency_s", "output_tokens", "error"]
        for frame in self._results.frames(variant):
            if self._lock.get("store", {}).get("content", "full") != "full":
                frame = frame.drop(columns=[name for name in _TEXTS if name in frame])
            for name in (*_TEXTS, "error"):
                if name in frame:
                    frame[name] = frame[name].map(hide, na_action="ignore")
            front = [name for name in first if name in frame]
            yield frame[[*front, *(name for name in frame if name not in front)]]

    def _outcome(self) -> dict[str, str]:
        """What the parent says of the whole run."""
        tags = {"verdict": "\n".join(self._results.verdicts), "estimate": self._cost.outcome}
        if (confirmation := self._results.confirmation) is not None:
            tags |= {"confirmed": confirmation.sentence, "confirmed.short": confirmation.verdict}
        return tags


def _tables(names: Iterable[str]) -> dict[str, str]:
    """The tag by which MLflow finds a run's tables."""
    return {"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"} for name in names])}


def _dataset_input(dataset: Mapping[str, Any]) -> DatasetInput:
    """The dataset by name and hash; no content."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = ["id", "input"] + (["reference"] if dataset.get("reference") else [])
    return DatasetInput(
        Dataset(
            name=Path(dataset["path"]).name,
            digest=dataset["hash"][:12],
            source_type="local",
            source=json.dumps({"uri": dataset["path"]}),
            schema=json.dumps({"mlflow_colspec": [{"name": c, "type": "string", "required": True} for c in columns]}),
            profile=json.dumps({"num_rows": dataset["n"]}),
        ),
        [InputTag("mlflow.data.context", "evaluation")],
    )


def _end_ms(rows: RecordTable) -> int:
    return int(1000 * rows.at_s.max())


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
