"""Columns of a log of calls, and the calls of a run with these columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from paretoken.analysis.features import level_of, tags_of
from paretoken.analysis.frame import param_columns
from paretoken.core.calls import paid_usd
from paretoken.core.usage import to_pico

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from paretoken.core.calls import Attempt
    from paretoken.core.trials import Record, RunInfo, Variant

CHOICES = (
    "prompt", "model", "edits", "temperature", "max_tokens", "top_p", "top_k", "min_p", "frequency_penalty",
    "presence_penalty", "stop", "reasoning_effort",
)  # fmt: skip
"""Columns that make up a variant."""
MONEY = ("list", "billed")
"""Each in whole pico-dollars, `list_pico`, or else in dollars, `list_usd`."""
Holds = Literal["times", "texts", "numbers"]
NEEDED: dict[str, Holds] = {
    "at": "times",
    "model": "texts",
    "input_tokens": "numbers",
    "output_tokens": "numbers",
    "latency_s": "numbers",
    "error": "texts",
}
"""Columns that a log must have, beside the two of money; a call that was answered has no `error`, or an empty one."""
COUNTED = ("repeat", "input_chars", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens",
           "reasoning_tokens", "latency_s", "ttft_s", "list_pico", "list_usd", "billed_pico",
           "billed_usd")  # fmt: skip
TOLD = ("run", "sample", "label", "variant", "input", "reference", "answer", "error", "finish_reason",
        "model_version", "price_row")  # fmt: skip
"""Texts that are no tags."""
COLUMNS = (*NEEDED, *CHOICES, *COUNTED, *TOLD)
"""Names that a log knows, none of a tag."""
TYPES: dict[str, tuple[Holds, ...]] = {
    "VARCHAR": ("texts", "times"), "ENUM": ("texts",), "DATE": ("times",),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ_NS", "TIMESTAMP_MS", "TIMESTAMP_S"), ("times",)),
    '"NULL"': ("times", "texts", "numbers"),
    **dict.fromkeys(("DECIMAL", "DOUBLE", "FLOAT", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT",
                     "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), ("numbers",)),
}  # fmt: skip
AS_THEY_ARE = (*TYPES, "BOOLEAN")
"""Types whose values make up groups; of all others, such as lists, their texts do."""
_OF_RUNS = {
    "at": "datetime64[us, UTC]", "answer": "string", "error": "string", "finish_reason": "string",
    "from_cache": "boolean", "input_tokens": "Int64", "output_tokens": "Int64", "latency_s": "Float64",
    "list_usd": "Float64", "billed_usd": "Float64", "list_pico": "Int64", "billed_pico": "Int64",
}  # fmt: skip
"""Types of columns of which a run may lack every value."""


def bare_type(described: str) -> str:
    """A type without its measures; that of lists is one of its own."""
    return "LIST" if described.endswith("]") else described.partition("(")[0].partition(" ")[0]


def build_log(
    frame: pd.DataFrame, records: Sequence[Record], run: RunInfo, samples: Mapping[str, Mapping[str, object]]
) -> pd.DataFrame:
    """Tabulate the calls of a run as a log of calls has them.

    Args:
        frame: The run's records, as `build_frame` has them.
        records: The same.
        run: The run.
        samples: As `build_frame` takes them.

    Returns:
        The frame with `run`, `at` and exact money, `list_pico, billed_pico`, in whole pico-dollars; then one column per
        tag of the run, `tag: NAME` where there is another column of this name; then one per tag of the data set whose
        name is none that logs of calls have.
    """
    import pandas as pd

    calls = [record.call for record in records]
    log = frame.assign(run=run.id, at=[call.at for call in calls])
    listed = [pd.NA if call.response is None else to_pico(call.response.list_usd) for call in calls]
    log["list_pico"] = pd.array(listed, "Int64")  # a list with gaps would become floats
    log["billed_pico"] = [to_pico(call.billed_usd) for call in calls]
    for name in _OF_RUNS:
        if name not in log:
            log[name] = pd.NA
    taken = {name.casefold() for name in (*COLUMNS, *log)}  # a log is asked without regard to case
    for tag, value in cast("Mapping[str, str]", run.lock["tags"]).items():
        log[f"tag: {tag}" if tag.casefold() in taken else tag] = value
    taken |= {str(name).casefold() for name in log}
    asked = [samples.get(record.sample, {}) for record in records]
    known = [samples.get(id_, {}) for id_ in dict.fromkeys(record.sample for record in records)]
    of_inputs = tags_of(known, len(known))
    for tag in of_inputs:
        if tag.casefold() not in taken:
            levels = [cast("Mapping[str, object]", body.get("fields") or {}).get(tag) for body in asked]
            log[tag] = pd.array([None if level is None else level_of(level) for level in levels], "string")
    return log.astype(_OF_RUNS)


def with_unanswered(
    log: pd.DataFrame, attempts: Sequence[Attempt], variants: Mapping[str, Variant], labels: Mapping[str, str]
) -> pd.DataFrame:
    """A log with one row more for every call that was sent and has no record: its money counts too.

    Args:
        log: As `build_log` has it.
        attempts: What was booked for such calls.
        variants: By id.
        labels: Label by variant id.
    """
    if not attempts:
        return log
    import pandas as pd

    params = param_columns(variants)
    rows = [
        {
            "sample": attempt.origin.sample,
            "label": labels[attempt.origin.variant],
            "variant": attempt.origin.variant,
            "repeat": attempt.origin.repeat,
            "prompt": variants[attempt.origin.variant].prompt,
            "model": variants[attempt.origin.variant].model,
            **params[attempt.origin.variant],
            "run": attempt.origin.run,
            "at": attempt.at,
            "error": f"no answer was received: {attempt.error or attempt.outcome}",
            "billed_pico": to_pico(paid_usd([attempt])),
            "billed_usd": float(paid_usd([attempt])),
        }
        for attempt in attempts
        if attempt.origin.variant in variants
    ]
    more = pd.DataFrame(rows).reindex(columns=log.columns).astype(log.dtypes.to_dict())
    return pd.concat([log, more], ignore_index=True) if len(log) else more
