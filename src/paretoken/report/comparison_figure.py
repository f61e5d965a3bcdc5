"""A comparison as a picture: what differs by how much, and how sure that became with every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from paretoken.report.figures import FRONT, GRID, INK, REST, SOFT, bare, words
from paretoken.report.fonts import can_draw, drawable, families_for, lines, strong_weight
from paretoken.report.verdicts import course_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison, Judgement
    from paretoken.report.verdicts import Course

WITHIN = "#ccfbf1"
"""Shade of the losses that count as not worse."""
STEPS = (1, 2, 5, 10)
COLOURS = {"better": FRONT, "not worse": FRONT, "worse": "#b91c1c", "undecided": "#b45309", "cannot tell": SOFT}

WIDTH, LEFT, MIDDLE, RIGHT = 10.5, 0.45, 6.0, 0.8
"""Width of the picture and of its margins, and where the second panel begins [in]."""
ROW, BAR, SIZE = 1.0, 0.42, 2.7
"""Least height of one quantity, height of its bar therein, and least height of the second panel [in]."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the differences of a quantity are shown: in per cent of the control where that is known, else as they are.

    Attributes:
        relative: In per cent.
        unit: Value of one unit of the quantity.
        sign: -1 where smaller is better.
    """

    relative: bool
    unit: float
    sign: int

    def ends(self, d: PairedDifference) -> tuple[float, float, float]:
        """Low end, estimate and high end; infinite where there is no end."""
        if self.relative:
            low, middle, high = d.relative_low, d.relative or 0.0, d.relative_high
        else:
            low, middle, high = d.low, d.difference or 0.0, d.high
        unit = 100 if self.relative else 1
        return -math.inf if low is None else unit * low, unit * middle, math.inf if high is None else unit * high

    def margin(self, margin: float | None) -> float | None:
        """Where the loss is as large as the margin."""
        return None if margin is None else -self.sign * margin * self.unit

    def text(self, value: float) -> str:
        """A difference with its sign."""
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        digits = f"{value:+.3g}" if abs(value) < 1000 else f"{value:+,.0f}"
        return digits.replace("-", "−") + (" %" if self.relative else "")


def draw_comparison(results: Results, comparison: Comparison, course: Course | None = None) -> Figure:
    """A comparison's differences with their intervals, and how the interval of the first metric shrank.

    Better lies to the right and above, whatever the quantity. The loss that counts as not worse is shaded.

    Args:
        results: The run.
        comparison: One of its comparisons, or its confirmation.
        course: How it came about, where that is known already.

    Returns:
        A figure 10.5 inches wide; say `figure.savefig(path)`, or show it in a notebook.
    """
    course = course or course_of(results, comparison)
    families = families_for([results.run.id, comparison.sentence])
    shown, course = _by_names(results, comparison, course, families)
    told = lines(drawable(shown.sentence[0].upper() + shown.sentence[1:], families), 130, 4)
    renamed = shown.sentence != comparison.sentence
    note = lines(drawable(_note(results, shown, renamed=renamed), families), 155, 2)
    top, foot = 1.2 + 0.18 * len(told), 0.72 + 0.15 * len(note)
    body = max(SIZE, ROW * len(shown.judged))
    height = top + body + foot
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    figure.text(LEFT / WIDTH, 1 - 0.24 / height, _headline(shown), fontsize=15, color=_colour_of(shown), va="top",
                fontweight="bold")  # fmt: skip
    figure.text(LEFT / WIDTH, 1 - 0.62 / height, "\n".join(told), fontsize=9, color=INK, va="top", linespacing=1.4,
                **style)  # fmt: skip
    figure.text(LEFT / WIDTH, 0.2 / height, "\n".join(note), fontsize=7.5, color=SOFT, va="bottom", linespacing=1.4,
                **style)  # fmt: skip
    if shown.judged:
        _draw_differences(figure, shown, top, min(body / len(shown.judged), 1.25 * ROW))
    size = (MIDDLE / WIDTH, foot / height, (WIDTH - MIDDLE - RIGHT) / WIDTH, body / height)
    _draw_course(figure.add_axes(size), shown, course, "so far" if results.run.status == "running" else "ended after")
    return figure


def save_comparison(results: Results, comparison: Comparison, path: Path, course: Course | None = None) -> None:
    """Write a comparison's picture to a file; its suffix gives the format."""
    draw_comparison(results, comparison, course).savefig(path)


