"""The Pareto picture. Drawn on its own canvas: no pyplot, no global state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, TextArea, VPacker
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from paretoken.analysis.objectives import split_quantile
from paretoken.report.fonts import can_draw, columns_of, drawable, families_for, lines, strong_weight
from paretoken.report.placement import place
from paretoken.report.tables import question_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results

INK, SOFT, GRID, FRONT, REST = "#0f172a", "#64748b", "#e2e8f0", "#0f766e", "#94a3b8"
OPEN, FADED = "#b45309", "#cbd5e1"
GONE = ("beaten", "dearer")
"""Fates of variants that left a race because of another."""
LONG_NAME = 30
"""Width of a line of a name in Latin letters."""
MAX_NAMED = 14
"""Most names that one picture bears."""

WORDS = {
    "latency_s": "latency [s]",
    "list_usd": "list cost per call [USD]",
    "output_tokens": "output tokens per call",
    "input_tokens": "input tokens per call",
    "error_rate": "error rate",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A variant in the picture: cost per 1,000 calls, height, their intervals, and what is written beside it."""

    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    standing: Standing
    name: str
    latency: str

    @property
    def fate(self) -> str:
        """What became of it in a race; empty without one."""
        return "" if self.standing.departure is None else self.standing.departure.fate


def draw_front(results: Results) -> Figure:
    """Cost against quality, one point a variant, with 95 % intervals.

    The height is the first maximised metric; without one the first minimised quantity other than cost, else output
    tokens. Variants on the front are strong, the others pale, those that left a race faded, those that break a
    constraint hollow, and those of which a race has not decided are rings.

    Args:
        results: The run.

    Returns:
        A figure of 8 x 5 inches; say `figure.savefig(path)`, or show it in a notebook.
    """
    name, larger_is_better = height_of(results)
    families = families_for([question_of(results), results.run.id, *results.labels.values()])
    points = [_nameable(point, families) for point in points_of(results, name)]

    figure = Figure(figsize=(8, 5), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    title = _title(results, families)
    steps = steps_of([p for p in points if p.standing.on_front], larger_is_better=larger_is_better)
    note = _note(results, points, steps, families)
    foot = 0.12 + 0.03 * (1 + note.count("\n"))
    axes = figure.add_axes((0.09, foot, 0.87, 0.895 - foot - 0.05 * len(title)))
    _dress(axes, [point.x for point in points])
    _plot(axes, points, steps)
    _limit(axes, results, name)
    _frame_points(axes, points)
    figure.text(0.09, 0.965, "\n".join(title), fontsize=13, fontweight=strong_weight(families), color=INK,
                va="top", linespacing=1.25, fontfamily=families, parse_math=False)  # fmt: skip
    figure.text(0.09, 0.025, note, fontsize=7.5, color=SOFT, va="bottom",
                fontfamily=families, parse_math=False)  # fmt: skip
    better = "higher" if larger_is_better else "lower"
    axes.set_title(f"{words(name)}  ({better} is better)", loc="left", fontsize=9, color=SOFT, pad=8)
    axes.set_xlabel("List cost per 1,000 calls [USD]", fontsize=9, color=SOFT, loc="right", labelpad=6)
    if points:
        _name_points(figure, axes, points, steps, families)
    return figure


def save_front(results: Results, path: Path) -> None:
    """Write the Pareto picture to a file; its suffix gives the format."""
    draw_front(results).savefig(path)


def height_of(results: Results) -> tuple[str, bool]:
    """The quantity that stands against the cost, and whether larger is better."""
    goals = results.objectives
    if goals.maximize:
        return goals.maximize[0], True
    if results.metrics:
        return results.metrics[0], True
    return next((name for name in goals.minimize if name != "list_usd"), "output_tokens"), False


def words(name: str) -> str:
    """A quantity's name with its unit."""
    column, q = split_quantile(name)
    return f"{q} {WORDS[column]}" if q else WORDS.get(column, column)


def points_of(results: Results, name: str) -> list[Point]:
    """Where the variants lie that have a cost and a value of a quantity, called by their labels."""
    return [point for standing in results.standings if (point := _point(standing, name)) is not None]


def _nameable(point: Point, families: Sequence[str]) -> Point:
    """Called by its id where no font has its label."""
    return point if can_draw(point.name, families) else replace(point, name=point.standing.summary.variant)


def _point(standing: Standing, name: str) -> Point | None:
    summary = standing.summary
    cost, height, value = summary.estimates.get("list_usd"), summary.estimates.get(name), summary.value(name)
    if cost is None or value is None:
        return None
    x_low, x_high = _bounds(cost)
    y_low, y_high = (value, value) if height is None else _bounds(height)
    p95 = summary.value("latency_s.p95")
    return Point(
        x=1000 * cost.mean,
        y=value,
        x_low=1000 * x_low,
        x_high=1000 * x_high,
        y_low=y_low,
        y_high=y_high,
        standing=standing,
        name=summary.label,
        latency="" if p95 is None else f"p95 {p95:.2g} s" if p95 < 10 else f"p95 {p95:.0f} s",
    )


def _bounds(estimate: Estimate) -> tuple[float, float]:
    low, high = estimate.low, estimate.high
    return (estimate.mean, estimate.mean) if low is None or high is None else (low, high)


def _dress(axes: Axes, costs: Sequence[float]) -> None:
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(REST)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", colors=SOFT, labelsize=8.5, length=0, pad=6)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if costs and min(costs) > 0 and max(costs) > 10 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)


def _plot(axes: Axes, points: Sequence[Point], steps: Sequence[Point]) -> None:
    for point in points:
        on_front, fate = point.standing.on_front, point.fate
        hollow, left = bool(point.standing.broken) or fate in ("infeasible", "open"), fate in GONE
        colour = OPEN if fate == "open" else FRONT if on_front else REST
        alpha = 0.22 if left else 0.55 if on_front or fate == "open" else 0.4
        axes.plot([point.x, point.x], [point.y_low, point.y_high], color=colour, alpha=alpha, linewidth=1.4, zorder=2)
        axes.plot([point.x_low, point.x_high], [point.y, point.y], color=colour, alpha=alpha, linewidth=1.4, zorder=2)
        axes.scatter([point.x], [point.y], s=70 if on_front else 34 if left else 42,
                     color="white" if hollow else FADED if left else colour, edgecolors=colour if hollow else "white",
                     linewidths=1.4, zorder=4 if on_front else 3)  # fmt: skip
    if len(steps) > 1:
        axes.step([p.x for p in steps], [p.y for p in steps], where="post", color=FRONT, linewidth=1.6, alpha=0.8,
                  zorder=2.5)  # fmt: skip


def steps_of(front: Sequence[Point], *, larger_is_better: bool) -> list[Point]:
    """The part of the front that a line can show: with each dearer variant the height gets better."""
    sign = -1 if larger_is_better else 1
    steps: list[Point] = []
    for point in sorted(front, key=lambda p: (p.x, sign * p.y)):
        if not steps or sign * point.y < sign * steps[-1].y:
            steps.append(point)
    return steps


def _limit(axes: Axes, results: Results, name: str) -> None:
    if name in results.objectives.subject_to:
        sign, bound = results.objectives.subject_to[name]
        axes.axhline(bound, color=SOFT, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
        axes.annotate(f"wanted {sign} {bound:g}", (1, bound), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", ha="right", fontsize=7.5, color=SOFT)  # fmt: skip


def _frame_points(axes: Axes, points: Sequence[Point]) -> None:
    """Room around the points for their names."""
    if not points:
        axes.annotate("no variant has both values yet", (0.5, 0.5), xycoords="axes fraction", ha="center", color=SOFT)
        return
    axes.margins(x=0.12, y=0.14)
    axes.autoscale_view()
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())


def _note(results: Results, points: Sequence[Point], steps: Sequence[Point], families: Sequence[str]) -> str:
    sizes = sorted({point.standing.summary.n for point in points})
    n = "0" if not sizes else str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    parts = [f"run {drawable(results.run.id, families)}", f"n = {n} answers a variant", "bars: 95 % intervals"]
    fates = {p.fate for p in points}
    parts += ["strong: the cheapest"] if any(p.fate == "kept" and _cheapest(p) for p in points) else []
    parts += ["faded: left the race"] if fates.intersection(GONE) else []
    parts += ["rings: undecided"] if "open" in fates else []
    if any((p.standing.broken and p.fate != "open") or p.fate == "infeasible" for p in points):
        parts.append("hollow: breaks a constraint")
    if (named := len(those_named(points, steps))) < len(points):
        parts.append(f"{named} of {len(points)} variants named")
    if any(p.name != p.standing.summary.label for p in points):
        parts.append("variants by id: no installed font has their names")
    return "\n".join(wrap("  ·  ".join(parts), 122))


def _cheapest(point: Point) -> bool:
    return point.standing.departure is not None and point.standing.departure.kept_as == "cheapest"


def _title(results: Results, families: Sequence[str]) -> list[str]:
    question = question_of(results)
    text = question if can_draw(question, families) else drawable(results.run.id, families)
    return lines(text, 62, 2)


def those_named(points: Sequence[Point], steps: Sequence[Point]) -> list[Point]:
    """Whose names are written: all, else the front, else as many of the line's points as there is room for."""
    if len(points) <= MAX_NAMED:
        return sorted(points, key=lambda p: (not p.standing.on_front, p.x))
    front = [p for p in points if p.standing.on_front]
    if len(front) <= MAX_NAMED:
        return sorted(front, key=lambda p: p.x)
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), MAX_NAMED)).round().astype(int)
    return [steps[i] for i in chosen]


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point], steps: Sequence[Point],
                 families: Sequence[str]) -> None:  # fmt: skip
    """Put each name beside its point, where it covers nothing."""
    figure.draw_without_rendering()
    marks = [box for point in points for box in _point_boxes(axes, point)]
    marks += [_box(axes, a, b, 2) for a, b in _segments(steps)]
    marks += [text.get_window_extent() for text in axes.texts]
    fixed = np.array([box.extents for box in marks])
    room = np.array(axes.get_window_extent().extents)
    names = [_name(axes, p, families) for p in those_named(points, steps)]
    sizes = [np.array(name.get_window_extent().size) for name in names]
    anchors = [axes.transData.transform(name.xy) for name in names]
    for name, anchor, corner in zip(names, anchors, place(sizes, anchors, fixed, room, figure.dpi / 72), strict=True):
        name.xybox = tuple(corner - anchor)


