"""Tables of a selection: scores by weight, what they rest on, and what would change the winner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.analysis.matrix import percent

if TYPE_CHECKING:
    from paretoken.analysis.matrix import Reading, Row, Selection

Rows = list[dict[str, object]]
SHOWN = {
    "quality": ("quality", 1.0, ""),
    "latency": ("p99 s", 1.0, ""),
    "cost": ("$ / 1k usable", 1000.0, ""),
    "stability": ("stability", 100.0, " %"),
    "coverage": ("coverage", 100.0, " %"),
}
"""What a dimension's numbers are called in tables, by what they are multiplied there, and their unit."""


def candidate_rows(selection: Selection) -> Rows:
    """One row per candidate, the first one first: its total, how sure its rank is, and its scores."""
    return [
        {
            "rank": row.rank,
            selection.by: row.label,
            "total": f"{row.total:.3f}",
            "first in": percent(row.first_rate),
            "ranks": f"{row.rank_low}" if row.rank_low == row.rank_high else f"{row.rank_low} to {row.rank_high}",
            **{f"{name} x {selection.weights[name]:.2f}": f"{reading.score:.2f}" for name, reading in
               row.readings.items()},
            "standing": _standing(row),
        }
        for row in selection.rows
    ]  # fmt: skip


def _standing(row: Row) -> str:
    if row.rank == 1 or not row.dominated_by:
        return ""
    first, *others = row.dominated_by
    return f"dominated by {first}" + (f" and {len(others)} more" if others else "")


def reading_rows(selection: Selection) -> Rows:
    """One row per candidate: what was measured, with intervals, and what stability and cost rest on."""
    return [
        {
            selection.by: row.label,
            **{_head(selection, name): _with_interval(name, reading) for name, reading in row.readings.items()},
            "errors": f"{100 * row.error_rate:.3g} %",
            **({} if row.sla_rate is None else {f"within {selection.terms.sla_s:g} s": f"{100 * row.sla_rate:.3g} %"}),
            "usable": f"{100 * row.usable_rate:.3g} %",
            "calls": row.n,
            **({"does not pass": _few(row.failed_scenarios)} if "coverage" in selection.weights else {}),
        }
        for row in selection.rows
    ]  # fmt: skip


def _head(selection: Selection, name: str) -> str:
    return str(selection.metric) if name == "quality" else SHOWN[name][0]


def _with_interval(name: str, reading: Reading) -> str:
    _, factor, unit = SHOWN[name]
    if reading.value is None:
        return "-"
    told = f"{factor * reading.value:.3g}{unit}"
    if reading.low is None or reading.high is None:
        return told
    return f"{told} [{factor * reading.low:.3g}, {factor * reading.high:.3g}]"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def flip_rows(selection: Selection) -> Rows:
    """One row per dimension: from which weight on another candidate would be first; none where nothing would be."""
    flips = {flip.dimension: flip for flip in selection.flips}
    return [] if not flips else [
        {
            "dimension": name,
            "weight": f"{weight:.4f}",
            "another is first": "at no weight" if (flip := flips.get(name)) is None
            else f"{'above' if flip.at >= flip.weight else 'below'} {flip.at:.4f}",
            "which": "" if flip is None else selection.rows[flip.winner].label,
        }
        for name, weight in selection.weights.items()
    ]  # fmt: skip
