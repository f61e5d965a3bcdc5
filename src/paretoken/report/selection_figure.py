"""A selection as a picture: what each dimension adds to every candidate's total, and how often each is first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paretoken.analysis.matrix import RESAMPLES, percent
from paretoken.report.figures import FRONT, GRID, INK, SOFT, bare
from paretoken.report.fonts import can_draw, columns_of, drawable, families_for, lines, shortened, strong_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from paretoken.analysis.matrix import Selection

COLOURS = {"quality": FRONT, "latency": "#38bdf8", "cost": "#f59e0b", "stability": "#94a3b8", "coverage": "#a78bfa"}
MOST_ROWS = 30
"""Most candidates that are drawn, the best ones."""
WIDTH, LEFT, ROW, LINE, FIRST = 9.0, 0.45, 0.3, 0.24, 1.3
"""Width of picture and left margin, heights of a row and of a title's line, width of the bars on the right [in]."""
NAME, LETTER = 34, 0.078
"""Width of names [Latin letters], and of a letter of them [in]."""


def draw_selection(selection: Selection) -> Figure:
    """Stacked bars of the contributions, a row a candidate, the first one on top; beside them how often each is first.

    Args:
        selection: The candidates.

    Returns:
        A figure 9 inches wide.
    """
    rows = selection.rows[:MOST_ROWS]
    families = families_for([selection.run, *(row.label for row in rows)])
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    names = [shortened(row.label, NAME) if can_draw(row.label, families) else f"{row.rank}" for row in rows]
    title = lines(drawable(selection.sentences[0].partition(", before")[0], families), int(8 * WIDTH), 2)
    height = 1.35 + LINE * len(title) + ROW * len(rows)
    name_in = 0.2 + LETTER * max(map(columns_of, names))
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(LEFT / WIDTH, 1 - 0.2 / height, "\n".join(title), fontsize=13, fontweight=strong_weight(families),
                color=INK, va="top", linespacing=1.25, **style)  # fmt: skip
    size = {"bottom": 0.7 / height, "height": ROW * len(rows) / height}
    totals_in = WIDTH - LEFT - name_in - FIRST - 1.15
    totals = _axes(figure, (LEFT + name_in) / WIDTH, totals_in / WIDTH, len(rows), **size)
    firsts = _axes(figure, 1 - (FIRST + 0.6) / WIDTH, FIRST / WIDTH, len(rows), **size)
    ends = np.zeros(len(rows))
    for dimension in selection.weights:
        parts = np.array([row.readings[dimension].contribution for row in rows])
        totals.barh(range(len(rows)), parts, left=ends, height=0.62, color=COLOURS[dimension], edgecolor="white",
                    linewidth=0.6)  # fmt: skip
        ends += parts
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        strong: dict[str, Any] = (
            {"color": INK, "fontweight": strong_weight(families)} if row.rank == 1 else {"color": SOFT}
        )
        totals.annotate(name, (0, place), xytext=(-7, 0), textcoords="offset points", ha="right", va="center",
                        fontsize=8.5, annotation_clip=False, **style, **strong)  # fmt: skip
        totals.annotate(f"{row.total:.2f}", (row.total, place), xytext=(5, 0), textcoords="offset points", va="center",
                        fontsize=8.5, **strong)  # fmt: skip
        firsts.annotate(percent(row.first_rate), (row.first_rate, place), xytext=(5, 0), textcoords="offset points",
                        va="center", fontsize=8.5, annotation_clip=False, **strong)  # fmt: skip
    firsts.barh(range(len(rows)), 1, height=0.62, color="#f1f5f9")
    firsts.barh(range(len(rows)), [row.first_rate for row in rows], height=0.62, color=FRONT)
    totals.set_xlim(0, max(1.06 * float(ends.max()), 0.1))
    totals.grid(axis="x", color=GRID, linewidth=0.8)
    totals.xaxis.set_major_locator(MaxNLocator(6))
    totals.set_xlabel("total, 0 to 1", fontsize=9, color=SOFT, loc="right", labelpad=3)
    firsts.set_xlim(0, 1)
    firsts.xaxis.set_visible(False)
    firsts.spines["bottom"].set_visible(False)
    figure.text(1 - (FIRST + 0.6) / WIDTH, (0.86 + ROW * len(rows)) / height, "first in", fontsize=8.5, color=SOFT,
                va="center_baseline")  # fmt: skip
    _legend(figure, selection, LEFT / WIDTH, (0.86 + ROW * len(rows)) / height)
    _foot(figure, selection, style)
    return figure


def _axes(figure: Figure, left: float, width: float, n: int, bottom: float, height: float) -> Axes:
    axes = figure.add_axes((left, bottom, width, height))
    bare(axes, 8.5)
    axes.yaxis.set_visible(False)
    axes.set_ylim(n - 0.5, -0.5)
    return axes


def _legend(figure: Figure, selection: Selection, x: float, y: float) -> None:
    """Colours, dimensions and their weights, above the bars."""
    for name, weight in selection.weights.items():
        told = f"{name} {weight:.2f}"
        figure.text(x, y, "■", fontsize=10, color=COLOURS[name], va="center_baseline")
        figure.text(x + 0.17 / WIDTH, y, told, fontsize=8.5, color=SOFT, va="center_baseline")
        x += (0.2 + 0.85 * LETTER * len(told) + 0.1) / WIDTH


def _foot(figure: Figure, selection: Selection, style: dict[str, Any]) -> None:
    parts: Sequence[str] = [
        f"run {selection.run}",
        f"{RESAMPLES:,} resamples of {selection.n_samples} samples",
        *(f"{name} is not measured" for name in selection.dropped),
        *([f"{more} more are not drawn"] if (more := len(selection.rows) - MOST_ROWS) > 0 else []),
    ]
    told = lines(drawable("  ·  ".join(parts), style["fontfamily"]), int(15.5 * WIDTH), 2)
    figure.text(LEFT / WIDTH, 0.13 / figure.get_figheight(), "\n".join(told), fontsize=7.5, color=SOFT, va="bottom",
                **style)  # fmt: skip
