"""Some answers of every variant as MLflow traces, with their scores as assessments, to be compared in its UI."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from paretoken.report.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.entities import Assessment, Span, TraceInfo

    from paretoken.analysis.results import Results
    from paretoken.core.calls import Score
    from paretoken.core.trials import Record
    from paretoken.records.table import RecordTable

PREVIEW_CHARS = 1_000
_NS = 1_000_000_000


class Traces:
    """Traces of one run: the first samples in drawn order, the same ones for every variant.

    Args:
        results: The run.
        experiment: MLflow's experiment id.
        most: Traces per variant.
        tags: Of every trace.
    """

    def __init__(self, results: Results, experiment: str, most: int, tags: Mapping[str, str]) -> None:
        self._experiment, self._tags = experiment, dict(tags)
        self._samples: dict[str, dict[str, object]] = {}
        self._labels = results.labels
        scorers: Any = results.run.lock["scorers"]
        self._judges = {scorer["metrics"][0] for scorer in scorers if "judge" in scorer}
        self._of: dict[str, list[Record]] = {}
        if most and results.run.lock.get("store", {"content": "full"}) == {"content": "full"}:
            place = {id_: i for i, id_ in enumerate(results.panel.samples)}
            first = {id_: _first_samples(results.table.of(id_), place, most) for id_ in results.table.variant_ids}
            wanted = {id_ for ids in first.values() for id_ in ids}
            found = {(r.variant, r.sample): r for r in results.read_records(sample=wanted) if not r.repeat}
            self._samples = dict(results.read_samples(wanted))
            self._of = {variant: [found[variant, id_] for id_ in ids] for variant, ids in first.items()}

    def of(self, variant: str, run_id: str, model_id: str, prompt: str) -> Iterator[tuple[TraceInfo, list[Span]]]:
        """A variant's traces.

        Args:
            variant: Its id.
            run_id: MLflow's run of it.
            model_id: MLflow's model of it.
            prompt: MLflow's link to its registered prompt, JSON.
        """
        for record in self._of.get(variant, ()):
            yield self._trace(record, run_id, model_id, prompt)

    def _trace(self, record: Record, run_id: str, model_id: str, prompt: str) -> tuple[TraceInfo, list[Span]]:
        from mlflow.entities import TraceInfo, TraceLocation, TraceState
        from mlflow.tracing.constant import TraceMetadataKey, TraceTagKey

        hex_id = hashlib.sha256(f"{run_id}/{record.sample}/{record.repeat}".encode()).hexdigest()[:32]
        call = record.call
        response, start_ns = call.response, int(call.at.timestamp() * _NS)
        latency_s = 0.0 if response is None else response.latency_s or 0.0
        inputs = {"sample": record.sample, "input": self._samples.get(record.sample, {}).get("input")}
        usage = {} if response is None else _usage(response.usage.input_tokens, response.usage.output_tokens)
        cost = {"total_cost": 0.0 if response is None else float(response.list_usd)}
        answer = call.error if response is None else response.text
        info = TraceInfo(
            trace_id=f"tr-{hex_id}",
            client_request_id=record.sample,
            trace_location=TraceLocation.from_experiment_id(self._experiment),
            request_time=start_ns // 1_000_000,
            execution_duration=int(1000 * latency_s),
            state=TraceState.ERROR if response is None else TraceState.OK,
            request_preview=_json(inputs)[:PREVIEW_CHARS],
            response_preview=redact(answer or "")[:PREVIEW_CHARS],
            trace_metadata={
                TraceMetadataKey.SOURCE_RUN: run_id,
                TraceMetadataKey.MODEL_ID: model_id,
                TraceMetadataKey.TOKEN_USAGE: _json(usage),
                TraceMetadataKey.COST: _json(cost),
            },
            tags=self._tags
            | {TraceTagKey.TRACE_NAME: self._labels[record.variant], TraceTagKey.LINKED_PROMPTS: prompt,
               "sample": record.sample},
            assessments=list(self._assessments(record)),
        )  # fmt: skip
        return info, self._spans(record, hex_id, inputs, usage, cost, (start_ns, start_ns + int(latency_s * _NS)))

    def _spans(
        self,
        record: Record,
        hex_id: str,
        inputs: Mapping[str, object],
        usage: Mapping[str, int],
        cost: Mapping[str, float],
        ends: tuple[int, int],
    ) -> list[Span]:
        """The cell of the experiment, and in it the call to the model."""
        request, response = record.call.request, record.call.response
        answer = {"error": record.error} if response is None else response.text
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        settings = {"max_tokens": request.max_tokens, "temperature": request.temperature, **dict(request.params)}
        cell = {"mlflow.spanType": "CHAIN", "mlflow.spanInputs": inputs, "mlflow.spanOutputs": answer}
        chat = {
            "mlflow.spanType": "CHAT_MODEL",
            "mlflow.spanInputs": {"model": request.model, "messages": messages, **settings},
            "mlflow.spanOutputs": {"choices": [{"message": {"role": "assistant", "content": answer}}]},
            "mlflow.llm.model": request.model,
            "mlflow.chat.tokenUsage": usage,
            "mlflow.llm.cost": cost,
        }
        root = hex_id[:16]
        return [
            _span(hex_id, root, "", self._labels[record.variant], ends, cell, failed=response is None),
            _span(hex_id, hex_id[16:], root, request.model, ends, chat, failed=response is None),
        ]

    def _assessments(self, record: Record) -> Iterator[Assessment]:
        from mlflow.entities import AssessmentSource, Expectation, Feedback

        at_ms = int(record.call.at.timestamp() * 1000)
        for metric, score in record.scores.items():
            kind = "LLM_JUDGE" if metric in self._judges else "CODE"
            yield Feedback(
                name=metric,
                value=score.value,
                error=None if score.value is not None else redact(score.reason or ""),
                source=AssessmentSource(kind, score.scorer),
                metadata=_beside(score),
                create_time_ms=at_ms,
                last_update_time_ms=at_ms,
            )
        if (reference := self._samples.get(record.sample, {}).get("reference")) is not None:
            yield Expectation(
                name="expected_response",
                value=redact(str(reference)),
                source=AssessmentSource("HUMAN", "dataset"),
                create_time_ms=at_ms,
                last_update_time_ms=at_ms,
            )


def _first_samples(table: RecordTable, place: Mapping[str, int], most: int) -> list[str]:
    """Of a variant's records, the samples that were drawn first."""
    asked = [table.sample_ids[i] for i in table.sample[table.repeat == 0]]
    return nsmallest(most, asked, key=lambda id_: place.get(id_, len(place)))


def _span(
    trace: str,
    span: str,
    parent: str,
    name: str,
    ends: tuple[int, int],
    attributes: Mapping[str, object],
    *,
    failed: bool,
) -> Span:
    from mlflow.entities import Span

    return Span.from_dict(
        {
            "trace_id": _base64(trace),
            "span_id": _base64(span),
            "parent_span_id": _base64(parent),
            "name": name,
            "start_time_unix_nano": ends[0],
            "end_time_unix_nano": ends[1],
            "status": {"code": "STATUS_CODE_ERROR" if failed else "STATUS_CODE_OK", "message": ""},
            "events": [],
            "attributes": {"mlflow.traceRequestId": _json(f"tr-{trace}"),
                           **{key: _json(value) for key, value in attributes.items()}},
        }
    )  # fmt: skip


def _base64(hex_id: str) -> str:
    return b64encode(bytes.fromhex(hex_id)).decode()


def _usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": input_tokens + output_tokens}


def _beside(score: Score) -> dict[str, str]:
    return {"provenance": score.provenance} | {name: f"{value:g}" for name, value in score.beside.items()}


def _json(value: object) -> str:
    return redact(json.dumps(value, ensure_ascii=False, default=str))
