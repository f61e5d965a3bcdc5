"""Answers of two variants to the same samples, side by side with their differences marked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from paretoken.analysis.difference import smaller_is_better
from paretoken.report.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.analysis.results import Results
    from paretoken.core.trials import Record
    from paretoken.records.table import RecordTable

MOST_CHARS = 4_000
"""Longer answers are cut."""
LEAST_ALIKE = 0.15
"""Share of common words below which marks would cover everything."""
LEAST_RUN = 2
"""Words that must be common in a row between two differences, or they are part of one difference."""
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|\d+(?:[.,]\d+)*|(?:(?![{_CJK}\d])\w)+(?:['’](?:(?![{_CJK}\d])\w)+)*|\s+|.", re.DOTALL)

Why = Literal["loss", "gain", "typical"]


class Piece(NamedTuple):
    """A part of an answer, and whether the other answer lacks it."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Side:
    """One variant's answer.

    Attributes:
        label: The variant.
        pieces: The answer, or why there is none.
        cut: Characters that are not shown.
        value: Of the quantity that the sample was chosen by.
        list_usd: What the answer costs at list price [USD].
        output_tokens: Its length [tokens].
    """

    label: str
    pieces: tuple[Piece, ...]
    cut: int
    value: float
    list_usd: float
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Example:
    """One sample and what two variants answered.

    Attributes:
        sample: Its id.
        why: Largest loss of the second variant, its largest gain, or a difference like most.
        input, reference: Of the sample, as far as it has them.
        sides: The two answers.
        alike: Share of words that the answers have in common.
    """

    sample: str
    why: Why
    input: str
    reference: str
    sides: tuple[Side, Side]
    alike: float

    @property
    def marks(self) -> bool:
        """Whether the answers have enough in common to mark what differs."""
        return self.alike >= LEAST_ALIKE


def examples_of(results: Results, a: str, b: str, name: str) -> list[Example]:
    """The samples that tell most of two variants: largest loss, largest gain, and one like most.

    Args:
        results: The run; its texts must be kept.
        a: Variant id.
        b: What it is compared with.
        name: The quantity whose difference chooses: a metric, or `list_usd`.

    Returns:
        At most three, none where no sample has a value for both.
    """
    before, after = (_values(results.table.of(id_), name) for id_ in (a, b))
    sign = 1 if smaller_is_better(name) else -1
    gains = {id_: sign * (before[id_] - after[id_]) for id_ in before if id_ in after}
    chosen = _chosen(gains)
    records = {(r.sample, r.variant): r for r in results.read_records(sample=list(chosen)) if not r.repeat}
    return [
        _example(results, sample, why, (records[sample, a], records[sample, b]), name) for sample, why in chosen.items()
    ]


def _values(table: RecordTable, name: str) -> dict[str, float]:
    """A variant's first values by sample."""
    known = table.list_pico / 1e12 if name == "list_usd" else table.values.get(name, np.full(len(table), np.nan))
    rows = np.flatnonzero((table.repeat == 0) & ~table.failed & ~np.isnan(known))
    return {table.sample_ids[table.sample[i]]: float(known[i]) for i in rows}


def _value(record: Record, name: str) -> float | None:
    response = record.call.response
    if response is not None and name == "list_usd":
        return float(response.list_usd)
    score = record.scores.get(name)
    return None if score is None else score.value


def _chosen(gains: Mapping[str, float]) -> dict[str, Why]:
    """Which samples are shown and why, by id; each once."""
    if not gains:
        return {}
    order = sorted(gains, key=lambda sample: (gains[sample], sample))
    chosen: dict[str, Why] = {}
    if gains[order[0]] < 0:
        chosen[order[0]] = "loss"
    if gains[order[-1]] > 0:
        chosen[order[-1]] = "gain"
    middle = median(gains.values())
    rest = [sample for sample in order if sample not in chosen]
    if rest:
        chosen[min(rest, key=lambda sample: (abs(gains[sample] - middle), sample))] = "typical"
    return chosen


def _example(results: Results, sample: str, why: Why, records: tuple[Record, Record], name: str) -> Example:
    body = dict(results.read_samples([sample])).get(sample, {})
    texts = [redact(record.call.response.text) for record in records if record.call.response is not None]
    pieces, alike = mark(*(text[:MOST_CHARS] for text in texts))
    sides = [
        Side(
            results.labels[record.variant],
            part,
            max(len(text) - MOST_CHARS, 0),
            _value(record, name) or 0.0,
            float(response.list_usd),
            response.usage.output_tokens,
        )
        for record, part, text in zip(records, pieces, texts, strict=True)
        if (response := record.call.response) is not None
    ]
    question, reference = (redact(str(body.get(part) or "")) for part in ("input", "reference"))
    return Example(sample, why, question, reference, (sides[0], sides[1]), alike)


def mark(a: str, b: str) -> tuple[tuple[tuple[Piece, ...], tuple[Piece, ...]], float]:
    """Mark what two texts do not have in common: by words, and by characters where a script has no spaces.

    Upper and lower case are alike. A single common word between two differences is part of one difference, for marks
    around single words are hard to read.

    Args:
        a: A text.
        b: Another one.

    Returns:
        The pieces of each, which make up the text, and the share of words that are common.
    """
    words_a, words_b = _WORD.findall(a), _WORD.findall(b)
    plain_a, plain_b = ([word.casefold() for word in words] for words in (words_a, words_b))
    blocks = SequenceMatcher(None, plain_a, plain_b, autojunk=False).get_matching_blocks()
    ends = [(0, 0), (len(words_a), len(words_b))]
    kept = [
        block
        for block in blocks
        if (block.a, block.b) == ends[0]
        or (block.a + block.size, block.b + block.size) == ends[1]
        or sum(map(_tells, words_a[block.a : block.a + block.size])) >= LEAST_RUN
    ]
    common = sum(_tells(word) for block in kept for word in words_a[block.a : block.a + block.size])
    total = sum(map(_tells, words_a)) + sum(map(_tells, words_b))
    alike = 2 * common / total if total else float(a == b)
    first = _pieces(words_a, [(block.a, block.size) for block in kept])
    return (first, _pieces(words_b, [(block.b, block.size) for block in kept])), alike


def _tells(word: str) -> bool:
    return any(map(str.isalnum, word))


def _pieces(words: Sequence[str], common: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    shared = {i for start, size in common for i in range(start, start + size)}
    runs = groupby(range(len(words)), key=lambda i: i not in shared)
    return tuple(Piece("".join(words[i] for i in run), marked) for marked, run in runs)
