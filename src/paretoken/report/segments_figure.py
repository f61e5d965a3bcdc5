"""What each segment of a prompt costs, beside what it buys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paretoken.report.figures import FRONT, GRID, INK, OPEN, REST, SOFT, bare, words
from paretoken.report.fonts import can_draw, drawable, families_for, lines, shortened, strong_weight
from paretoken.report.tables import question_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from paretoken.analysis.results import Results
    from paretoken.analysis.segments import Gain, SegmentEffect

WIDTH, ROW, TOP, FOOT = 10.0, 0.46, 1.1, 0.7
"""Width of the picture, height of a row, margins [in]."""
COLOURS = {"earns its place": FRONT, "pays for itself": FRONT, "may go": OPEN}
"""Of segments of which it is known whether they pay; the others are grey."""


def save_segments(results: Results, folder: Path) -> list[Path]:
    """Write `segments.png`, where segments were measured.

    Args:
        results: A run; of other plans there is no such picture.
        folder: Where it goes.
    """
    figure = draw_segments(results)
    if figure is None:
        return []
    figure.savefig(folder / "segments.png")
    return [folder / "segments.png"]


def draw_segments(results: Results) -> Figure | None:
    """Shares of prompt and bill as bars, and what the first metric gains as points, with intervals; a row a segment.

    Args:
        results: The run.

    Returns:
        A figure 10 inches wide; None where no segments were measured.
    """
    effects = results.prompt_segments
    if not effects:
        return None
    question = question_of(results)
    families = families_for([question, *(effect.segment for effect in effects)])
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    height = TOP + FOOT + ROW * len(effects)
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    place = (FOOT / height, ROW * len(effects) / height)
    costs = figure.add_axes((0.14, place[0], 0.33, place[1]))
    buys = figure.add_axes((0.51, place[0], 0.33, place[1]), sharey=costs)
    colours = [COLOURS.get(effect.verdict, REST) for effect in effects]
    rows = range(len(effects))
    costs.barh(rows, [100 * (effect.input_share or 0) for effect in effects], height=0.62, color=GRID, zorder=1)
    costs.barh(rows, [100 * (e.cost_share.value or 0) for e in effects], height=0.3, color=colours, zorder=2)
    for axes, gains in ((costs, [_percent(e.cost_share) for e in effects]), (buys, _first_metric(effects))):
        _whiskers(axes, gains, INK if axes is costs else None, colours)
        bare(axes, 8.5)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.axvline(0, color=SOFT, linewidth=0.9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    costs.set_yticks(rows, [shortened(drawable(e.segment, families), 18) for e in effects], color=INK, fontsize=9.5,
                     fontfamily=families)  # fmt: skip
    costs.set_ylim(len(effects) - 0.5, -0.5)
    buys.tick_params(labelleft=False)
    costs.set_xlabel("% of input tokens (pale), % of the bill", fontsize=8.5, color=SOFT)
    metric = next(iter(effects[0].metrics), None)
    buys.set_xlabel(
        "no metric" if metric is None else f"{words(metric)} with it, less without", fontsize=8.5, color=SOFT
    )
    for row, effect in enumerate(effects):
        buys.annotate(effect.verdict, (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=9,
                      color=INK if effect.verdict in COLOURS else SOFT, annotation_clip=False)  # fmt: skip
    title = lines(question if can_draw(question, families) else results.run.id, 84, 1)[0]
    figure.text(0.035, 1 - 0.22 / height, title, fontsize=13, fontweight=strong_weight(families), color=INK, va="top",
                **style)  # fmt: skip
    n = max(effect.without.n for effect in effects)
    level = f"{100 * (1 - results.plan['alpha']):g} %"
    told = f"run {results.run.id}  ·  {n} samples  ·  whiskers: intervals, {level} for all segments together"
    figure.text(0.035, 1 - 0.62 / height, drawable(told, families), fontsize=8.5, color=SOFT, va="top", **style)
    return figure


def _percent(gain: Gain) -> Gain:
    return type(gain)(*(None if end is None else 100 * end for end in gain))


def _first_metric(effects: Sequence[SegmentEffect]) -> list[Gain | None]:
    return [next(iter(effect.metrics.values()), None) for effect in effects]


def _whiskers(axes: Axes, gains: Sequence[Gain | None], ink: str | None, colours: Sequence[str]) -> None:
    """Intervals; with points in the row's colour where no bars show the values."""
    for row, (gain, colour) in enumerate(zip(gains, colours, strict=True)):
        if gain is None or gain.value is None:
            continue
        if gain.low is not None and gain.high is not None:
            axes.plot([gain.low, gain.high], [row, row], color=ink or colour, linewidth=1.4 if ink else 2.2, zorder=3)
        if ink is None:
            axes.scatter([gain.value], [row], s=44, color=colour, edgecolors="white", linewidths=1.2, zorder=4)
