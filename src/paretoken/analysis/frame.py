"""Records as a pandas frame: one row a record, one column a fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from paretoken.core.usage import to_pico

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from paretoken.core.trials import Record, RunInfo, Variant

_LOG_TYPES = {
    "at": "datetime64[us, UTC]", "answer": "string", "error": "string", "finish_reason": "string",
    "from_cache": "boolean", "input_tokens": "Int64", "output_tokens": "Int64", "latency_s": "Float64",
    "list_usd": "Float64", "billed_usd": "Float64", "list_pico": "Int64", "billed_pico": "Int64",
}  # fmt: skip
"""Types of columns that may lack every value."""


def build_frame(
    records: Iterable[Record],
    variants: Mapping[str, Variant],
    labels: Mapping[str, str],
    samples: Mapping[str, Mapping[str, object]],
) -> pd.DataFrame:
    """Tabulate records.

    Args:
        records: Records of one run.
        variants: By id.
        labels: Label by variant id.
        samples: Content (`input`, `reference`, `fields`) by sample id.

    Returns:
        One row per record with `sample, label, variant, repeat, prompt, model`, the parameters, `input, reference,
        answer, error, input_chars, input_tokens, output_tokens, list_usd, billed_usd, latency_s, finish_reason,
        from_cache` and one column per metric. Missing values are NA.
    """
    import pandas as pd

    rows = []
    for record in records:
        variant, response = variants[record.variant], record.call.response
        sample = samples.get(record.sample, {})
        row: dict[str, object] = {
            "sample": record.sample,
            "label": labels[record.variant],
            "variant": record.variant,
            "repeat": record.repeat,
            "prompt": variant.prompt,
            "model": variant.model,
            **dict(variant.params),
            "input": sample.get("input"),
            "reference": sample.get("reference"),
            "input_chars": None if sample.get("input") is None else len(str(sample["input"])),
            "error": record.error,
            "billed_usd": float(record.call.billed_usd),
        }
        if response is not None:
            row |= {
                "answer": response.text,
                "finish_reason": response.finish_reason,
                "from_cache": response.from_cache,
                "input_tokens": response.usage.input_tokens,
                "output_tokens": response.usage.output_tokens,
                "list_usd": float(response.list_usd),
                "latency_s": response.latency_s,
            }
        row |= {name: score.value for name, score in record.scores.items()}
        rows.append(row)
    return pd.DataFrame(rows).convert_dtypes()


def build_log(frame: pd.DataFrame, records: Iterable[Record], run: RunInfo) -> pd.DataFrame:
    """Tabulate the calls of a run as a log of calls has them.

    Args:
        frame: The run's records, as `build_frame` has them.
        records: The same.
        run: The run.

    Returns:
        The frame with `run`, `at` and exact money, `list_pico, billed_pico`, in whole pico-dollars; then one column per
        tag of the run, `tag: NAME` where there is another column of this name.
    """
    import pandas as pd

    calls = [record.call for record in records]
    log = frame.assign(run=run.id, at=[call.at for call in calls])
    listed = [pd.NA if call.response is None else to_pico(call.response.list_usd) for call in calls]
    log["list_pico"] = pd.array(listed, "Int64")  # a list with gaps would become floats
    log["billed_pico"] = [to_pico(call.billed_usd) for call in calls]
    for name in _LOG_TYPES:
        if name not in log:
            log[name] = pd.NA
    for tag, value in cast("Mapping[str, str]", run.lock["tags"]).items():
        log[tag if tag not in log else f"tag: {tag}"] = value
    return log.astype(_LOG_TYPES)
