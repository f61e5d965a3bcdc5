"""Comparisons as rows of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.analysis.difference import MONEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison
    from paretoken.experiment.edited import EditChange
    from paretoken.experiment.reach import Outlook


def difference_rows(pair: Comparison) -> list[dict[str, object]]:
    """A comparison as a table: a row per quantity, the declared questions first."""
    judgements = [*([pair.cost] if pair.cost else []), *pair.quality, *pair.others]
    return [
        {
            "quantity": j.difference.name,
            pair.control: j.difference.mean_a,
            pair.treatment: j.difference.mean_b,
            "difference": j.difference.difference,
            "low": j.difference.low,
            "high": j.difference.high,
            "relative": None if j.difference.relative is None else f"{j.difference.relative:+.1%}",
            "p": j.difference.p_value,
            "finding": "equivalent" if j.equivalent else j.finding,
            "remark": j.difference.reason or j.difference.warning,
        }
        for j in judgements
    ]


def compared_rows(pair: Comparison) -> list[dict[str, object]]:
    """A comparison as a terminal shows it: three digits, money per 1,000 calls, one column for an interval."""
    judgements = [*([pair.cost] if pair.cost else []), *pair.quality, *pair.others]
    return [
        {
            "quantity": "$ / 1k calls" if j.difference.name == "list_usd" else j.difference.name,
            pair.control: _three(j.difference.name, j.difference.mean_a),
            pair.treatment: _three(j.difference.name, j.difference.mean_b),
            "difference": _interval(j.difference),
            "relative": "-" if j.difference.relative is None else f"{100 * j.difference.relative:+.3g} %",
            "p": p_words(j.difference.p_value),
            "finding": "equivalent" if j.equivalent else j.finding,
        }
        for j in judgements
    ]


def remarks(pair: Comparison) -> list[str]:
    """Why a quantity cannot be told, or what makes its interval less sure, one sentence each."""
    judgements = [*([pair.cost] if pair.cost else []), *pair.quality, *pair.others]
    told = [(j.difference.name, j.difference.reason or j.difference.warning) for j in judgements]
    return [f"{name}: {words}" for name, words in told if words]


def p_words(p: float | None) -> str:
    """A p value as papers print it."""
    return "-" if p is None else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _interval(found: PairedDifference) -> str:
    if found.difference is None:
        return "-"
    ends = [_signed(found.name, end) for end in (found.low, found.high)]
    return _signed(found.name, found.difference) + ("" if "-" in ends else f" [{', '.join(ends)}]")


def _signed(quantity: str, value: float | None) -> str:
    return "-" if value is None else f"{value * (1000 if quantity in MONEY else 1):+.3g}"


def _three(quantity: str, value: float | None) -> str:
    return "-" if value is None else f"{value * (1000 if quantity in MONEY else 1):.3g}"


def segment_rows(results: Results) -> list[dict[str, object]]:
    """The comparisons within each value of the tags that the spec names."""
    return [
        {
            "tag": f"{column} = {value}",
            "treatment": comparison.treatment,
            "quantity": j.difference.name,
            "n": j.difference.n,
            "difference": j.difference.difference,
            "low": j.difference.low,
            "high": j.difference.high,
            "finding": j.finding,
        }
        for column, value, comparison in results.segments()
        for j in comparison.judged
    ]


def noise_rows(results: Results) -> list[dict[str, object]]:
    """Where the noise of every declared difference comes from; no rows without repeats."""
    return [
        {
            "treatment": label,
            "quantity": split.name,
            "n": split.n,
            "samples": split.sample,
            "answers": split.answer,
            "scorer": _scorer(split.scorer, scored=split.name in results.metrics),
            "standard error at 1, 2, 3 repeats": ", ".join(f"{error:.3g}" for error in split.standard_errors[:3]),
            "repeats worth paying for": split.worth,
        }
        for label, split in results.variance_splits()
    ]


def _scorer(variance: float | None, *, scored: bool) -> str:
    if not scored:
        return "-"
    return "no answer was scored twice" if variance is None else f"{variance:.3g}"


def reach_rows(outlooks: Sequence[Outlook]) -> list[dict[str, object]]:
    """What a planned A/B test will be able to show."""
    return [
        {
            "treatment": outlook.treatment,
            "quantity": outlook.reach.name,
            "recorded pairs": outlook.reach.seen,
            "planned": outlook.reach.planned,
            "smallest detectable difference": outlook.reach.detectable,
            "margin": outlook.reach.margin,
            "power to show not worse": None if outlook.reach.power is None else f"{100 * outlook.reach.power:.0f} %",
            "samples for 80 %": outlook.reach.needs,
        }
        for outlook in outlooks
    ]


def edit_rows(changes: Sequence[EditChange]) -> list[dict[str, object]]:
    """What edits do to the length of prompts."""
    return [
        {
            "prompt": change.prompt,
            "edits": change.edits,
            "prompt tokens before (estimated)": round(change.tokens_before, 1),
            "after": round(change.tokens_after, 1),
            "change": f"{100 * change.change_rate:+.0f} %",
        }
        for change in changes
    ]
