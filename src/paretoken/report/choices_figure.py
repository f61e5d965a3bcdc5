"""Every variant as a line through what was chosen for it and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Line
from matplotlib.ticker import LogLocator, MaxNLocator

from paretoken.analysis.hypervolume import DECADE
from paretoken.report.figures import FRONT, GRID, INK, REST, SOFT, words
from paretoken.report.fonts import can_draw, drawable, families_for, lines, shortened, strong_weight
from paretoken.report.tables import question_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results

FEW = 6
"""Fewest variants, and most numbers that a choice may have to be shown one by one."""
MOST_NAMES = 16
"""Most names along one choice; of more, those that lead to the front are written."""
COLUMN, LEFT, RIGHT, TOP, FOOT = 1.9, 1.8, 0.9, 1.2, 0.5
"""Distance of choices, and margins [in]."""
BAND = 0.7
"""Part of the room of a value over which its lines are spread."""
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class _Scale:
    """One upright line of the picture.

    Attributes:
        places: Height of every variant, 0 to 1; NaN where it has no value.
        marks: Heights and what is written there.
        better: Whether it is an objective, whose better end is up.
    """

    name: str
    places: Sequence[float]
    marks: Sequence[tuple[float, str]]
    better: bool


def draw_choices(results: Results) -> Figure | None:
    """Parallel coordinates: every variant is a line through its choices to its objectives, those of the front strong.

    Args:
        results: The run of a race.

    Returns:
        A figure 6 inches high; None where less than two things were chosen among, or by few variants.
    """
    standings = results.standings
    if results.race is None or len(standings) < FEW:
        return None
    columns = _choices(results, standings)
    objectives = [scale for name in results.objectives.names if (scale := _objective(results, name, standings))]
    if len(columns) < 2 or not objectives:
        return None
    texts = [question_of(results), results.run.id, *columns, *(str(v) for values in columns.values() for v in values)]
    families = families_for(texts)
    first = np.array(objectives[-1].places)
    scales = [_choice(name, values, first, standings, families) for name, values in columns.items()] + objectives
    return _draw(results, standings, scales, families)


def _choices(results: Results, standings: Sequence[Standing]) -> dict[str, list[object]]:
    """Values of what differs between variants, by name."""
    variants = [results.variants[s.summary.variant] for s in standings]
    chosen = [{"prompt": v.prompt, "model": v.model, **dict(v.params)} for v in variants]
    names = list(dict.fromkeys(name for choice in chosen for name in choice))
    columns: dict[str, list[object]] = {name: [choice.get(name, ABSENT) for choice in chosen] for name in names}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def _choice(
    name: str, values: Sequence[object], first: np.ndarray, standings: Sequence[Standing], families: Sequence[str]
) -> _Scale:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > FEW:
        places, marks = _numbers(np.array(numbers, dtype=float), upwards=True, by_ratio_from=1.0)
        return _Scale(name, places, marks, better=False)
    known = sorted(set(values), key=lambda v: (v == ABSENT, *((0, v, "") if v in numbers else (1, 0, str(v)))))
    order = np.argsort(np.argsort(first, kind="stable"))
    spread = np.zeros(len(values))
    for value in known:
        same = [i for i, v in enumerate(values) if v == value]
        for rank, i in enumerate(sorted(same, key=lambda i: order[i])):
            spread[i] = (rank + 0.5) / len(same) - 0.5
    places = [(known.index(v) + 0.5 + BAND * float(s)) / len(known) for v, s in zip(values, spread, strict=True)]
    front = {v for v, s in zip(values, standings, strict=True) if s.on_front}
    shown = known if len(known) <= MOST_NAMES else [v for v in known if v in front][:MOST_NAMES]
    marks = [((known.index(v) + 0.5) / len(known), _said(name, v, known, families)) for v in shown]
    return _Scale(name, places, marks, better=False)


def _said(name: str, value: object, known: Sequence[object], families: Sequence[str]) -> str:
    """A value as it is written: without versions and providers where it is unique so, a number where no font has it."""
    text = str(value)
    if name in ("prompt", "model"):
        short = [str(v).partition("@")[0] if name == "prompt" else str(v).rpartition("/")[2] for v in known]
        own = short[known.index(value)]
        text = own if short.count(own) == 1 else text
    return shortened(text, 20) if can_draw(text, families) else f"{name} {known.index(value) + 1}"


def _objective(results: Results, name: str, standings: Sequence[Standing]) -> _Scale | None:
    values = np.array([math.nan if (v := s.summary.value(name)) is None else v for s in standings], dtype=float)
    known = values[~np.isnan(values)]
    if not len(known) or np.ptp(known) == 0:
        return None
    unit = 1000 if name == "list_usd" else 1
    places, marks = _numbers(unit * values, upwards=name in results.objectives.maximize)
    return _Scale(name, places, marks, better=True)


def _numbers(
    values: np.ndarray, *, upwards: bool, by_ratio_from: float = 0.0
) -> tuple[list[float], list[tuple[float, str]]]:
    """Heights of numbers, and marks beside them; over more than a decade by ratio, if all are above some value."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    by_ratio = low > by_ratio_from and high >= DECADE * low
    ticks = LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)) if by_ratio else MaxNLocator(5)
    found = [t for t in ticks.tick_values(low, high) if low <= t <= high]

    def place(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if by_ratio else (value - low) / (high - low)
        return 0.03 + 0.94 * (share if upwards else 1 - share)

    return [math.nan if math.isnan(v) else place(v) for v in values], [(place(t), f"{t:.4g}") for t in found]


def _draw(results: Results, standings: Sequence[Standing], scales: Sequence[_Scale], families: Sequence[str]) -> Figure:
    width, height = LEFT + COLUMN * (len(scales) - 1) + RIGHT, 6.0
    width = max(width, 8.0)
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    size = (LEFT / width, FOOT / height, 1 - (LEFT + RIGHT) / width, 1 - (TOP + FOOT) / height)
    axes = figure.add_axes(size)
    axes.set_axis_off()
    axes.set_xlim(0, len(scales) - 1)
    axes.set_ylim(0, 1)
    many = len(standings)
    for i in sorted(range(many), key=lambda i: standings[i].on_front):
        on_front = standings[i].on_front
        strong = {"color": FRONT, "alpha": 0.9, "linewidth": 1.9, "zorder": 3}
        pale = {"color": REST, "alpha": max(0.18, min(0.6, 12 / many)), "linewidth": 0.9, "zorder": 2}
        _line(axes, [scale.places[i] for scale in scales], **(strong if on_front else pale))
    for x, scale in enumerate(scales):
        _upright(axes, x, scale, style)
    question = question_of(results)
    title = lines(question if can_draw(question, families) else results.run.id, int(8 * width), 1)[0]
    figure.text(0.45 / width, 1 - 0.2 / height, title, fontsize=13, fontweight=strong_weight(families), color=INK,
                va="top", **style)  # fmt: skip
    n = sum(s.on_front for s in standings)
    parts = [f"run {results.run.id}", f"{many} variants, {n} of them {_chosen_as(standings)} (green)",
             "objectives: better is up"]  # fmt: skip
    figure.text(0.45 / width, 0.13 / height, drawable("  ·  ".join(parts), families), fontsize=7.5, color=SOFT,
                va="bottom", **style)  # fmt: skip
    return figure


def _chosen_as(standings: Sequence[Standing]) -> str:
    left = standings[0].departure
    return "the cheapest" if left is not None and left.kept_as == "cheapest" else "on the front"


def _line(axes: Axes, places: Sequence[float], **style: Any) -> None:
    """A smooth line; it ends where a value is missing."""
    for (x, y), (_, z) in pairwise(enumerate(places)):
        if math.isnan(y) or math.isnan(z):
            continue
        points = [(x, y), (x + 0.45, y), (x + 0.55, z), (x + 1, z)]
        axes.add_patch(PathPatch(Line(points, [Line.MOVETO, *[Line.CURVE4] * 3]), fill=False, clip_on=False,
                                 capstyle="round", **style))  # fmt: skip


def _upright(axes: Axes, x: int, scale: _Scale, style: Mapping[str, Any]) -> None:
    axes.plot([x, x], [0, 1], color=GRID if not scale.better else SOFT, linewidth=1.2, zorder=1, clip_on=False)
    named = "list cost per\n1,000 calls [USD]" if scale.name == "list_usd" else words(scale.name)
    name, _, unit = ("", "", "") if scale.name == "list_usd" else named.partition(" [")
    told = named if not name else shortened(drawable(name, style["fontfamily"]), 22) + (f"\n[{unit}" if unit else "")
    axes.annotate(told, (x, 1), xytext=(0, 10), textcoords="offset points", ha="center", va="bottom", fontsize=9,
                  color=INK if scale.better else SOFT, annotation_clip=False, **style)  # fmt: skip
    last = x == axes.get_xlim()[1]
    for place, text in scale.marks:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.78}
        axes.annotate(text, (x, place), xytext=(7 if last else -7, 0), textcoords="offset points", va="center",
                      ha="left" if last else "right", fontsize=8, color=INK, zorder=5, bbox=box, annotation_clip=False,
                      **style)  # fmt: skip
