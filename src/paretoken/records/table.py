"""Records as columns of numbers: what statistics read. A run of 200,000 calls takes some tens of megabytes."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from paretoken.core.calls import NUMBERS
from paretoken.core.errors import StoreError
from paretoken.core.text import split_thinking
from paretoken.records.codec import paid_pico

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Row

_MISSING = float("nan")
MOST_NOTES = 8
FLAGS = ("failed", "from_cache", "estimated", "cut", "withheld", "thought")
_PICO = 1e-12
_LOW = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class RecordTable:
    """One row per record, in the order of first calls. Arrays have shape `(n,)`.

    Attributes:
        sample_ids, variant_ids: What the indices mean.
        sample, variant: Index of each record's sample and variant.
        repeat: Number of the repetition.
        at_s: When the call ended, in seconds since 1970 [s].
        answer: A number that equal answers share; 0 where the text is not kept, or none.
        failed: True where there is no answer.
        from_cache, estimated: True where the answer is a hit, where its usage is an estimate.
        thought: True where the answer holds its thinking, in `<think>` tags.
        cut, withheld: True where the answer ends at its limit of tokens, where the provider's filter withheld it.
        list_pico: List cost [pico-USD].
        bill_pico: All attempts of the cell, assumed money included [pico-USD].
        values: By name, `NUMBERS`, every metric, and what stands beside one as `metric.name`; NaN where there is none.
        unanswered_pico: Money of cells without a record, lost in a killed process or before a stop, by variant id.
        missing: How often a metric is missing for a reason, by metric, variant id and reason.
        notes: How often a metric's value has a note, by metric, variant id and note; the first `MOST_NOTES` of each.
        thinking_rate: Share of thinking in the texts of answers that hold any, by variant id.
        judges_pico: What judges were paid in the whole run, assumed money included [pico-USD].
    """

    sample_ids: Sequence[str]
    variant_ids: Sequence[str]
    sample: NDArray[np.int64]
    variant: NDArray[np.int64]
    repeat: NDArray[np.int64]
    at_s: NDArray[np.float64]
    answer: NDArray[np.int64]
    failed: NDArray[np.bool_]
    from_cache: NDArray[np.bool_]
    estimated: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    withheld: NDArray[np.bool_]
    thought: NDArray[np.bool_]
    list_pico: NDArray[np.int64]
    bill_pico: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    unanswered_pico: Mapping[str, int]
    missing: Mapping[str, Mapping[str, Mapping[str, int]]]
    notes: Mapping[str, Mapping[str, Mapping[str, int]]]
    judges_pico: int = 0
    thinking_rate: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample)

    def of(self, variant_id: str) -> RecordTable:
        """The records of one variant."""
        chosen = self.variant == (self.variant_ids.index(variant_id) if variant_id in self.variant_ids else -1)
        return replace(self._only(chosen), unanswered_pico={variant_id: self.unanswered_pico.get(variant_id, 0)})

    def common(self) -> RecordTable:
        """The records of the samples that were put to every variant."""
        met = np.zeros((len(self.variant_ids), len(self.sample_ids)), np.bool_)
        met[self.variant, self.sample] = True
        shared = np.asarray(met.all(axis=0))
        return self._only(shared[self.sample])

    def on(self, samples: Iterable[str]) -> RecordTable:
        """The records of some samples."""
        wanted = set(samples)
        known = np.array([id_ in wanted for id_ in self.sample_ids], np.bool_)
        return self._only(known[self.sample])

    def _only(self, chosen: NDArray[np.bool_]) -> RecordTable:
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        rows: dict[str, Any] = {name: a[chosen] for name, a in arrays.items() if isinstance(a, np.ndarray)}
        return replace(self, **rows, values={name: column[chosen] for name, column in self.values.items()})

    def most_alike(self) -> int:
        """To how many samples one and the same answer was given, at most."""
        known = self.answer != 0
        pairs = np.unique(np.stack([self.answer[known], self.sample[known]]), axis=1)
        return int(np.unique(pairs[0], return_counts=True)[1].max(initial=0))

    def sample_means(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Means over repeats: one value per sample that has any, as `(sample indices, means)`."""
        column = self.values.get(name)
        if column is None:
            return np.empty(0, np.int64), np.empty(0)
        known = ~np.isnan(column)
        counts = np.bincount(self.sample[known], minlength=len(self.sample_ids))
        sums = np.bincount(self.sample[known], column[known], minlength=len(self.sample_ids))
        samples = np.flatnonzero(counts)
        return samples, sums[samples] / counts[samples]