def _by_names(
    results: Results, comparison: Comparison, course: Course, families: Sequence[str]
) -> tuple[Comparison, Course]:
    """With ids in place of labels, and numbers in place of metrics, that no installed font has."""
    labels = (comparison.control, comparison.treatment)
    if not all(can_draw(label, families) for label in labels):
        control, treatment = (results.variant_id(label) for label in labels)
        comparison = replace(comparison, control=control, treatment=treatment)
    names = {
        j.difference.name: f"metric {i}"
        for i, j in enumerate(comparison.quality, 1)
        if not can_draw(j.difference.name, families)
    }
    quality = tuple(
        replace(j, difference=replace(j.difference, name=names.get(j.difference.name, j.difference.name)))
        for j in comparison.quality
    )
    paths = {names.get(name, name): points for name, points in course.paths.items()}
    return replace(comparison, quality=quality), replace(course, paths=paths)


def _headline(comparison: Comparison) -> str:
    told = comparison.verdict
    if comparison.part == "held out":
        told += ", on held-out samples"
    return told[:1].upper() + told[1:]


def _colour_of(comparison: Comparison) -> str:
    findings = [j.finding for j in comparison.judged]
    for finding in ("worse", "cannot tell", "undecided"):
        if finding in findings:
            return COLOURS[finding]
    return FRONT if findings else SOFT


def _note(results: Results, comparison: Comparison, *, renamed: bool) -> str:
    parts = [f"run {results.run.id}"]
    if comparison.judged:
        level = f"{100 * comparison.judged[0].difference.level:.3g}"
        parts.append(f"bars: {level} % intervals" + ("" if comparison.anytime else ", read once, at the size planned"))
        parts.append(f"grey: {100 * (1 - _alpha(results)):.3g} % at every look")
        parts.append(f"all claims together are wrong at most {100 * _alpha(results):g} % of the time")
    if any(j.margin is not None for j in comparison.judged):
        parts.append("shaded: loss that counts as not worse")
    if renamed:
        parts.append("names that no installed font has are replaced")
    return "  ·  ".join(parts)


def _alpha(results: Results) -> float:
    return float(results.plan.get("alpha", 0.05))


def scale_of(judgement: Judgement) -> Scale:
    """How a judgement's difference is shown."""
    d = judgement.difference
    sign = -1 if d.smaller_is_better else 1
    if d.smaller_is_better and d.relative_low is not None and d.relative_high is not None and d.mean_a:
        return Scale(relative=True, unit=100 / d.mean_a, sign=sign)
    return Scale(relative=False, unit=1.0, sign=sign)


def _draw_differences(figure: Figure, comparison: Comparison, top: float, pitch: float) -> None:
    """One row a quantity, each with its own scale; zero is at the same place in all of them."""
    judged, height = comparison.judged, figure.get_figheight()
    left, width = LEFT / WIDTH, (MIDDLE - LEFT - 0.95) / WIDTH
    for x, text, align in ((left, "←  worse", "left"), (left + width, "better  →", "right")):
        figure.text(x, 1 - (top - 0.08) / height, text, fontsize=8.5, color=SOFT, ha=align, va="bottom")
    extents = [_extent(judgement) for judgement in judged]
    sizes = [max(loss, gain) or 1.0 for loss, gain in extents]
    loss = max([0.12, *(extent[0] / size for extent, size in zip(extents, sizes, strict=True))])
    gain = max([0.12, *(extent[1] / size for extent, size in zip(extents, sizes, strict=True))])
    for i, (judgement, size) in enumerate(zip(judged, sizes, strict=True)):
        bottom = top + i * pitch + 0.3 + BAR
        axes = figure.add_axes((left, 1 - bottom / height, width, BAR / height))
        _draw_row(axes, judgement, 1.12 * loss * size, 1.12 * gain * size)


