"""Where the marks of a page's figures lie; its template draws them, in the reader's colours and fonts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from paretoken.report.comparison_figure import scale_of
from paretoken.report.figures import GONE, height_of, points_of, steps_of, those_named
from paretoken.report.fonts import columns_of
from paretoken.report.placement import place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Judgement
    from paretoken.report.figures import Point

LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 34
"""Room around the axes [px]."""
LETTER, LINE = 6.6, 15
"""About how wide a letter of a name is, and how high [px]."""
NARROW = 480
"""Width below which there is no room for names [px]."""
LONGEST = 30
"""Width of a name above which numbers stand for names [Latin letters]."""
_MARK = 9
"""Half the room that a point takes [px]."""


class Tick(NamedTuple):
    """A place on an axis [px] and what is written there."""

    at: float
    text: str


class Name(NamedTuple):
    """A name, and the left end of its base line [px]."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A variant: its place, the ends of its intervals [px], and how it looks: `front`, `rest`, `gone` or `open`."""

    x: float
    y: float
    left: float
    right: float
    low: float
    high: float
    look: str
    hollow: bool
    said: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The Pareto picture as marks on a plane, y downwards [px]."""

    width: int
    height: int
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]
    names: list[Name]
    line: list[tuple[float, float]]
    limit: float | None

    @property
    def ends(self) -> tuple[int, int, int, int]:
        """Left, right, upper and lower end of the axes [px]."""
        return LEFT, self.width - RIGHT, TOP, self.height - BOTTOM


def draw_picture(results: Results, width: int, height: int, numbers: Mapping[str, int]) -> Picture | None:
    """Cost against quality.

    Args:
        results: The run.
        width: Of the picture [px].
        height: Of the picture [px].
        numbers: By variant id, to stand in place of names where the picture is narrow or names are long.

    Returns:
        None where no variant has both values.
    """
    name, larger_is_better = height_of(results)
    points = points_of(results, name)
    if not points:
        return None
    bound = results.objectives.subject_to.get(name)
    heights = [end for p in points for end in (p.y_low, p.y_high)] + ([] if bound is None else [bound[1]])
    costs = [end for p in points for end in (p.x_low, p.x_high)]
    least, most = min(p.x for p in points), max(p.x for p in points)
    log = least > 0 and most > 10 * least
    if log:
        costs = [max(cost, least / 3) for cost in costs]
    to_x, x_ticks = _axis(costs, LEFT, width - RIGHT, log=log, most=3 if width < NARROW else 6)
    to_y, y_ticks = _axis(heights, height - BOTTOM, TOP, log=False, most=5)
    steps = steps_of([p for p in points if p.standing.on_front], larger_is_better=larger_is_better)
    dots = [_dot(p, to_x, to_y, least / 3 if log else -math.inf) for p in points]
    line = [corner for i, p in enumerate(steps) for corner in
            ([] if not i else [(to_x(p.x), to_y(steps[i - 1].y))]) + [(to_x(p.x), to_y(p.y))]]  # fmt: skip
    chosen = those_named(points, steps)
    by_number = width < NARROW or any(columns_of(p.name) > LONGEST for p in chosen)
    texts = {
        (id_ := p.standing.summary.variant): str(numbers[id_]) if by_number else p.name
        for p in (points if by_number else chosen)
    }
    named = [(dot, texts[id_]) for p, dot in zip(points, dots, strict=True)
              if (id_ := p.standing.summary.variant) in texts]  # fmt: skip
    limit = None if bound is None else to_y(bound[1])
    return Picture(width, height, x_ticks, y_ticks, dots, _names(named, dots, line, width, height), line, limit)


def _axis(
    values: Sequence[float], start: float, end: float, *, log: bool, most: int
) -> tuple[Callable[[float], float], list[Tick]]:
    """From values to places, and round values with theirs."""
    low, high = min(values), max(values)
    if log:
        low, high = low / (high / low) ** 0.06, high * (high / low) ** 0.06
        decades = math.log10(high / low)
        known = LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)).tick_values(low, high)
        scaled = math.log10
    else:
        room = 0.08 * (high - low or abs(high) or 1.0)
        low, high = (low - room if low else low), high + room
        known = MaxNLocator(most).tick_values(low, high)
        scaled = float

    def to_place(value: float) -> float:
        return round(start + (end - start) * (scaled(value) - scaled(low)) / (scaled(high) - scaled(low)), 1)

    ticks = [Tick(to_place(v), f"{v:.6g}".replace("-", "−")) for v in map(float, known) if low <= v <= high]
    return to_place, ticks


def _dot(p: Point, to_x: Callable[[float], float], to_y: Callable[[float], float], least: float) -> Dot:
    on_front = p.standing.on_front
    look = "open" if p.fate == "open" else "front" if on_front else "gone" if p.fate in GONE else "rest"
    hollow = bool(p.standing.broken) or p.fate in ("infeasible", "open")
    return Dot(
        to_x(p.x), to_y(p.y), to_x(max(p.x_low, least)), to_x(p.x_high), to_y(p.y_low), to_y(p.y_high), look, hollow,
        f"{p.name}: ${p.x:.4g}, {p.y:.4g}",
    )  # fmt: skip


def _names(
    chosen: Sequence[tuple[Dot, str]],
    dots: Sequence[Dot],
    line: Sequence[tuple[float, float]],
    width: int,
    height: int,
) -> list[Name]:
    """Put each name beside its point, where it covers little."""
    boxes = [(d.x - _MARK, d.y - _MARK, d.x + _MARK, d.y + _MARK) for d in dots]
    boxes += [(d.left, d.y - 2, d.right, d.y + 2) for d in dots] + [(d.x - 2, d.high, d.x + 2, d.low) for d in dots]
    boxes += [(min(a[0], b[0]) - 2, min(a[1], b[1]) - 2, max(a[0], b[0]) + 2, max(a[1], b[1]) + 2)
              for a, b in pairwise(line)]  # fmt: skip
    sizes = [np.array([LETTER * columns_of(text), LINE]) for _, text in chosen]
    anchors = [np.array([dot.x, dot.y]) for dot, _ in chosen]
    room = np.array([LEFT, TOP - 10, width - 2, height - BOTTOM], dtype=float)
    corners = place(sizes, anchors, np.array(boxes), room, 1.5)
    return [Name(round(float(x), 1), round(float(y) + 0.75 * LINE, 1), text)
            for (x, y), (_, text) in zip(corners, chosen, strict=True)]  # fmt: skip


class Span(NamedTuple):
    """A stretch of a bar [% of its width]."""

    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A difference with its interval on a scale of its own [% of the bar's width]; better lies to the right.

    Attributes:
        zero: Where there is no difference.
        middle: The estimate.
        interval: Cut off at the ends of the bar.
        within: The losses that count as not worse, where a margin says so.
    """

    zero: float
    middle: float
    interval: Span
    within: Span | None


