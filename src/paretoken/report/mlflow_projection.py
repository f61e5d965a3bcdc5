"""What of a run goes where in MLflow."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.usage import ZERO
from paretoken.report.comparison_figure import save_comparison
from paretoken.report.estimate import cost_estimate
from paretoken.report.figures import save_front
from paretoken.report.mlflow_keys import metric_key
from paretoken.report.mlflow_race import (
    race_course_metrics,
    race_metrics,
    standing_metrics,
    standing_tags,
    variant_course_metrics,
)
from paretoken.report.race_figures import save_race
from paretoken.report.segments_figure import save_segments
from paretoken.report.tables import findings, front_rows, question_of, standing_words
from paretoken.report.verdicts import course_of, verdict_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison
    from paretoken.records.table import RecordTable
    from paretoken.report.estimate import CostEstimate
    from paretoken.report.verdicts import Course

RUN_TAG = "paretoken.run"
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_TEXTS = ("input", "reference", "answer")
_PAGE = 1000
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
        hide: Takes secrets out of a text.
    """

    def __init__(self, client: MlflowClient, results: Results, experiment: str, hide: Callable[[str], str]) -> None:
        self._client, self._results, self._experiment, self._hide = client, results, experiment, hide
        self._run = results.run
        self._lock = cast("Mapping[str, Any]", results.run.lock)
        self._cost = cost_estimate(results)
        self._dataset = _dataset_input(self._lock["dataset"])
        self._comparisons = {c.treatment: c for c in results.comparisons}
        tested = self._comparisons if results.test is not None else {}
        self._courses = {label: course_of(results, comparison) for label, comparison in tested.items()}

    def write(self) -> None:
        """Replace what MLflow holds of the run."""
        self._delete()
        started = _milliseconds(datetime.fromisoformat(self._run.started_at))
        parent = self._create(self._run.id, started, self._outcome())
        ended = _milliseconds(datetime.fromisoformat(self._run.finished_at or self._run.started_at))
        table = self._table()
        for standing in self._results.standings:
            id_ = standing.summary.variant
            rows = self._results.table.of(id_)
            self._write_variant(parent, standing, rows, table[table["variant"] == id_])
            ended = max(ended, _end_ms(rows))
        self._write_parent(parent, ended)
        self._end(parent, ended)

    def _delete(self) -> None:
        query = f"tags.`{RUN_TAG}` = '{self._run.id}'"
        while known := self._client.search_runs([self._experiment], query, max_results=_PAGE):
            for run in known:
                self._client.delete_run(run.info.run_id)

    def _create(self, name: str, start_ms: int, tags: dict[str, str]) -> str:
        common = {str(key): str(value) for key, value in self._lock.get("tags", {}).items()} | {
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

    def _write_parent(self, run_id: str, end_ms: int) -> None:
        import pandas as pd

        summaries = self._results.summaries
        metrics = {
            "n": float(sum(s.n for s in summaries)),
            "n_variants": float(len(summaries)),
            "n_on_front": float(sum(s.on_front for s in self._results.standings)),
            "list_usd_total": float(sum((s.list_usd_total for s in summaries), ZERO)),
            "billed_usd_total": float(self._cost.billed_usd),
        }
        if self._lock.get("judges"):
            metrics |= {"judges_usd_total": float(self._cost.judges_usd)} | _agreement(self._results)
        metrics |= _expected(self._cost) | race_metrics(self._results)
        params = self._common_params() | {"plan": self._results.plan["kind"]}
        self._log(run_id, metrics, params, end_ms, list(race_course_metrics(self._results, end_ms)))
        with TemporaryDirectory() as name:
            self._write_files(Path(name))
            self._client.log_artifacts(run_id, name)
        if rows := front_rows(self._results):
            self._client.log_table(run_id, pd.DataFrame(rows).convert_dtypes(), "variants.json")

    def _write_files(self, folder: Path) -> None:
        save_front(self._results, folder / "front.png")
        drawn = [*save_race(self._results, folder), *save_segments(self._results, folder)]
        pictures = ["front.png", *(path.name for path in drawn)]
        (folder / "verdict.txt").write_text(self._verdict() + "\n", encoding="utf-8")
        (folder / "verdict.json").write_text(self._json(verdict_body(self._results)), encoding="utf-8")
        if effects := self._results.prompt_segments:
            (folder / "segments.json").write_text(self._json([e.body() for e in effects]), encoding="utf-8")
        (folder / "FINDINGS.md").write_text(self._hide(findings(self._results, pictures)), encoding="utf-8")
        (folder / "lock.json").write_text(self._json(self._lock), encoding="utf-8")
        (folder / "spec.json").write_text(self._json(self._lock["spec"]), encoding="utf-8")
        for label, course in self._courses.items():
            name = f"comparison-{self._file_label(label)}.png"
            save_comparison(self._results, self._comparisons[label], folder / name, course)
        if (confirmation := self._results.confirmation) is not None:
            save_comparison(self._results, confirmation, folder / "confirmation.png")
        (folder / "prompts").mkdir()
        for id_, prompt in self._lock["prompts"].items():
            (folder / "prompts" / _file_name(id_)).write_text(prompt["text"], encoding="utf-8")

    def _write_variant(self, parent: str, standing: Standing, rows: RecordTable, table: pd.DataFrame) -> None:
        summary = standing.summary
        variant = self._results.variants[summary.variant]
        start_ms, end_ms = int(1000 * rows.at_s.min()), _end_ms(rows)
        tags = {
            "mlflow.parentRunId": parent,
            "prompt": variant.prompt,
            "model": variant.model,
            "variant": variant.id,
            "standing": standing_words(standing),
            **standing_tags(standing),
        }
        comparison, course = self._comparisons.get(summary.label), self._courses.get(summary.label)
        numbers = _numbers(standing) | standing_metrics(standing)
        if comparison is not None:
            tags |= _findings(comparison)
            numbers |= _differences(comparison)
        run_id = self._create(summary.label, start_ms, tags)
        name, _, version = variant.prompt.partition("@")
        params = {"prompt": name, "prompt_version": version, "model": variant.model}
        chosen = {key: str(value) for key, value in variant.params}
        points = [] if course is None else list(_path_metrics(course, end_ms))
        points += variant_course_metrics(self._results, variant.id, end_ms)
        self._log(run_id, numbers, self._common_params() | params | chosen, end_ms, points)
        self._client.log_text(run_id, self._lock["prompts"][variant.prompt]["text"], _file_name(variant.prompt))
        self._client.log_table(run_id, table, "records.json")
        self._end(run_id, end_ms)

    def _common_params(self) -> dict[str, str]:
        return {
            "n_samples": str(self._lock["dataset"]["n"]),
            "seed": str(self._lock["seed"]),
            "scorers": ", ".join(scorer["name"] for scorer in self._lock["scorers"]),
        }

    def _log(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        params: Mapping[str, str],
        at_ms: int,
        points: Sequence[Metric],
    ) -> None:
        """Final metrics and parameters, and metrics with steps."""
        from mlflow.entities import Metric, Param

        both = [*(Metric(name, value, at_ms, 0) for name, value in metrics.items()), *points]
        for start in range(0, len(both), BATCH):
            named = [] if start else [Param(name, value) for name, value in params.items()]
            self._client.log_batch(run_id, metrics=both[start : start + BATCH], params=named)
        self._client.log_inputs(run_id, [self._dataset])

    def _table(self) -> pd.DataFrame:
        """Records with what a reader looks at first in front; without texts where the run does not keep them."""
        frame = self._results.frame()
        if self._lock.get("store", {}).get("content", "full") != "full":
            frame = frame.drop(columns=[name for name in _TEXTS if name in frame])
        first = ["sample", *_TEXTS, *self._results.metrics, "list_usd", "latency_s", "output_tokens", "error"]
        first = [name for name in first if name in frame]
        return frame[[*first, *(name for name in frame if name not in first)]]

    def _verdict(self) -> str:
        return "\n".join(self._results.verdicts)

    def _outcome(self) -> dict[str, str]:
        """What the parent says of the whole run."""
        tags = {"verdict": self._verdict(), "estimate": self._cost.outcome}
        if (confirmation := self._results.confirmation) is not None:
            tags |= {"confirmed": confirmation.sentence, "confirmed.short": confirmation.verdict}
        return tags

    def _file_label(self, label: str) -> str:
        """A label as part of a file's name; with the variant's id where others would have the same."""
        names = [_as_file(other) for other in self._courses]
        name = _as_file(label)
        return name if names.count(name) == 1 else f"{name}-{self._results.variant_id(label)}"

    def _json(self, value: object) -> str:
        return self._hide(json.dumps(value, ensure_ascii=False, indent=2))


def _numbers(standing: Standing) -> dict[str, float]:
    summary = standing.summary
    numbers: dict[str, float | None] = {}
    for name, estimate in summary.estimates.items():
        numbers |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    numbers |= {f"latency_s_{q}": value for q, value in summary.latency_s.items()}
    cost = summary.value("list_usd")
    numbers |= {
        "n": float(summary.n),
        "usd_per_1k_calls": None if cost is None else 1000 * cost,
        "error_rate": summary.error_rate,
        "list_usd_total": float(summary.list_usd_total),
        "billed_usd_total": float(summary.billed_usd_total),
        "usd_per_1k_tokens": summary.list_usd_per_1k_tokens,
        "on_front": float(standing.on_front),
    }
    return {metric_key(name): value for name, value in numbers.items() if value is not None}


def _findings(comparison: Comparison) -> dict[str, str]:
    tags = {"verdict": comparison.sentence, "verdict.short": comparison.verdict}
    return tags | {f"verdict.{metric_key(j.difference.name)}": j.finding for j in comparison.judged}


def _differences(comparison: Comparison) -> dict[str, float]:
    """The final intervals, in the quantities' units and relative to the control."""
    numbers: dict[str, float | None] = {}
    for judgement in (*comparison.judged, *(j for j in comparison.others if j not in comparison.judged)):
        d = judgement.difference
        name = metric_key(d.name)
        numbers |= {f"difference/{name}": d.difference, f"difference/{name}_low": d.low,
                    f"difference/{name}_high": d.high, f"relative/{name}": d.relative,
                    f"relative/{name}_low": d.relative_low, f"relative/{name}_high": d.relative_high}  # fmt: skip
    return {name: value for name, value in numbers.items() if value is not None}


def _path_metrics(course: Course, at_ms: int) -> Iterator[Metric]:
    """How each judged interval shrank: the step is the number of samples."""
    from mlflow.entities import Metric

    for name, points in course.paths.items():
        for n, d in points:
            for end, value in (("", d.difference), ("_low", d.low), ("_high", d.high)):
                if value is not None:
                    yield Metric(f"path/{metric_key(name)}{end}", value, at_ms, n)


def _agreement(results: Results) -> dict[str, float]:
    """What is known of every judge, as `judge/<metric>/<number>`."""
    numbers: dict[str, float | None] = {}
    for judge in results.agreements:
        name = f"judge/{metric_key(judge.metric)}"
        numbers |= {f"{name}/same_grade_rate": judge.exact, f"{name}/flip_rate": judge.flip_rate,
                    f"{name}/length_correlation": judge.length_correlation}  # fmt: skip
        for what, interval in (("kappa", judge.kappa), ("length_bias", judge.length_bias)):
            for end, value in zip(("", "_low", "_high"), interval or (), strict=False):
                numbers[f"{name}/{what}{end}"] = value
    return {name: value for name, value in numbers.items() if value is not None}


def _expected(cost: CostEstimate) -> dict[str, float]:
    expected = {"estimate_low_usd": float(cost.lowest_usd), "estimate_high_usd": float(cost.highest_usd)}
    if (found := cost.predicted) is not None:
        expected |= {"estimate_usd": found.expected, "estimate_low90_usd": found.low, "estimate_high90_usd": found.high}
    return expected


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


def _file_name(prompt: str) -> str:
    return f"{prompt.replace('/', '_')}.md"


def _as_file(label: str) -> str:
    return re.sub(r"[^\w.=@+-]", "_", label)[:60]
