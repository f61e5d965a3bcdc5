"""Pictures of what drives a number: shares, the swarm of calls, and the way from one cost to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from paretoken.report.figures import FADED, FRONT, GRID, INK, OPEN, REST, SOFT, bare
from paretoken.report.fonts import columns_of, families_for, lines, shortened, strong_weight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from paretoken.analysis.driver_shares import Drivers

MOST_ROWS = 10
"""Most drivers that a picture bears."""
ROW, TOP, FOOT, WIDTH, LEFT, LETTER = 0.42, 0.35, 0.75, 8.0, 0.45, 0.078
"""Heights of a row, above a title's end and below the axes; width, left margin, and about that of a letter [in]."""
NAME = 34
"""Width of a name [Latin letters]."""
_SCALE = LinearSegmentedColormap.from_list("low to high", ["#2563eb", "#a78bfa", "#db2777"])


def draw_driver_bar(drivers: Drivers) -> Figure | None:
    """Each driver's share of the mean absolute SHAP value, with its 95 % interval; None where nothing is explained."""
    shares = drivers.shares[:MOST_ROWS]
    if not shares:
        return None
    names = [share.driver for share in shares]
    figure, axes, style = _begin(drivers.sentences[0], names, _foot(drivers))
    y = np.arange(len(shares))[::-1]
    sizes = np.array([share.share for share in shares])
    ends = np.array([[share.share - share.low, share.high - share.share] for share in shares]).T
    axes.barh(y, sizes, height=0.55, color=[FRONT if share.kind == "choice" else REST for share in shares])
    axes.errorbar(sizes, y, xerr=ends, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5)
    for row, share in zip(y, shares, strict=True):
        axes.annotate(f"{share.share:.0%}", (share.high, row), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=8.5, color=INK)  # fmt: skip
    axes.set_xlim(0, 1.12 * max(share.high for share in shares))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
    axes.set_xlabel("share of the differences: choices green, inputs grey", fontsize=9, color=SOFT, loc="right")
    _name_rows(axes, names, style)
    return figure


def draw_beeswarm(drivers: Drivers) -> Figure | None:
    """Every explained call's SHAP value of every driver, coloured by the driver's value; None without any."""
    shares = drivers.shares[:MOST_ROWS]
    if not shares:
        return None
    names = [share.driver for share in shares]
    title = f"what each call of {drivers.title.rpartition(' of ')[2]} owes to its choices and inputs"
    figure, axes, style = _begin(title, names, _foot(drivers))
    columns = [str(column) for column in drivers.frame.columns]
    for row, name in enumerate(reversed(names)):
        column = columns.index(name)
        values = drivers.values[:, column]
        axes.scatter(values, row + 0.34 * _swarm(values), s=9, linewidths=0, alpha=0.75, zorder=3,
                     c=_SCALE(_heights(drivers, column)))  # fmt: skip
    axes.axvline(0, color=REST, linewidth=0.9, zorder=1)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"adds to the mean call [{drivers.unit or drivers.target}]; blue: low value, or the level that "
                    "lowers it, to pink: high", fontsize=9, color=SOFT, loc="right")  # fmt: skip
    _name_rows(axes, names, style)
    return figure


def draw_waterfall(title: str, steps: Sequence[tuple[str, float]], unit: str) -> Figure:
    """From one number to another, step by step.

    Args:
        title: What it shows.
        steps: The number before, what each step changes of it, and the number after; with their names.
        unit: Of all of them.
    """
    names = [name for name, _ in steps]
    figure, axes, style = _begin(title, names, "")
    reached = np.cumsum([value for _, value in steps[:-1]])
    last = len(steps) - 1
    for i, (_, value) in enumerate(steps):
        row = last - i
        low, high = (0.0, value) if i in (0, last) else (reached[i - 1], reached[i])
        colour = REST if i in (0, last) else OPEN if value > 0 else FRONT
        axes.barh(row, high - low, left=low, height=0.55, color=colour, zorder=3)
        axes.annotate(f"{value:.3g}" if i in (0, last) else f"{value:+.3g}", (max(low, high), row), xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize=8.5, color=INK)  # fmt: skip
        if i < last:
            axes.plot([reached[i]] * 2, [row - 0.72, row - 0.28], color=FADED, linewidth=0.9, zorder=2)
    ends = [*reached.tolist(), steps[-1][1], 0.0]
    room = max(ends) - min(ends) or 1.0
    axes.set_xlim(min(ends), max(ends) + 0.14 * room)
    axes.set_xlabel(f"{unit}: green saves, orange costs", fontsize=9, color=SOFT, loc="right")
    _name_rows(axes, names, style)
    return figure


def _begin(title: str, names: Sequence[str], foot: str) -> tuple[Figure, Axes, dict[str, Any]]:
    """An empty picture with a row for each name, and how its texts are drawn."""
    families = families_for([title, *names])
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    told = lines(title, 86, 3)
    above = TOP + 0.21 * len(told)
    height = above + ROW * len(names) + FOOT
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(LEFT / WIDTH, 1 - 0.2 / height, "\n".join(told), fontsize=10.5, color=INK, va="top", linespacing=1.3,
                fontweight=strong_weight(families), **style)  # fmt: skip
    figure.text(LEFT / WIDTH, 0.1 / height, foot, fontsize=7.5, color=SOFT, va="bottom", **style)
    left = LEFT + LETTER * min(NAME, max(map(columns_of, names))) + 0.1
    axes = figure.add_axes((left / WIDTH, FOOT / height, (WIDTH - left - 0.35) / WIDTH, ROW * len(names) / height))
    bare(axes, 8.5)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure, axes, style


def _name_rows(axes: Axes, names: Sequence[str], style: dict[str, Any]) -> None:
    axes.set_yticks(range(len(names)), [shortened(name, NAME) for name in reversed(names)], color=INK, **style)


def _foot(drivers: Drivers) -> str:
    found, low, high = drivers.r2
    return f"{drivers.title}  ·  out-of-fold R² {found:.2f} [{low:.2f}, {high:.2f}]  ·  {drivers.n:,} calls"


def _heights(drivers: Drivers, column: int) -> NDArray[np.float64]:
    """Where each call's value of a driver lies between its lowest and its highest, 0 to 1."""
    values = drivers.frame.iloc[:, column]
    if values.dtype.kind not in "fiu":  # a level without an order lies where its effect does
        values = values.map(
            values.to_frame("level").assign(effect=drivers.values[:, column]).groupby("level").effect.mean()
        )
    ranks = values.rank(method="average", na_option="top").to_numpy(np.float64)
    return np.asarray((ranks - ranks.min()) / (np.ptp(ranks) or 1.0))


def _swarm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each point is put aside so that a crowd is seen as one, -1 to 1."""
    edges = np.linspace(values.min(), values.max(), 60)
    bins = np.digitize(values, edges)
    aside = np.zeros(len(values))
    crowd = max(1, int(np.bincount(bins).max()))
    for b in np.unique(bins):
        here = np.flatnonzero(bins == b)
        order = np.arange(len(here))
        aside[here] = np.where(order % 2 == 0, 1, -1) * ((order + 1) // 2) * 2 / max(crowd, 12)
    return np.clip(aside, -1, 1)