def draw_bar(judgement: Judgement) -> Bar | None:
    """A judgement's difference; None where nothing is known of it."""
    d = judgement.difference
    if d.reason is not None or d.difference is None:
        return None
    scale = scale_of(judgement)
    low, middle, high = sorted(scale.sign * end for end in scale.ends(d))
    margin = scale.margin(judgement.margin)
    loss = None if margin is None else scale.sign * margin
    known = [x for x in (low, middle, high, 0.0, loss) if x is not None and math.isfinite(x)]
    room = 0.1 * (max(known) - min(known) or 1.0)
    start, end = min(known) - room, max(known) + room

    def place_of(value: float) -> float:
        return round(100 * (min(max(value, start), end) - start) / (end - start), 2)

    def span(a: float, b: float) -> Span:
        return Span(place_of(a), round(place_of(b) - place_of(a), 2))

    return Bar(place_of(0.0), place_of(middle), span(low, high), None if loss is None else span(loss, 0.0))


def floating(steps: Sequence[float]) -> list[Span]:
    """Bars of a waterfall: the first and the last from nothing, each other one from where the one before ended.

    Args:
        steps: First value, changes, last value; the changes add up to their difference.
    """
    ends = np.cumsum(steps[:-1]).tolist()
    starts = [0.0, *ends[:-1], 0.0]
    stops = [*ends, steps[-1]]
    most = max(*starts, *stops) or 1.0
    return [Span(round(100 * min(a, b) / most, 2), round(100 * abs(b - a) / most, 2))
            for a, b in zip(starts, stops, strict=True)]  # fmt: skip
