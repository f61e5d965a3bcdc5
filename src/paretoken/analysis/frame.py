"""Records as a pandas frame: one row a record, one column a fact."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import pandas as pd

    from paretoken.core.trials import Record, Variant
    from paretoken.records.table import RecordTable

ROWS_AT_ONCE = 2_000
_OF_ANSWERS = ("answer", "finish_reason", "from_cache", "input_tokens", "output_tokens", "list_usd", "latency_s")


def build_frames(
    records: Iterator[Record],
    table: RecordTable,
    metrics: Iterable[str],
    variants: Mapping[str, Variant],
    labels: Mapping[str, str],
    read_samples: Callable[[Collection[str]], Iterable[tuple[str, Mapping[str, object]]]],
) -> Iterator[pd.DataFrame]:
    """`build_frame` of some of a run's records, some thousands at once.

    All parts have the same columns, and a column of numbers is whole in all of them or in none, as `table` says, which
    has all records of the run.
    """
    numbers = {**table.values, "billed_usd": table.bill_pico / 1e12}
    broken = {name for name, column in numbers.items() if (column[~np.isnan(column)] % 1).any()}
    expected = [*(_OF_ANSWERS if not table.failed.all() else ()), *(m for m in metrics if m in table.values)]
    columns: list[str] = []
    while part := list(islice(records, ROWS_AT_ONCE)):
        samples = dict(read_samples({record.sample for record in part}))
        frame = build_frame(part, variants, labels, samples)
        columns = columns or list(dict.fromkeys([*frame, *expected]))
        yield frame.reindex(columns=columns).astype(dict.fromkeys(broken & {*frame}, "Float64"))


def param_columns(variants: Mapping[str, Variant]) -> dict[str, dict[str, object]]:
    """The parameters of every variant as columns of one type each: where kinds of values meet, all are texts."""
    kinds: dict[str, set[str]] = {}
    for variant in variants.values():
        for name, value in variant.params:
            kinds.setdefault(name, set()).update(() if value is None else (_kind(value),))
    as_text = {name for name, found in kinds.items() if len(found) > 1 or "other" in found}
    return {
        id_: {name: param_text(value) if name in as_text and value is not None else value for name, value in v.params}
        for id_, v in variants.items()
    }


def _kind(value: object) -> str:
    if isinstance(value, bool | str):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "other"


def param_text(value: object) -> str:
    """A parameter's value in words: a text as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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

    rows, params = [], param_columns(variants)
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
            **params[record.variant],
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