def _number_of(text: str) -> int:
    """A number that equal texts share; 0 for none."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=7).digest()) + 1 if text else 0


class _Builder:
    """Collects rows; a later call or score of the same cell replaces an earlier one."""

    def __init__(self) -> None:
        self.samples: dict[str, int] = {}
        self.variants: dict[str, int] = {}
        self.cells: dict[int, int] = {}
        self.bills, self.index = array("q"), array("q")  # by cell; the index of its record, -1 before its first call
        self.cell_of = array("q")  # by record
        self.integers = {name: array("q") for name in ("sample", "variant", "repeat", "list_pico", "answer")}
        self.flags = {name: array("b") for name in FLAGS}
        self.at_s = array("d")
        self.values = {name: array("d") for name in NUMBERS}
        self.reasons: dict[tuple[str, int], str] = {}
        self.provenance: dict[str, str] = {}
        self.notes: dict[str, dict[int, dict[str, int]]] = {}
        self.judges_pico = 0
        self.thinking: dict[int, list[int]] = {}  # characters of thinking and of all, by variant

    def take(self, row: Row[tuple[object, ...]]) -> None:
        sample = self.samples.setdefault(row.sample, len(self.samples))
        variant = self.variants.setdefault(row.variant, len(self.variants))
        cell = self.cells.setdefault(sample << 64 | variant << 32 | row.repeat, len(self.cells))
        if cell == len(self.bills):
            self.bills.append(0)
            self.index.append(-1)
        body = json.loads(row.body)
        if row.kind == "attempt":
            self.bills[cell] += paid_pico(body)
        elif row.kind == "call":
            if self.index[cell] < 0:
                self._add(cell, sample=sample, variant=variant, repeat=row.repeat)
            self._take_call(self.index[cell], body)
        elif self.index[cell] >= 0:
            self._take_score(self.index[cell], body)

    def _add(self, cell: int, **keys: int) -> None:
        """Begin the row of a cell."""
        self.index[cell] = len(self.at_s)
        self.cell_of.append(cell)
        self.at_s.append(0)
        for name, integers in self.integers.items():
            integers.append(keys.get(name, 0))
        for flags in self.flags.values():
            flags.append(0)
        for numbers in self.values.values():
            numbers.append(_MISSING)

    def _take_call(self, index: int, body: dict[str, Any]) -> None:
        if self.reasons:
            for metric in self.values:
                self.reasons.pop((metric, index), None)
        response = body["response"]
        self.integers["answer"][index] = 0 if response is None else _number_of(response["text"])
        self.at_s[index] = datetime.fromisoformat(body["at"]).timestamp()
        for flags in self.flags.values():
            flags[index] = False
        self.flags["failed"][index] = response is None
        for column in self.values.values():
            column[index] = _MISSING
        if response is None:
            return
        usage = response["usage"]
        self.flags["from_cache"][index] = response.get("from_cache", False)
        self.flags["estimated"][index] = usage.get("estimated", False)
        self.flags["cut"][index] = response.get("finish_reason") == "length"
        self.flags["withheld"][index] = response.get("finish_reason") == "content_filter"
        if thinking := split_thinking(response["text"] or "")[0]:
            self.flags["thought"][index] = True
            counts = self.thinking.setdefault(self.integers["variant"][index], [0, 0])
            counts[0] += len(thinking)
            counts[1] += len(response["text"])
        self.integers["list_pico"][index] = response["list_pico"]
        said = (
            response["list_pico"] * _PICO, response["billed_pico"] * _PICO, usage.get("input_tokens", 0),
            usage.get("output_tokens", 0), response["latency_s"], response.get("ttft_s"),
        )  # fmt: skip
        for name, number in zip(NUMBERS, said, strict=True):
            self.values[name][index] = _MISSING if number is None else number

    def _take_score(self, index: int, body: dict[str, Any]) -> None:
        metric, value = body["metric"], body["value"]
        made = body.get("provenance", "")
        if (first := self.provenance.setdefault(metric, made)) != made:
            raise StoreError(f"scores of {metric!r} were made in two ways, {first!r} and {made!r}, which must not be "
                             "compared: start another run with --fresh")  # fmt: skip
        self._put(metric, index, _MISSING if value is None else value)
        for name, number in body.get("beside", {}).items():
            self._put(f"{metric}.{name}", index, number)
        if value is None:
            self.reasons[metric, index] = body["reason"]
            return
        self.reasons.pop((metric, index), None)
        if (note := body.get("reason")) is not None:
            counts = self.notes.setdefault(metric, {}).setdefault(self.integers["variant"][index], {})
            if note in counts or len(counts) < MOST_NOTES:
                counts[note] = counts.get(note, 0) + 1

    def _put(self, name: str, index: int, value: float) -> None:
        column = self.values.setdefault(name, array("d"))
        column.extend([_MISSING] * (len(self.at_s) - len(column)))
        column[index] = value

    def table(self) -> RecordTable:
        n = len(self.at_s)
        for column in self.values.values():
            column.extend([_MISSING] * (n - len(column)))
        variants = list(self.variants)
        unanswered: dict[str, int] = {}
        for cell, pico, index in zip(self.cells, self.bills, self.index, strict=True):
            if index < 0 and pico:
                variant = variants[cell >> 32 & _LOW]
                unanswered[variant] = unanswered.get(variant, 0) + pico
        bills = np.array(self.bills, np.int64)[np.array(self.cell_of, np.int64)]
        missing: dict[str, dict[str, dict[str, int]]] = {}
        for (metric, index), reason in self.reasons.items():
            counts = missing.setdefault(metric, {}).setdefault(variants[self.integers["variant"][index]], {})
            counts[reason] = counts.get(reason, 0) + 1
        return RecordTable(
            sample_ids=list(self.samples),
            variant_ids=variants,
            at_s=np.array(self.at_s),
            bill_pico=bills,
            values={name: np.array(column) for name, column in self.values.items()},
            unanswered_pico=unanswered,
            missing=missing,
            notes={metric: {variants[v]: c for v, c in by.items()} for metric, by in self.notes.items()},
            judges_pico=self.judges_pico,
            thinking_rate={variants[v]: part / whole for v, (part, whole) in self.thinking.items()},
            sample=np.array(self.integers["sample"], np.int64),
            variant=np.array(self.integers["variant"], np.int64),
            repeat=np.array(self.integers["repeat"], np.int64),
            answer=np.array(self.integers["answer"], np.int64),
            list_pico=np.array(self.integers["list_pico"], np.int64),
            **{name: np.array(flags, np.bool_) for name, flags in self.flags.items()},
        )


def build_table(rows: Iterable[Row[tuple[object, ...]]]) -> RecordTable:
    """Tabulate a run's rows in one pass."""
    builder = _Builder()
    for row in rows:
        if row.role == "subject":
            builder.take(row)
        elif row.role == "judge" and row.kind == "attempt":
            builder.judges_pico += paid_pico(json.loads(row.body))
    return builder.table()
