"""Races from the command line: what they may save, what they found, and the cheapest that is good enough."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from paretoken.analysis.estimate import Estimate
from paretoken.cli import screen
from paretoken.experiment.raceplanner import BoardRow
from paretoken.records import Database, RunBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

ABTEST = "plan:\n  abtest:\n    control: long\n    treatment: [terse]\n"
SPACE = "space:\n  temperature: 0.0\n"
RACE = "plan: {race: {epsilon: {contains: 0.1}, tolerance: {list_usd: 10%}}}\n"


@pytest.fixture
def racing(lab: Lab) -> Lab:
    """Two prompts with two limits of their answers' length."""
    lab.edit("max_tokens: 24", "max_tokens: {choices: [4, 24]}")
    lab.edit(ABTEST, RACE)
    rows = (lab.folder / "data.jsonl").read_text()
    lab.write("data.jsonl", "".join(rows.replace('"s', f'"{k}s') for k in range(4)))
    return lab


def test_plan_rehearses_what_is_recorded(racing: Lab, cli: Callable) -> None:
    before = cli("plan", racing.folder)
    assert "expected: unknown, too few recorded answers" in before.out
    said = cli("plan", racing.folder, "--pilot", "16")
    assert said.code == 0
    assert "racing: from $" in said.out
    assert "(rehearsed on 16 recorded samples of 4 variants)" in said.out
    found = cli("plan", racing.folder, "--json").json["race"]
    assert found["least_usd"] <= found["most_usd"]
    middle, low, high = found["rehearsal"]["share"]
    assert 0 < low <= middle <= high <= 1
    assert found["rehearsal"]["settled"] == 1
    assert found["verdict"] == ""


def test_plan_says_what_a_small_budget_can_settle(racing: Lab, cli: Callable) -> None:
    cli("plan", racing.folder, "--pilot", "16")
    racing.edit('usd: "1.00"', 'usd: "0.004"')
    found = cli("plan", racing.folder, "--json").json["race"]
    assert found["affordable"] < found["planned"] == 48
    assert f"pays for {found['affordable']} of 48 samples a variant" in found["verdict"]


def test_a_race_without_tolerance_is_warned_of(racing: Lab, cli: Callable) -> None:
    racing.edit(", tolerance: {list_usd: 10%}", "")
    assert "no tolerance is declared" in cli("plan", racing.folder).out


def test_a_race_says_who_left_and_what_was_saved(racing: Lab, cli: Callable) -> None:
    said = cli("run", racing.folder, "--no-picture")
    assert said.code == 0
    assert "front: " in said.out
    assert "95 % confidence, on these 48 samples" in said.out
    again = cli("front", "last")
    assert again.out.splitlines()[:10] == said.out.splitlines()[:10]
    assert cli("compare").out.startswith("a race decides by rounds, not by pairs: name two variants, paretoken compare")


def test_the_front_is_drawn(racing: Lab, cli: Callable) -> None:
    cli("run", racing.folder)
    (folder,) = (racing.root / ".paretoken" / "runs").iterdir()
    assert {"front.png", "course.png", "departures.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("arguments", [("--within", "0.1"), ("--within", "0.1", "--of", "terse|max_tokens=24")])
def test_cheapest_asks_the_variants_of_any_spec(racing: Lab, cli: Callable, arguments: tuple[str, ...]) -> None:
    said = cli("cheapest", racing.folder, *arguments)
    assert said.code == 0
    assert "cheapest within 0.1 of " in said.out
    assert said.out.count("cheapest\n") + said.out.count("cheapest ") >= 2, "its standing, and the sentence"
    assert "per 1,000 calls" in said.out
    assert cli("cheapest", racing.folder, *arguments).out == said.out
    verdict = cli("cheapest", racing.folder, *arguments, "--json").json["verdicts"][0]
    assert verdict in said.out


def test_cheapest_runs_a_spec_of_its_own_as_it_is(racing: Lab, cli: Callable) -> None:
    racing.edit(RACE, "plan: {cheapest: {metric: contains, within: 0.2}}\n")
    assert "cheapest within 0.2 of the best on contains" in cli("cheapest", racing.folder).out
    ran = cli("run", racing.folder, "--no-picture")
    assert "now: 0 sent" in ran.err, "it is the same run"


def test_cheapest_by_floors_alone(racing: Lab, cli: Callable) -> None:
    racing.edit("maximize: [contains]\n", 'maximize: [contains]\nsubject_to: {max_chars: ">= 0.9"}\n')
    assert "cheapest max_chars >= 0.9: " in cli("cheapest", racing.folder).out


def test_cheapest_without_a_measure_is_refused(racing: Lab, cli: Callable) -> None:
    said = cli("cheapest", racing.folder)
    assert said.code == 2
    assert "nothing says what is good enough. Add --within" in said.err
    assert not racing.database.exists()


def test_options_replace_parts_of_a_plan_of_its_own(racing: Lab, cli: Callable) -> None:
    racing.edit(RACE, "plan: {cheapest: {metric: contains, within: 0.2, range: {contains: [0, 2]}}}\n")
    assert "cheapest within 0.1 of the best on contains" in cli("cheapest", racing.folder, "--within", "0.1").out
    plan = cli("runs", "--json").json[-1]["run"]
    with Database(racing.database) as database:
        declared = RunBook(database).find(plan).lock["plan"]
    assert (declared["within"], declared["range"]) == (0.1, {"contains": [0.0, 2.0]})


def test_a_gate_on_a_race_is_refused(racing: Lab, cli: Callable) -> None:
    said = cli("run", racing.folder, "--fail-if", "contains worse")
    assert said.code == 2
    assert "so nothing can fail it" in said.err


def test_a_search_has_no_pilot(racing: Lab, cli: Callable) -> None:
    racing.edit(RACE, "plan: {search: {trials: 3, sampler: random}}\n")
    said = cli("plan", racing.folder, "--pilot", "16")
    assert said.code == 2
    assert "a search has no pilot" in said.err
    assert "search: 3 variants of a space of 4 variants" in cli("plan", racing.folder).out
    racing.edit("trials: 3", "trials: 9")
    assert "search: the space has 4 variants, fewer than the 9 trials: all of them are tried" in (
        cli("plan", racing.folder).out
    )


def test_the_variants_that_are_left_are_seen_live() -> None:
    rows = [
        BoardRow("terse", 24, kept=True, estimates={"f1": Estimate(0.512, 0.4, 0.6, 24)}),
        *(BoardRow(f"v{i}", 8, kept=False, estimates={"f1": Estimate(0.3, None, None, 8)}) for i in range(30)),
    ]
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(screen.board_table(rows, most=20))
    shown = console.export_text()
    for part in ("31 variants left: 1 on the front so far", "terse", "0.512 [0.4, 0.6]", "v18", "and 11 more"):
        assert part in shown
    assert "v19" not in shown
