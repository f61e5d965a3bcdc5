"""The Pareto picture to point at: one page that needs no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from paretoken.report.figures import FRONT, INK, REST, SOFT, height_of, words
from paretoken.report.tables import question_of, standing_words

if TYPE_CHECKING:
    from pathlib import Path

    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results


def save_front_page(results: Results, path: Path) -> None:
    """Write cost against quality with intervals, one point a variant, which tells its numbers when it is pointed at.

    Args:
        results: The run.
        path: An HTML file.
    """
    import plotly.graph_objects as go

    name, larger_is_better = height_of(results)
    better = "higher" if larger_is_better else "lower"
    figure = go.Figure()
    for on_front, colour in ((True, FRONT), (False, REST)):
        shown = [s for s in results.standings if s.on_front is on_front and _place(s, name) is not None]
        shown.sort(key=lambda s: _place(s, name) or (0.0, 0.0))
        places = [place for s in shown if (place := _place(s, name)) is not None]
        figure.add_scatter(
            x=[x for x, _ in places],
            y=[y for _, y in places],
            error_x=_errors(shown, "list_usd", 1000),
            error_y=_errors(shown, name, 1),
            mode="markers+text" if on_front else "markers",
            text=[escape(s.summary.label) for s in shown],
            textposition="top center",
            hovertext=[_told(results, s) for s in shown],
            hoverinfo="text",
            name="front" if on_front else "others",
            marker={"color": colour, "size": 11 if on_front else 8},
            line={"color": colour, "dash": "dot", "shape": "hv"},
        )
    costs = [place[0] for s in results.standings if (place := _place(s, name)) is not None]
    log = bool(costs) and min(costs) > 0 and max(costs) > 10 * min(costs)
    figure.update_layout(
        title={"text": escape(question_of(results)), "font": {"color": INK, "size": 18}},
        template="plotly_white",
        font={"color": SOFT, "family": "system-ui, sans-serif"},
        xaxis={"title": "List cost per 1,000 calls [USD]", "type": "log" if log else "linear"},
        yaxis={"title": f"{escape(words(name))} ({better} is better)"},
        legend={"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right"},
        hoverlabel={"align": "left"},
    )
    figure.write_html(path, include_plotlyjs=True, div_id="front", config={"displaylogo": False, "responsive": True})


def _place(standing: Standing, name: str) -> tuple[float, float] | None:
    cost, height = standing.summary.value("list_usd"), standing.summary.value(name)
    return None if cost is None or height is None else (1000 * cost, height)


def _errors(standings: list[Standing], name: str, factor: float) -> dict[str, object]:
    found = [s.summary.estimates.get(name) for s in standings]
    up = [factor * (e.high - e.mean) if e is not None and e.high is not None else 0.0 for e in found]
    down = [factor * (e.mean - e.low) if e is not None and e.low is not None else 0.0 for e in found]
    return {"type": "data", "array": up, "arrayminus": down, "symmetric": False, "thickness": 1, "width": 3}


def _told(results: Results, standing: Standing) -> str:
    summary = standing.summary
    told = [f"<b>{escape(summary.label)}</b>", escape(standing_words(standing))]
    for name in dict.fromkeys((*results.objectives.names, *results.metrics)):
        if (value := summary.value(name)) is not None:
            estimate = summary.estimates.get(name)
            ends = "" if estimate is None or estimate.low is None else f" [{estimate.low:.4g}, {estimate.high:.4g}]"
            told.append(f"{escape(name)}: {value:.4g}{ends}")
    return "<br>".join([*told, f"n: {summary.n:,}"])


def prepare() -> None:
    """Import what takes longer than its use."""
    import plotly.graph_objects  # noqa: F401
