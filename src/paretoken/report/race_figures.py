"""Pictures of a race: what it found for its money, who left when and because of whom, and what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from paretoken.report.choices_figure import draw_choices
from paretoken.report.figures import FADED, FRONT, GRID, INK, OPEN, REST, SOFT, bare
from paretoken.report.fonts import can_draw, columns_of, drawable, families_for, lines, shortened, strong_weight
from paretoken.report.tables import question_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from paretoken.analysis.raced import Departure, RaceOutcome
    from paretoken.analysis.results import Results

COLOURS = {"kept": FRONT, "open": OPEN, "beaten": REST, "dearer": FADED, "infeasible": "#fca5a5"}
SAID = {
    "kept": "kept",
    "open": "undecided",
    "beaten": "beaten",
    "dearer": "more expensive",
    "infeasible": "breaks a limit",
}
MOST_ROWS = 40
"""Most variants of which the picture says when they left."""
ROW, LINE, WIDTH, LEFT = 0.27, 0.24, 9.0, 0.45
"""Heights of a row and of a line of the title, width of the picture and of its left margin [in]."""
NAME = 36
"""Width of names [Latin letters]."""
LETTER = 0.074
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
    figure, style, top = _begin(results, 8, 5)
    height = figure.get_figheight()
    upper = figure.add_axes((0.09, 2.1 / height, 0.86, (height - top - 2.45) / height))
    lower = figure.add_axes((0.09, 0.75 / height, 0.86, 0.8 / height), sharex=upper)
    usd = [look.usd for look in course]
    volumes = [look.hypervolume for look in course]
    for axes in (upper, lower):
        bare(axes, 8.5)
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
    upper.set_title("hypervolume of the front as it was known then, by the final estimates", loc="left", fontsize=9,
                    color=SOFT, pad=8)  # fmt: skip
    lower.set_title("variants: in the race (grey), on the front by then (green)", loc="left", fontsize=9, color=SOFT,
                    pad=6)  # fmt: skip
    _foot(figure, [f"run {results.run.id}", f"{course[-1].cells:,} cells of {course[-1].entered} variants"], style)
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
    figure, style, top = _begin(results, WIDTH, 1.6 + ROW * len(rows))
    height, families = figure.get_figheight(), style["fontfamily"]
    by_id = any(columns_of(label) > NAME or not can_draw(label, families) for label in results.labels.values())
    names = [_name(id_, results.labels[id_], families, by_id=by_id) for id_ in rows]
    reasons = [_reason(results, left[id_], families, by_id=by_id) for id_ in rows]
    name_in, reason_in = (LETTER * max(map(columns_of, texts)) for texts in (names, reasons))
    bar_in = WIDTH - LEFT - name_in - reason_in - 0.35
    axes = figure.add_axes(((LEFT + name_in) / WIDTH, 0.75 / height, bar_in / WIDTH, ROW * len(rows) / height))
    bare(axes, 8.5)
    axes.yaxis.set_visible(False)
    axes.set_xlim(0, total)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for row, (id_, name, reason) in enumerate(zip(rows, names, reasons, strict=True)):
        kept = left[id_].fate == "kept"
        axes.barh(row, total, height=0.56, color="#f1f5f9", zorder=1)
        axes.barh(row, asked[id_], height=0.56, color=COLOURS[left[id_].fate], zorder=2)
        weight = strong_weight(families) if kept else "normal"
        axes.annotate(name, (0, row), xytext=(-7, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=8.5, color=INK if kept else SOFT, fontweight=weight, **style)  # fmt: skip
        axes.annotate(reason, (total, row), xytext=(7, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK if kept else SOFT, **style)  # fmt: skip
    axes.set_xlabel(f"samples asked, of {total}", fontsize=9, color=SOFT, loc="right", labelpad=3)
    _legend(figure, top, [fate for fate in COLOURS if any(left[id_].fate == fate for id_ in rows)])
    told = [f"run {results.run.id}", f"{len(order)} variants"]
    if more := len(order) - len(rows):
        told.append(f"{more} more, which left after {asked[order[MOST_ROWS]]} samples or fewer, are not drawn")
    _foot(figure, told, style)
    return figure


def _name(variant: str, label: str, families: Sequence[str], *, by_id: bool) -> str:
    """A variant's label; after its id where some labels are too long, or cannot be drawn, and ids stand for them."""
    if not by_id:
        return label
    return f"{variant}  {shortened(label, NAME)}" if can_draw(label, families) else variant


def _reason(results: Results, left: Departure, families: Sequence[str], *, by_id: bool) -> str:
    """Why a variant left, without the number of samples, which the bar shows."""
    ids = {label: id_ for id_, label in results.labels.items()}
    names = [ids.get(label, label) if by_id else label for label in left.by]
    others = f" +{len(names) - 1}" if len(names) > 1 else ""
    match left.fate:
        case "beaten" | "dearer":
            than = "beaten by" if left.fate == "beaten" else "more expensive than"
            return f"{than} {shortened(names[0], NAME)}{others}" if names else left.fate
        case "infeasible":
            return shortened(drawable(f"breaks {', '.join(left.limits)}", families), NAME)
    return left.kept_as if left.fate == "kept" else "undecided"


def _legend(figure: Figure, top: float, fates: Sequence[str]) -> None:
    """Colours and their meaning, below the title."""
    width, height = figure.get_size_inches()
    x, y = LEFT / width, 1 - (top + 0.12) / height
    for fate in fates:
        figure.text(x, y, "■", fontsize=10, color=COLOURS[fate], va="center_baseline")
        figure.text(x + 0.17 / width, y, SAID[fate], fontsize=8.5, color=SOFT, va="center_baseline")
        x += (0.17 + LETTER * len(SAID[fate]) + 0.3) / width


def _begin(results: Results, width: float, height: float) -> tuple[Figure, dict[str, Any], float]:
    """An empty picture under the run's question, how its texts are drawn, and where they may begin [in]."""
    question = question_of(results)
    families = families_for([question, results.run.id, *results.labels.values()])
    style: dict[str, Any] = {"fontfamily": families, "parse_math": False}
    title = lines(question if can_draw(question, families) else drawable(results.run.id, families), int(8 * width), 2)
    height += LINE * (len(title) - 1)
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(LEFT / width, 1 - 0.2 / height, "\n".join(title), fontsize=13, fontweight=strong_weight(families),
                color=INK, va="top", linespacing=1.25, **style)  # fmt: skip
    return figure, style, 0.3 + LINE * len(title)


def _foot(figure: Figure, parts: Sequence[str], style: dict[str, Any]) -> None:
    width, height = figure.get_size_inches()
    told = lines(drawable("  ·  ".join(parts), style["fontfamily"]), int(15.5 * width), 2)
    figure.text(LEFT / width, 0.13 / height, "\n".join(told), fontsize=7.5, color=SOFT, va="bottom", **style)
