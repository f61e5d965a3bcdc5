"""Tables of what a log of calls cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.report.tables import standing_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    import pandas as pd

    from paretoken.analysis.front import Standing

Rows = list[dict[str, object]]


def cost_rows(costs: pd.DataFrame, total_usd: Decimal) -> Rows:
    """One row per group of calls, by time where the first name is a day, else the most expensive first.

    Args:
        costs: What `CallLog.cost_by` gave.
        total_usd: List cost of all calls [USD], of which every group has a share.
    """
    names = [str(name) for name in costs]
    del names[names.index("calls") :]
    ordered = costs if names[:1] == ["day"] else costs.sort_values("list_usd", ascending=False, kind="stable")
    rows: Rows = []
    for row in ordered.to_dict("records"):
        counted = {
            "calls": f"{row['calls']:,}",
            "tokens in": f"{row['input_tokens']:,}",
            "out": f"{row['output_tokens']:,}",
            "list $": f"{row['list_usd']:,.6f}",
            "share": f"{row['list_usd'] / total_usd:.1%}" if total_usd else "-",
            "billed $": f"{row['billed_usd']:,.6f}",
            "list $ / 1k calls": f"{1000 * row['list_usd'] / row['calls']:,.6f}",
            "errors": f"{row['error_rate']:.2%}",
            "p95 s": "-" if row["latency_s_p95"] is None else f"{row['latency_s_p95']:.3g}",
        }
        group = {f"tag: {name}" if name in counted else name: row[name] for name in names}
        rows.append({**{name: "(none)" if value is None else str(value) for name, value in group.items()}, **counted})
    return rows


def log_front_rows(standings: Sequence[Standing], objectives: Sequence[str]) -> Rows:
    """One row per variant with its objectives, the front first, then from cheap to expensive."""

    def place(standing: Standing) -> tuple[bool, float]:
        cost = standing.summary.value("list_usd")
        return not standing.on_front, float("inf") if cost is None else cost

    return [
        {
            "variant": standing.summary.label,
            "calls": f"{standing.summary.n:,}",
            **{name: _interval(standing, name) for name in objectives},
            "standing": standing_words(standing),
        }
        for standing in sorted(standings, key=place)
    ]


def _interval(standing: Standing, name: str) -> str:
    value, estimate = standing.summary.value(name), standing.summary.estimates.get(name)
    if value is None:
        return "-"
    if estimate is None or estimate.low is None or estimate.high is None:
        return f"{value:.4g}"
    return f"{value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
