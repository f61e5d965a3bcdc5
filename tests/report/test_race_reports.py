"""What is shown of a race after the run: findings, rows, JSON and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report import fonts
from paretoken.report.choices_figure import draw_choices
from paretoken.report.figures import FADED, FRONT, OPEN, draw_front
from paretoken.report.overview import closing_rows, confirmation_rows
from paretoken.report.race_figures import COLOURS, draw_course, draw_departures, save_race
from paretoken.report.tables import findings
from paretoken.report.verdicts import verdict_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure


@pytest.fixture
def raced(tmp_path: Path, write_race: Callable[..., Results]) -> Results:
    return write_race(tmp_path / "r.db")


@pytest.fixture
def confirmed(tmp_path: Path, write_race: Callable[..., Results], racers: Sequence[Any]) -> Results:
    """The kept ones have answered all 120 samples, of which 40 were held out."""
    arms = [replace(arm, asked=120 if arm.fate == "kept" else arm.asked) for arm in racers]
    return write_race(tmp_path / "c.db", arms, confirm=1 / 3)


@pytest.fixture
def cheapest(tmp_path: Path, write_race: Callable[..., Results], racers: Sequence[Any]) -> Results:
    fates = ["dearer", "kept", "beaten", "beaten", "open"]
    arms = [
        replace(a, fate=f, limits=(), by=(1,) if f == "dearer" else a.by) for a, f in zip(racers, fates, strict=True)
    ]
    return write_race(tmp_path / "c.db", arms, kind="cheapest", metric="bertscore_f1", within=0.15, reference="")


@pytest.fixture
def searched(tmp_path: Path, write_race: Callable[..., Results], arm: Callable[..., Any]) -> Results:
    models = ("openai/简洁", "local/a")
    arms = [
        arm(prompt, model, quality=0.5 + 0.02 * i, output_tokens=40 + 9 * i, asked=24,
            params=(("temperature", round(0.1 * i, 1)),), fate="kept" if i > 5 else "beaten", by=() if i > 5 else (7,))
        for i, (prompt, model) in enumerate([("verbose", m) for m in models * 2] + [("terse", m) for m in models * 2])
    ]  # fmt: skip
    return write_race(tmp_path / "s.db", arms, n=24, kind="search", sampler="tpe", trials=8, race=True)


def section(text: str, head: str) -> str:
    return text.split(f"## {head}\n")[1].split("\n## ")[0]


def cells(text: str) -> list[list[str]]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return rows[2:]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [t.get_text() for t in figure.texts]


def test_findings_name_the_front_with_intervals_and_who_was_dropped_by_whom(raced: Results) -> None:
    text = findings(raced)
    front = {row[0]: row for row in cells(section(text, "The front"))}
    assert list(front) == ["terse", "verbose"], "from cheap to dear"
    estimate = next(s for s in raced.summaries if s.label == "terse").estimates["bertscore_f1"]
    assert front["terse"][2] == f"{estimate.mean:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
    assert front["terse"][3] == "88 of 120"
    assert "[" not in front["verbose"][2], "all samples are answered: nothing is left to be unsure of"
    assert cells(section(text, "What was dropped")) == [
        ["mute", "breaks bertscore_f1", "–", "32"],
        ["chatty", "beaten", "verbose, terse", "40"],
        ["bullets", "beaten", "terse", "64"],
    ]
    saving = raced.race.saving
    assert f"{120 + 88 + 40 + 64 + 32} of 600 cells asked" in section(text, "The front")
    assert f"${saving.saved_usd:.6f}, {100 * saving.rate:.0f} %, saved" in section(text, "The front")
    assert "on these 120 samples" in section(text, "Verdict")


def test_findings_say_how_far_a_race_may_be_trusted(
    tmp_path: Path, write_race: Callable[..., Results], racers: Sequence[Any]
) -> None:
    told = section(findings(write_race(tmp_path / "a.db", alpha=0.1)), "How far to trust it")
    for fact in ("at most 10 % of the time", "these 120 samples", "0.02 on bertscore_f1", "10 % more list_usd"):
        assert fact in told
    arms = [replace(arm, fate="open") for arm in racers]
    assert "5 variants are not decided" in findings(write_race(tmp_path / "b.db", arms))


def test_selected_and_held_out_numbers_stand_side_by_side(confirmed: Results, raced: Results) -> None:
    rows = confirmation_rows(confirmed)
    assert [(row["variant"], row["quantity"]) for row in rows] == [
        (label, name) for label in ("verbose", "terse") for name in ("USD per 1k calls", "bertscore_f1")
    ]
    by_hand = {(c.label, c.name): c for c in confirmed.race.confirmed}
    quality, cost = by_hand["verbose", "bertscore_f1"], by_hand["verbose", "list_usd"]
    assert rows[1]["held out"] == f"{quality.held_out.mean:.4g}"
    assert rows[1]["held-out interval"] == f"[{quality.held_out.low:.4g}, {quality.held_out.high:.4g}]"
    assert rows[1]["interval"] == "exact"
    assert float(rows[0]["selected"]) == pytest.approx(1000 * cost.selected.mean, rel=1e-3)
    assert quality.selected.n == 80
    assert quality.held_out.n == 40
    assert cells(section(findings(confirmed), "Selected and held out")) == [list(row.values()) for row in rows]
    assert confirmation_rows(raced) == []
    assert "## Selected and held out" not in findings(raced)


def test_pictures_are_shown_where_they_lie_beside(raced: Results, results: Results) -> None:
    assert "](" not in findings(raced)
    text = findings(raced, ["front.png", "course.png", "departures.png"])
    assert [part.partition(")")[0] for part in text.split("](")[1:]] == ["front.png", "course.png", "departures.png"]
    assert "departures.png" not in findings(results, ["departures.png"]), "an A/B test has no such picture"


def test_a_search_says_how_it_searched_and_what_was_best_of_each_choice(searched: Results) -> None:
    text = section(findings(searched), "What was searched")
    assert "8 variants of the 4 in the space; sampler `tpe`, 8 trials at most." in text
    rows = {row[0]: row[1:] for row in cells(text)}
    assert rows["prompt = terse@3f9a1c"][:2] == ["4", "2"]
    assert rows["prompt = verbose@3f9a1c"][:2] == ["4", "0"]
    best = max(s.value("bertscore_f1") for s in searched.summaries)
    assert rows["prompt = terse@3f9a1c"][2] == f"{best:.4g}"
    assert "temperature = 0.7" in rows
    searched.run.lock["spec"]["space"] = {"temperature": [0.0, 1.0]}
    assert "8 variants, of a space without end" in findings(searched)


def test_the_one_that_was_looked_for_stands_as_the_cheapest_and_comes_first(cheapest: Results) -> None:
    rows = closing_rows(cheapest)
    assert [(row["variant"], row["standing"]) for row in rows][:2] == [
        ("terse", "cheapest"),
        ("mute", "undecided so far"),
    ]
    assert {row["variant"]: row["standing"] for row in rows}["verbose"].startswith("more expensive than ")
    assert [s.summary.label for s in cheapest.standings if s.on_front] == ["terse"]
    text = findings(cheapest)
    assert "**cheapest**" in text
    assert [row[0] for row in cells(section(text, "The cheapest"))] == ["terse"]
    assert "hypervolume" not in text
    assert verdict_body(cheapest)["race"]["hypervolume"] is None


def test_the_verdict_for_programs_has_the_whole_outcome(confirmed: Results, results: Results) -> None:
    body = json.loads(json.dumps(verdict_body(confirmed)))["race"]
    assert (body["samples"], body["held_out"]) == (80, 40)
    assert body["chosen"] == ["verbose", "terse"]
    left = {row["variant"]: row for row in body["departures"]}
    assert (left["chatty"]["fate"], left["chatty"]["n"], left["chatty"]["by"]) == ("beaten", 40, ["verbose", "terse"])
    assert left["mute"]["limits"] == ["bertscore_f1"]
    assert body["saving"]["cells"] == 80 + 80 + 40 + 64 + 32
    assert 0 < body["saving"]["rate"] < 1
    assert body["hypervolume"]["low"] <= body["hypervolume"]["value"] <= body["hypervolume"]["high"]
    assert body["confirmed"][1]["held_out"]["n"] == 40
    assert verdict_body(results)["race"] is None


def test_the_picture_of_departures_has_a_bar_as_long_as_the_samples_asked(raced: Results) -> None:
    figure = draw_departures(raced)
    assert figure is not None
    bars = [patch for patch in figure.axes[0].patches if patch.get_width() != 120 or patch.get_zorder() == 2]
    told = texts(figure)
    names = [name for name in told if name in raced.labels.values()]
    assert names == ["verbose", "terse", "bullets", "chatty", "mute"]
    assert [bar.get_width() for bar in bars if bar.get_zorder() == 2] == [120, 88, 64, 40, 32]
    assert [told[i + 1] for i, text in enumerate(told) if text in names] == [
        "front", "front", "beaten by terse", "beaten by verbose +1", "breaks bertscore_f1",
    ]  # fmt: skip


def test_of_many_variants_the_last_to_leave_are_drawn(
    tmp_path: Path, write_race: Callable[..., Results], arm: Callable[..., Any]
) -> None:
    arms = [arm(f"p{i}", asked=8 + i % 3, fate="beaten", by=(0,)) for i in range(59)]
    results = write_race(tmp_path / "r.db", [arm("best", asked=24, fate="kept"), *arms], n=24)
    figure = draw_departures(results)
    assert len({text for text in texts(figure) if text in results.labels.values()}) == 40
    assert "20 more, which left after 8 samples or fewer, are not drawn" in " ".join(texts(figure))


def test_long_names_stand_beside_the_ids_by_which_others_name_them(
    tmp_path: Path, write_race: Callable[..., Results], arm: Callable[..., Any]
) -> None:
    arms = [arm("a" * 50, asked=24, fate="kept"), arm("b" * 50, asked=8, fate="beaten", by=(0,))]
    results = write_race(tmp_path / "r.db", arms, n=24)
    figure = draw_departures(results)
    first, second = results.labels
    told = texts(figure)
    assert any(text.startswith(f"{first}  aaa") and text.endswith("…") for text in told)
    assert f"beaten by {first}" in told
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert second in " ".join(told)


def test_the_course_ends_at_what_was_spent_and_shows_what_all_cells_would_have_cost(raced: Results) -> None:
    figure = draw_course(raced)
    assert figure is not None
    line = figure.axes[0].lines[0]
    assert line.get_xdata()[-1] == pytest.approx(raced.race.saving.usd)
    assert line.get_ydata()[-1] == pytest.approx(raced.race_course[-1].hypervolume)
    whole = raced.race.saving.usd + raced.race.saving.saved_usd
    assert f"all cells: ${whole:.4g}, {100 * raced.race.saving.rate:.0f} % saved" in texts(figure)


def test_only_what_makes_sense_is_drawn(
    tmp_path: Path, raced: Results, cheapest: Results, searched: Results, results: Results
) -> None:
    assert [path.name for path in save_race(raced, tmp_path)] == ["course.png", "departures.png"], "one choice only"
    assert [path.name for path in save_race(cheapest, tmp_path)] == ["departures.png"], "no front came about"
    found = save_race(searched, tmp_path)
    assert [path.name for path in found] == ["course.png", "departures.png", "choices.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
    assert save_race(results, tmp_path) == [], "an A/B test"


def test_a_race_without_an_answer_has_no_pictures(
    tmp_path: Path, write_race: Callable[..., Results], racers: Sequence[Any]
) -> None:
    results = write_race(tmp_path / "r.db", [replace(arm, asked=0, fate="open") for arm in racers])
    assert save_race(results, tmp_path) == []
    assert "No records yet." in findings(results)


def test_choices_lead_to_objectives_whose_better_end_is_up(searched: Results) -> None:
    figure = draw_choices(searched)
    told = texts(figure)
    assert {"prompt", "model", "temperature", "bertscore_f1"} <= set(told)
    assert {"verbose", "terse", "a"} <= set(told)
    drawn = fonts.can_draw("简洁", fonts.families_for(["简洁"]))
    assert ("简洁" if drawn else "model 2") in told
    lines = figure.axes[0].patches
    colours = [line.get_edgecolor()[:3] for line in lines]
    strong = tuple(int(FRONT[i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert sum(colour == pytest.approx(strong) for colour in colours) == 2 * 4, "two on the front, four steps each"
    assert len(lines) == 8 * 4
    ends = [line.get_path().vertices[-1] for line in lines if line.get_path().vertices[-1][0] == 4]
    best = max(searched.summaries, key=lambda s: s.value("bertscore_f1"))
    order = [s.summary.variant for s in sorted(searched.standings, key=lambda s: s.on_front)]
    assert max(range(8), key=lambda i: ends[i][1]) == order.index(best.variant)
    cheap = min(searched.summaries, key=lambda s: s.value("list_usd"))
    costs = [line.get_path().vertices[-1] for line in lines if line.get_path().vertices[-1][0] == 3]
    assert max(range(8), key=lambda i: costs[i][1]) == order.index(cheap.variant)


def test_the_front_picture_tells_fates_apart(
    tmp_path: Path, write_race: Callable[..., Results], racers: Sequence[Any], raced: Results
) -> None:
    arms = [*racers[:3], replace(racers[3], fate="open", by=()), racers[4]]
    axes = draw_front(write_race(tmp_path / "o.db", arms)).axes[0]

    def shades(name: str) -> int:
        rgb = pytest.approx(tuple(int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)))
        marks = [c for c in axes.collections if len(c.get_offsets()) == 1]
        return sum(tuple(c.get_facecolor()[0][:3]) == rgb or tuple(c.get_edgecolor()[0][:3]) == rgb for c in marks)

    assert (shades(FRONT), shades(FADED), shades(OPEN)) == (2, 1, 1)
    note = draw_front(raced).texts[1].get_text().replace("\n", " ")
    assert "faded: left the race" in note
    assert "rings" not in note


def test_every_fate_has_a_colour_of_its_own() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS) == 5


def test_failures_may_be_raced_on(
    tmp_path: Path, write: Callable[..., None], lock_of_race: Callable[..., dict[str, Any]], racers: Sequence[Any]
) -> None:
    arms = [replace(racers[0], failures=12), *racers[1:]]
    lock = lock_of_race(arms, 120)
    lock["objectives"]["minimize"] = ["error_rate"]
    write(tmp_path / "r.db", arms, n=120, **lock)
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    assert not any(sentence.startswith("caution: error_rate") for sentence in results.verdicts)
    assert results.race_course[-1].hypervolume > 0
