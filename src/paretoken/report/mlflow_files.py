"""The files that lie beside a run in MLflow: pictures, pages, tables and texts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from paretoken.analysis.explanation import explain
from paretoken.analysis.features import NothingToExplain
from paretoken.analysis.selection import select
from paretoken.core.errors import SpecError
from paretoken.report.comparison_figure import save_comparison
from paretoken.report.comparisons import difference_rows
from paretoken.report.driver_figures import draw_beeswarm, draw_driver_bar, draw_waterfall
from paretoken.report.figures import save_front
from paretoken.report.front_page import save_front_page
from paretoken.report.mlflow_tables import prompt_file, write_table
from paretoken.report.page import render_page
from paretoken.report.race_figures import save_race
from paretoken.report.segments_figure import save_segments
from paretoken.report.selection import candidate_rows
from paretoken.report.selection_figure import draw_selection
from paretoken.report.tables import findings, front_rows
from paretoken.report.verdicts import verdict_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from paretoken.analysis.driver_shares import Drivers
    from paretoken.analysis.explanation import Explanation
    from paretoken.analysis.results import Results
    from paretoken.report.page_words import Language
    from paretoken.report.verdicts import Course

MOST_WATERFALLS = 5
"""Comparisons whose costs are split."""


def write_files(
    results: Results,
    folder: Path,
    courses: Mapping[str, Course],
    drivers: Drivers | NothingToExplain,
    hide: Callable[[str], str],
) -> list[str]:
    """Write all that lies beside the parent run.

    Args:
        results: The run.
        folder: Empty.
        courses: How the intervals of each comparison shrank, by label.
        drivers: What drives the cost.
        hide: Takes secrets out of a text.

    Returns:
        Names of the files that are tables.
    """
    lock = results.run.lock
    save_front(results, folder / "front.png")
    save_front_page(results, folder / "front.html")
    drawn = [*save_race(results, folder), *save_segments(results, folder)]
    pictures = ["front.png", *(path.name for path in drawn)]
    texts = {
        "verdict.txt": "\n".join(results.verdicts) + "\n",
        "verdict.json": _json(verdict_body(results)),
        "FINDINGS.md": findings(results, pictures),
        "report.html": render_page(results, _language(lock), drivers=drivers),
        "lock.json": _json(lock),
        "spec.json": _json(lock["spec"]),
    }
    if effects := results.prompt_segments:
        texts["segments.json"] = _json([effect.body() for effect in effects])
    for name, text in texts.items():
        (folder / name).write_text(hide(text), encoding="utf-8")
    named = {comparison.treatment: comparison for comparison in results.comparisons}
    for label, course in courses.items():
        save_comparison(results, named[label], folder / f"comparison-{_stem(results, label, courses)}.png", course)
    if (confirmation := results.confirmation) is not None:
        save_comparison(results, confirmation, folder / "confirmation.png")
    _write_prompts(lock, folder / "prompts")
    tables: dict[str, Sequence[Mapping[str, object]]] = {
        "variants.json": front_rows(results),
        "comparisons.json": [
            {"control": pair.control, "treatment": pair.treatment, **_plain(row, pair.control, pair.treatment)}
            for pair in results.all_comparisons
            for row in difference_rows(pair)
        ],
        **_write_drivers(drivers, folder),
        **_write_waterfalls(results, folder),
        **_write_selection(results, folder),
    }
    return [name for name, rows in tables.items() if write_table(rows, folder / name)]


def _write_drivers(drivers: Drivers | NothingToExplain, folder: Path) -> dict[str, list[dict[str, object]]]:
    """The pictures; returns the tables."""
    if isinstance(drivers, NothingToExplain):
        return {}
    for name, figure in (("drivers", draw_driver_bar(drivers)), ("beeswarm", draw_beeswarm(drivers))):
        if figure is not None:
            figure.savefig(folder / f"{name}.png")
    return {
        "drivers.json": [s._asdict() for s in drivers.shares],
        "effects.json": [e._asdict() for e in drivers.effects],
    }


def _write_selection(results: Results, folder: Path) -> dict[str, list[dict[str, object]]]:
    """The picture; returns the table."""
    try:
        found = select(results)
    except SpecError:  # there is nothing to choose from, or not yet
        return {}
    draw_selection(found).savefig(folder / "selection.png")
    return {"selection.json": candidate_rows(found)}


def _write_waterfalls(results: Results, folder: Path) -> dict[str, list[dict[str, object]]]:
    """The pictures of the first comparisons, or of the front's dearest against its cheapest; returns the table."""
    pairs = [(pair.control, pair.treatment) for pair in results.comparisons]
    if not pairs:
        front = [s.summary for s in results.standings if s.on_front]
        front.sort(key=lambda summary: summary.value("list_usd") or 0.0)
        pairs = [(front[-1].label, front[0].label)] if len(front) > 1 else []
    rows: list[dict[str, object]] = []
    for control, treatment in pairs[:MOST_WATERFALLS]:
        found = _explain(results, control, treatment)
        if found is not None:
            stem = _stem(results, treatment, [label for _, label in pairs])
            draw_waterfall(found.sentences[0], found.steps(), "USD a call").savefig(folder / f"waterfall-{stem}.png")
            rows += [{"from": control, "to": treatment, "factor": f.name, "usd": str(f.usd)} for f in found.factors]
    return {"waterfalls.json": rows}


def _explain(results: Results, control: str, treatment: str) -> Explanation | None:
    try:
        return explain((results, control), (results, treatment))
    except SpecError:  # no call was answered by both
        return None


def _write_prompts(lock: Mapping[str, object], folder: Path) -> None:
    folder.mkdir()
    prompts: Any = lock["prompts"]
    for id_, prompt in prompts.items():
        (folder / prompt_file(id_)).write_text(prompt["text"], encoding="utf-8")


def _language(lock: Mapping[str, object]) -> Language:
    """The page's language: Chinese where the samples are, as whoever asks the question will read it."""
    dataset: Any = lock["dataset"]
    return "zh" if str(dataset.get("language") or "").lower().startswith("zh") else "en"


def _plain(row: Mapping[str, object], control: str, treatment: str) -> dict[str, object]:
    """A row with the same columns for every comparison."""
    names = {control: "mean of control", treatment: "mean of treatment"}
    return {names.get(key, key): value for key, value in row.items()}


def _stem(results: Results, label: str, others: Iterable[str]) -> str:
    """A label as part of a file's name; with the variant's id where others would have the same."""
    name = _as_file(label)
    same = [_as_file(other) for other in others].count(name)
    return name if same == 1 else f"{name}-{results.variant_id(label)}"


def _as_file(label: str) -> str:
    return re.sub(r"[^\w.=@+-]", "_", label)[:60]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