def _name(axes: Axes, point: Point, families: Sequence[str]) -> AnnotationBbox:
    on_front = point.standing.on_front
    halo = [withStroke(linewidth=2.5, foreground="white")]
    style = {"fontfamily": families, "parse_math": False, "path_effects": halo}
    strong = {"fontsize": 9, "color": INK, "fontweight": strong_weight(families)}
    rows: list[Artist] = [
        TextArea(line, textprops=style | (strong if on_front else {"fontsize": 8, "color": SOFT}))
        for line in _name_lines(point.name)
    ]
    if point.latency:
        rows.append(TextArea(point.latency, textprops=style | {"fontsize": 7.5, "color": SOFT}))
    box = AnnotationBbox(VPacker(children=rows, align="left", pad=0, sep=2), (point.x, point.y), xybox=(0, 0),
                         boxcoords="offset pixels", box_alignment=(0, 0), frameon=False, pad=0, zorder=5)  # fmt: skip
    axes.add_artist(box)
    return box


def bare(axes: Axes, label_size: float) -> None:
    """Axes with no frame but the line below, and small soft labels [pt]."""
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(REST)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", colors=SOFT, labelsize=label_size, length=0, pad=5)


def _name_lines(name: str) -> list[str]:
    """A name, in lines of whole parts where it is long."""
    found = [""]
    for part in name.split("|"):
        more = f"{found[-1]}|{part}" if found[-1] else part
        if found[-1] and columns_of(more) > LONG_NAME:
            found[-1] += "|"
            found.append(part)
        else:
            found[-1] = more
    return found


def _point_boxes(axes: Axes, p: Point) -> tuple[Bbox, Bbox, Bbox]:
    marker = _box(axes, (p.x, p.y), (p.x, p.y), 9)
    return marker, _box(axes, (p.x_low, p.y), (p.x_high, p.y), 2), _box(axes, (p.x, p.y_low), (p.x, p.y_high), 2)


def _segments(steps: Sequence[Point]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Level and upright parts of the line."""
    return [part for p, q in pairwise(steps) for part in (((p.x, p.y), (q.x, p.y)), ((q.x, p.y), (q.x, q.y)))]


def _box(axes: Axes, a: tuple[float, float], b: tuple[float, float], pad: float) -> Bbox:
    return Bbox.null().union([Bbox([axes.transData.transform(p)] * 2) for p in (a, b)]).padded(pad)
