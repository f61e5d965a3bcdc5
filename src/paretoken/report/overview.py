"""One run at a glance, and one sample's answers side by side."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.core.text import comparable, printable
from paretoken.report.cautions import shown
from paretoken.report.estimate import cost_estimate
from paretoken.report.race_findings import confirmation_cells
from paretoken.report.tables import front_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.prediction import Prediction
    from paretoken.analysis.results import Results
    from paretoken.experiment.forecast import Forecast
    from paretoken.records.table import RecordTable
    from paretoken.report.estimate import CostEstimate


COST = "$ / 1k calls"
DECIDING = (COST, "saving", "standing", "n", "p95 s", "errors")
"""Columns of the closing table that are shown first, after the variant and the metrics that are maximised."""


def closing_rows(results: Results) -> list[dict[str, Any]]:
    """The Pareto table as a terminal shows it: what decides, in as few columns as will do."""
    wanted = [name for name in results.objectives.maximize if name in results.metrics]
    others = [name for name in results.metrics if name not in wanted and shown(name)]
    return [
        {
            "variant": row["variant"],
            **{name: _with_half(row[name], row[f"{name}_plus_minus"]) for name in wanted},
            **{name: row[name] for name in others},
            COST: row["list_usd_per_1k_calls"],
            "saving": "-" if row["saving_percent"] is None else f"{row['saving_percent']} %",
            "p95 s": row["latency_s_p95"],
            "tokens in": row["input_tokens"],
            "out": row["output_tokens"],
            "errors": f"{100 * (row['error_rate'] or 0):.3g} %",
            "n": row["n"],
            "standing": row["standing"],
        }
        for row in cast("list[dict[str, Any]]", front_rows(results))
    ]


def _with_half(value: float | None, half: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if half is None else f"{value:.4g} ± {half:.2g}"


def confirmation_rows(results: Results) -> list[dict[str, Any]]:
    """The numbers that a race's front was selected by, beside those on held-out samples; no rows without such.

    Args:
        results: The run.
    """
    heads = ("variant", "quantity", "selected", "interval", "held out", "held-out interval")
    return [dict(zip(heads, cells, strict=True)) for cells in confirmation_cells(results)]


def forecast_rows(forecast: Forecast) -> list[dict[str, Any]]:
    """A forecast as a terminal shows it: a row per variant and per judge, and their total."""
    exact = all(row.exact for row in forecast.rows)
    tokens = "prompt tokens" if exact else "prompt tokens (estimated)"
    rows = [
        {
            "variant": v.label,
            "calls": v.calls,
            "answered before": v.cached,
            tokens: v.input_tokens,
            "answer tokens": _answer_tokens(v.output_tokens, v.output_tokens_max),
            "lowest to highest": f"${v.low_usd:.6f} to ${v.high_usd:.6f}",
            **_predicted(v.predicted),
            "recorded calls": "none" if not v.recorded else f"{v.recorded}" if v.same else f"{v.recorded} alike",
        }
        for v in forecast.rows
    ]
    if len(rows) > 1:
        known = [v.output_tokens for v in forecast.rows if v.output_tokens is not None]
        rows.append({
            "variant": "total",
            "calls": forecast.total("calls"),
            "answered before": forecast.total("cached"),
            tokens: forecast.total("input_tokens"),
            "answer tokens": _answer_tokens(sum(known) if len(known) == len(rows) else None,
                                            forecast.total("output_tokens_max")),
            "lowest to highest": f"${forecast.total('low_usd'):.6f} to ${forecast.total('high_usd'):.6f}",
            **_predicted(forecast.predicted),
            "recorded calls": str(forecast.total("recorded") or "none"),
        })  # fmt: skip
    return rows


def _answer_tokens(expected: int | None, most: int) -> str:
    if not most:
        return "0"
    return f"at most {most}" if expected is None else f"{expected} of at most {most}"


def _predicted(found: Prediction | None) -> dict[str, str]:
    if found is None:
        return {"expected": "-", "90 % interval": "-"}
    return {"expected": f"${found.expected:.6f}", "90 % interval": f"${found.low:.6f} to ${found.high:.6f}"}


def describe_run(results: Results) -> dict[str, Any]:
    """What a run is, what it was expected to cost and what it cost."""
    run = results.run
    lock: dict[str, Any] = dict(run.lock)
    estimate = lock["estimate"]
    table = results.table
    sent = ~table.from_cache & ~np.isin(table.variant, [table.variant_ids.index(v) for v in _recorded(results)])
    cost = cost_estimate(results)
    failed = [table.sample_ids[i] for i in np.unique(table.sample[table.failed])]
    failures = [
        {"sample": r.sample, "variant": results.labels[r.variant], "repeat": r.repeat, "error": r.error}
        for r in (results.read_records(sample=failed) if failed else ())
        if r.error is not None
    ]
    return {
        "run": run.id,
        "question": lock["question"],
        "status": f"{run.status}{f': {run.reason}' if run.reason and run.reason != 'complete' else ''}",
        "started": run.started_at,
        "finished": run.finished_at,
        "dataset": f"{lock['dataset']['path']} ({lock['dataset']['n']} samples, {lock['dataset']['hash']})",
        "estimate against actual": [
            _against("calls", estimate["calls"], None, len(table)),
            _against("calls sent", estimate["calls"] - estimate["cached"], None, int(sent.sum())),
            _against("prompt tokens sent", estimate["input_tokens"], None, _total(table, "input_tokens", sent)),
            _against("answer tokens", 0, estimate["output_tokens_max"], _total(table, "output_tokens", sent)),
            _against("billed, USD", cost.lowest_usd, cost.highest_usd, cost.billed_usd),
            *_against_interval(cost),
            *(
                [{"what": "of which judges, USD", "estimate": "", "actual": _plain(cost.judges_usd)}]
                if lock.get("judges")
                else []
            ),
        ],
        "budget": lock["budget"]["usd"] if lock["budget"] else "none",
        "variants": [
            {"label": row["label"], "id": row["id"], "prompt": row["prompt"], "model": row["model"], **row["params"]}
            for row in lock["variants"]
        ],
        "failures": failures,
    }


def grouped_failures(failures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Failures as a terminal shows them: a row for each error of a variant, with how many samples have it."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for failure in failures:
        groups.setdefault((failure["variant"], failure["error"]), []).append(failure)
    return [
        {
            "variant": variant,
            "failed": len(alike),
            "samples": ", ".join(str(f["sample"]) for f in alike[:3]) + (", …" if len(alike) > 3 else ""),
            "error": error,
        }
        for (variant, error), alike in groups.items()
    ]


def _recorded(results: Results) -> list[str]:
    """Variants whose answers were recorded earlier and elsewhere."""
    models = cast("dict[str, Any]", results.run.lock["models"])
    return [id_ for id_ in results.table.variant_ids if models[results.variants[id_].model]["recorded"]]


def _total(table: RecordTable, name: str, chosen: NDArray[np.bool_]) -> int:
    return int(np.nansum(table.values[name][chosen]))


def _against_interval(cost: CostEstimate) -> list[dict[str, str]]:
    if cost.predicted is None:
        return []
    row = _against("billed, USD, 90 % interval", cost.predicted.low, cost.predicted.high, cost.billed_usd)
    return [row | {"actual": f"{row['actual']}, {cost.outcome}"}]


def _against(what: str, low: object, high: object, actual: object) -> dict[str, str]:
    expected = _plain(low) if high is None else f"{_plain(low)} to {_plain(high)}"
    return {"what": what, "estimate": expected, "actual": _plain(actual)}


def _plain(value: object) -> str:
    number = Decimal(str(value))
    return f"{number:,}" if number == number.to_integral_value() else f"{number:.6f}"


def answer_rows(results: Results, sample: str) -> list[dict[str, Any]]:
    """Prompt, answer and scores of one sample, a row per variant.

    Args:
        results: The run.
        sample: Its id, in any Unicode form, or as it is printed.

    Raises:
        SpecError: The run has no record of the sample.
    """
    known = results.table.sample_ids
    if sample not in known:
        sample = next((id_ for id_ in known if comparable(printable(id_)) == comparable(sample)), sample)
    records = list(results.read_records(sample=[sample]))
    if not records:
        raise SpecError(f"run {results.run.id} has no record of sample {sample!r}.",
                        fix=suggest(sample, results.table.sample_ids))  # fmt: skip
    said: dict[tuple[str, int], list[str]] = {}
    for call in results.judgements(sample):
        text = f"error: {call.error}" if call.response is None else call.response.text
        said.setdefault((call.origin.variant, call.origin.repeat), []).append(text)
    return [
        {
            "variant": results.labels[record.variant],
            "prompt": "\n\n".join(f"[{m.role}] {m.content}" for m in record.call.request.messages),
            "answer": f"error: {record.error}" if record.call.response is None else record.call.response.text,
            **{name: score.value for name, score in record.scores.items()},
            **({"judges say": "\n\n".join(said.get((record.variant, record.repeat), ()))} if said else {}),
        }
        for record in records
    ]
