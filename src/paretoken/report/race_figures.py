"""Pictures of a race: what it found for its money, who left when and because of whom, and what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from paretoken.report.choices_figure import draw_choices
from paretoken.report.figures import FADED, FRONT, GRID, INK, OPEN, REST, SOFT
from paretoken.report.fonts import can_draw, drawable, families_for, lines, strong_weight
from paretoken.report.tables import question_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from paretoken.analysis.raced import Departure, RaceOutcome
    from paretoken.analysis.results import Results

COLOURS = {"kept": FRONT, "open": OPEN, "beaten": REST, "dearer": FADED, "infeasible": "#fca5a5"}
SAID = {"kept": "kept", "open": "undecided", "beaten": "beaten", "dearer": "dearer", "infeasible": "breaks a limit"}
MOST_ROWS = 40
"""Most variants of which the picture says when they left."""
ROW, WIDTH, LEFT = 0.27, 9.0, 0.45
"""Height of a row, width of the picture and of its left margin [in]."""
NAME, REASON = 34, 40
"""Widths of names and reasons [Latin letters]."""
LETTER = 0.072
"""About how wide a letter of them is [in]."""


def save_race(results: Results, folder: Path) -> list[Path]:
    """Write the pictures of a race that have something to show.

    Args:
        results: A run; of other plans there are no such pictures.
        folder: Where they go.

    Returns:
        The files: `course.png`, `departures.png` and `choices.png`, or some of them.
    """
    drawn = {
        "course.png": draw_course(results),
        "departures.png": draw_departures(results),
        "choices.png": draw_choices(results),
    }
    for name, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / name)
    return [folder / name for name, figure in drawn.items() if figure is not None]


def draw_course(results: Results) -> Figure | None:
    """How good the front was for the money spent by then, and how many variants were still in the race.

    Args:
        results: The run.

    Returns:
        A figure of 8 x 5 inches; None where no front came about step by step.
    """
    race, course = results.race, results.race_course
    if race is None or len(course) < 2 or course[-1].entered < 2 or not course[-1].usd:
        return None
    figure, style = _begin(results, 8, 5)
    upper = figure.add_axes((0.09, 0.41, 0.86, 0.4))
    lower = figure.add_axes((0.09, 0.15, 0.86, 0.16), sharex=upper)
    usd = [look.usd for look in course]
    volumes = [look.hypervolume for look in course]
    for axes in (upper, lower):
        _bare(axes)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=axes is lower))
    upper.fill_between(usd, volumes, min(volumes) - 1, step="post", color=FRONT, alpha=0.07, linewidth=0)
    upper.step(usd, volumes, where="post", color=FRONT, linewidth=2)
    upper.scatter(usd[-1:], volumes[-1:], s=46, color=FRONT, edgecolors="white", linewidths=1.3, zorder=4)
    upper.annotate(f"{volumes[-1]:.3f}", (usd[-1], volumes[-1]), xytext=(0, 8), textcoords="offset points", ha="center",
                   fontsize=9, color=FRONT, fontweight="bold")  # fmt: skip
    room = max(volumes) - min(volumes) or 0.1
    upper.set_ylim(min(volumes) - 0.12 * room, max(volumes) + 0.28 * room)
    lower.step(usd, [look.alive for look in course], where="post", color=REST, linewidth=1.6)
    lower.step(usd, [look.on_front for look in course], where="post", color=FRONT, linewidth=1.6)
    lower.set_ylim(0, 1.15 * max(look.alive for look in course))
    whole = _mark_whole(upper, race, usd[-1])
    upper.set_xlim(0, 1.04 * max(usd[-1], whole))
    upper.tick_params(labelbottom=False)
    lower.xaxis.set_major_locator(MaxNLocator(7))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    lower.set_xlabel("spent at list price [USD]", fontsize=9, color=SOFT, loc="right", labelpad=4)
    upper.set_title("hypervolume of the front as it was known then", loc="left", fontsize=9, color=SOFT, pad=8)
    lower.set_title("variants: in the race (grey), on the front by then (green)", loc="left", fontsize=9, color=SOFT,
                    pad=6)  # fmt: skip
    _foot(figure, [f"run {results.run.id}", f"{course[-1].cells:,} cells",
                   "each front is measured by the final estimates, so that it changes with what was chosen"], style)  # fmt: skip
    return figure


def _mark_whole(axes: Axes, race: RaceOutcome, spent: float) -> float:
    """Show what all cells would have cost, where that is more than what was spent."""
    saving = race.saving
    whole = saving.usd + saving.saved_usd
    if not race.plan.races or whole < 1.01 * spent:
        return spent
    axes.axvspan(spent, whole, facecolor="none", edgecolor=GRID, hatch="///", linewidth=0, zorder=0.5)
    axes.axvline(whole, color=SOFT, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.annotate(f"all cells: ${whole:.4g}, {100 * saving.rate:.0f} % saved", (whole, 0), xytext=(-5, 5), ha="right",
                  xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8, color=SOFT,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
    return whole


def draw_departures(results: Results) -> Figure | None:
    """Who left the race after how many samples, and because of whom; a row a variant, the chosen ones first.

    Args:
        results: The run.

    Returns:
        A figure 9 inches wide; None where no variants race.
    """
    race = results.race
    asked = {} if race is None else {id_: n for id_ in results.labels if (n := race.n_asked(id_))}
    if race is None or not race.plan.races or len(asked) < 2:
        return None
    left = race.departures
    order = sorted(asked, key=lambda id_: (left[id_].fate != "kept", left[id_].fate != "open", -asked[id_]))
    rows, total = order[:MOST_ROWS], len(race.selection.samples)
    figure, style = _begin(results, WIDTH, 1.75 + ROW * len(rows))
    height = figure.get_figheight()
    families = style["fontfamily"]
    names = [_name(results, id_, families) for id_ in rows]
    name_in = LETTER * max(min(NAME, _width(name)) for name in names)
    bar_in = WIDTH - LEFT - name_in - LETTER * REASON - 0.25
    axes = figure.add_axes(((LEFT + name_in) / WIDTH, 0.75 / height, bar_in / WIDTH, ROW * len(rows) / height))
    _bare(axes)
    axes.yaxis.set_visible(False)
    axes.set_xlim(0, total)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for row, (id_, name) in enumerate(zip(rows, names, strict=True)):
        kept = left[id_].fate == "kept"
        axes.barh(row, total, height=0.56, color="#f1f5f9", zorder=1)
        axes.barh(row, asked[id_], height=0.56, color=COLOURS[left[id_].fate], zorder=2)
        weight = strong_weight(families) if kept else "normal"
        axes.annotate(name, (0, row), xytext=(-7, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=8.5, color=INK if kept else SOFT, fontweight=weight, **style)  # fmt: skip
        axes.annotate(_reason(results, left[id_], families), (total, row), xytext=(7, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK if kept else SOFT, **style)  # fmt: skip
    axes.set_xlabel(f"samples asked, of {total}", fontsize=9, color=SOFT, loc="right", labelpad=3)
    _legend(figure, [fate for fate in COLOURS if any(left[id_].fate == fate for id_ in rows)])
    more = len(order) - len(rows)
    _foot(figure, [f"run {results.run.id}", f"{len(order)} variants",
                   *([f"{more} more, which left after {asked[order[MOST_ROWS]]} samples or fewer, are not drawn"] if more
                     else [])], style)  # fmt: skip
    return figure


def _name(results: Results, variant: str, families: Sequence[str]) -> str:
    label = results.labels[variant]
    return lines(label if can_draw(label, families) else variant, NAME, 1)[0]


def _reason(results: Results, left: Departure, families: Sequence[str]) -> str:
    """Why a variant left, without the number of samples, which the bar shows."""
    ids = {label: id_ for id_, label in results.labels.items()}
    names = [label if can_draw(label, families) else ids.get(label, "another") for label in left.by]
    others = f" +{len(names) - 1}" if len(names) > 1 else ""
    match left.fate:
        case "beaten" | "dearer":
            than = "beaten by" if left.fate == "beaten" else "dearer than"
            return f"{than} {lines(names[0], REASON - 16, 1)[0]}{others}" if names else left.fate
        case "infeasible":
            return lines(drawable(f"breaks {', '.join(left.limits)}", families), REASON - 4, 1)[0]
    return left.kept_as if left.fate == "kept" else "undecided"


def _width(text: str) -> float:
    return sum(1.85 if ord(c) > 0x2E80 else 1.0 for c in text)


def _legend(figure: Figure, fates: Sequence[str]) -> None:
    """Colours and their meaning, below the title."""
    width, height = figure.get_size_inches()
    x, y = LEFT / width, 1 - 0.78 / height
    for fate in fates:
        figure.text(x, y, "■", fontsize=10, color=COLOURS[fate], va="center")
        figure.text(x + 0.17 / width, y, SAID[fate], fontsize=8.5, color=SOFT, va="center")
        x += (0.17 + LETTER * len(SAID[fate]) + 0.3) / width


def _begin(results: Results, width: float, height: float) -> tuple[Figure, dict[str, Any]]:
    """An empty picture under the run's question, and how its texts are drawn."""
    question = question_of(results)
    families = families_for([question, results.run.id, *results.labels.values()])
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    title = lines(question if can_draw(question, families) else drawable(results.run.id, families), int(8 * width), 1)
    figure.text(LEFT / width, 1 - 0.2 / height, title[0], fontsize=13, fontweight=strong_weight(families), color=INK,
                va="top", **style)  # fmt: skip
    return figure, style


def _foot(figure: Figure, parts: Sequence[str], style: dict[str, Any]) -> None:
    width, height = figure.get_size_inches()
    told = lines(drawable("  ·  ".join(parts), style["fontfamily"]), int(15.5 * width), 2)
    figure.text(LEFT / width, 0.13 / height, "\n".join(told), fontsize=7.5, color=SOFT, va="bottom", **style)


def _bare(axes: Axes) -> None:
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(REST)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", colors=SOFT, labelsize=8.5, length=0, pad=5)
