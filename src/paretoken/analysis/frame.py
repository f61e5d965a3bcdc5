"""Records as a pandas frame: one row a record, one column a fact."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from paretoken.core.trials import Record, Variant


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