def _extent(judgement: Judgement) -> tuple[float, float]:
    """How far a row must reach to the worse and to the better side."""
    if judgement.difference.reason is not None:
        return 0.0, 0.0
    scale = scale_of(judgement)
    margin = scale.margin(judgement.margin)
    values = [scale.sign * end for end in scale.ends(judgement.difference) if math.isfinite(end)]
    values += [] if margin is None else [1.25 * scale.sign * margin]
    return max(0.0, -min(values)), max(0.0, max(values))


def _draw_row(axes: Axes, judgement: Judgement, loss: float, gain: float) -> None:
    scale, d, colour = scale_of(judgement), judgement.difference, COLOURS[judgement.finding]
    axes.set_xlim(-scale.sign * loss, scale.sign * gain)
    axes.set_ylim(-1, 1)
    bare(axes, 8)
    axes.yaxis.set_visible(False)
    name, style = _name(d, scale)
    _beside(axes, name, "left", **style)
    if d.reason is not None:
        _beside(axes, "cannot tell", "right", fontsize=9, color=colour)
        axes.set_axis_off()
        reason = "\n".join(lines(drawable(d.reason, families_for([d.reason])), 78, 3))
        axes.text(0, 0.9, reason, transform=axes.transAxes, fontsize=8, color=SOFT, va="top", linespacing=1.4,
                  fontfamily=families_for([reason]), parse_math=False)  # fmt: skip
        return
    low, middle, high = scale.ends(d)
    told = f"{_word(judgement)}  {scale.text(middle)}  [{scale.text(low)}, {scale.text(high)}]"
    _beside(axes, told, "right", fontsize=9, color=colour)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.xaxis.set_major_formatter(_formatter(scale))
    axes.axvline(0, color=INK, linewidth=1, zorder=2)
    if (margin := scale.margin(judgement.margin)) is not None:
        axes.axvspan(margin, 0, color=WITHIN, linewidth=0, zorder=0)
        axes.axvline(margin, color=FRONT, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    _whisker(axes, low, middle, high, colour)


def _beside(axes: Axes, text: str, align: str, **style: Any) -> None:
    """Words above a row."""
    axes.annotate(text, (float(align == "right"), 1), xycoords="axes fraction", xytext=(0, 4), va="bottom", ha=align,
                  textcoords="offset points", parse_math=False, **style)  # fmt: skip


def _name(d: PairedDifference, scale: Scale) -> tuple[str, dict[str, Any]]:
    """A quantity in words, and how they are drawn."""
    told = words(d.name).partition(" [")[0] if scale.relative else words(d.name)
    families = families_for([told])
    return drawable(told, families), {"fontsize": 9.5, "color": INK, "fontfamily": families,
                                      "fontweight": strong_weight(families)}  # fmt: skip


def _whisker(axes: Axes, low: float, middle: float, high: float, colour: str) -> None:
    edges = sorted(axes.get_xlim())
    ends = max(low, edges[0]), min(high, edges[1])
    axes.plot(ends, [0, 0], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=3)
    for end, shown in zip((low, high), ends, strict=True):
        if end == shown:
            axes.plot([end, end], [-0.42, 0.42], color=colour, linewidth=1.6, zorder=3)
    axes.scatter([middle], [0], s=46, color=colour, edgecolors="white", linewidths=1.3, zorder=4)


def _word(judgement: Judgement) -> str:
    if judgement.difference.name == "list_usd" and judgement.finding in ("better", "worse"):
        return "cheaper" if judgement.finding == "better" else "more expensive"
    return "equivalent" if judgement.equivalent else judgement.finding


def _draw_course(axes: Axes, comparison: Comparison, course: Course, ended: str) -> None:
    bare(axes, 8)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    wanted = (*comparison.quality, *comparison.judged)
    judgement = next((j for j in wanted if j.difference.reason is None and course.paths.get(j.difference.name)), None)
    if judgement is None:
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.text(0.5, 0.5, "too few samples to follow the interval", transform=axes.transAxes, ha="center",
                  fontsize=9, color=SOFT)  # fmt: skip
        return
    scale, d = scale_of(judgement), judgement.difference
    points = course.paths[d.name]
    if scale.relative and any(p.relative_low is None or p.relative_high is None for _, p in points[len(points) // 2 :]):
        scale = Scale(relative=False, unit=1.0, sign=scale.sign)
    n = [samples for samples, _ in points]
    low, middle, high = zip(*(scale.ends(p) for _, p in points), strict=True)
    final, margin = scale.ends(d), scale.margin(judgement.margin)
    bottom, top = _reach([*final, middle[-1], 0.0, *([] if margin is None else [margin])], low[-1], high[-1])
    axes.set_ylim((bottom, top) if scale.sign > 0 else (top, bottom))
    axes.set_xlim(0, 1.02 * max(course.planned, n[-1], d.n))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
    axes.yaxis.set_major_formatter(_formatter(scale))
    if margin is not None:
        axes.axhspan(margin, 0, color=WITHIN, linewidth=0, zorder=0)
        axes.axhline(margin, color=FRONT, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1.5)
        axes.annotate(f"margin\n{judgement.margin:g}", (1, margin), xycoords=("axes fraction", "data"), xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize=7.5, color=FRONT)  # fmt: skip
    axes.axhline(0, color=INK, linewidth=1, zorder=2)
    far = 10 * (top - bottom)
    axes.fill_between(n, [max(x, -far) for x in low], [min(x, far) for x in high], color=REST, alpha=0.28, linewidth=0,
                      zorder=1)  # fmt: skip
    for end in (low, high):
        axes.plot(n, end, color=REST, linewidth=1, zorder=2)
    axes.plot(n, middle, color=SOFT, linewidth=1.5, zorder=2.5)
    _final(axes, d.n, final, COLOURS[judgement.finding])
    _stopped(axes, course, ended)
    name, style = _name(d, scale)
    axes.set_title(f"{name}: how the interval shrank", loc="left", pad=6, parse_math=False, **style)
    axes.set_xlabel("samples", fontsize=8.5, color=SOFT, loc="right", labelpad=3)


def _reach(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Room for what matters and, as far as that stays legible, for the end of the band from low to high."""
    finite = [value for value in values if math.isfinite(value)]
    bottom, top = min(finite), max(finite)
    size = top - bottom or abs(top) or 1.0
    bottom, top = min(bottom, max(low, bottom - 2 * size)), max(top, min(high, top + 2 * size))
    room = 0.25 * (top - bottom or size)
    return bottom - room, top + room


def _final(axes: Axes, n: int, ends: tuple[float, float, float], colour: str) -> None:
    low, middle, high = ends
    edges = sorted(axes.get_ylim())
    axes.plot([n, n], [max(low, edges[0]), min(high, edges[1])], color=colour, linewidth=2.4, solid_capstyle="butt",
              zorder=4)  # fmt: skip
    axes.scatter([n], [middle], s=46, color=colour, edgecolors="white", linewidths=1.3, zorder=5)


def _stopped(axes: Axes, course: Course, ended: str) -> None:
    if course.asked >= course.planned:
        return
    axes.axvspan(course.asked, course.planned, facecolor="none", edgecolor=GRID, hatch="///", linewidth=0, zorder=0.5)
    axes.axvline(course.planned, color=SOFT, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1.5)
    axes.annotate(f"{ended} {course.asked} of {course.planned}", (course.planned, 1),
                  xycoords=("data", "axes fraction"), xytext=(-4, -4), textcoords="offset points", ha="right", va="top",
                  fontsize=8, color=SOFT, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip


def _formatter(scale: Scale) -> FuncFormatter:
    return FuncFormatter(lambda x, _: ("0" if x == 0 else f"{x:+.3g}".replace("-", "−")) + (" %" * scale.relative))
