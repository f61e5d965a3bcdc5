"""Races, searches and the cheapest good enough from end to end, on answers of which everything is known."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.core.errors import SpecError
from paretoken.experiment.api import plan, run
from paretoken.records import Database, RunBook, SqlJournal, SqlLedger
from paretoken.report.tables import front_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Lab
    from paretoken.experiment.api import Outcome

pytestmark = pytest.mark.slow

ECHO = '  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n'
ABTEST = "plan:\n  abtest:\n    control: long\n    treatment: [terse]\n"
QUALITY = {"m0": 0.3, "m1": 0.5, "m2": 0.45, "m3": 0.8, "m4": 0.5, "m5": 0.75}
TOKENS = {"m0": 20, "m1": 60, "m2": 150, "m3": 400, "m4": 60, "m5": 700}
"""m2 and m5 are worse and dearer than others, m4 is m1's twin."""
FRONTS = ({"m0", "m1", "m3"}, {"m0", "m4", "m3"}, {"m0", "m1", "m4", "m3"})
"""Of twins neither does harm to the other, so that both may be kept."""
N = 48


def replay_rows(leave_out: Callable[[str, int], bool] = lambda model, i: False) -> str:
    rows = []
    for model, quality in QUALITY.items():
        for i in range(N):
            chance = random.Random(f"{'m1' if model == 'm4' else model}/{i}")
            ease = random.Random(i).uniform(-0.1, 0.1)
            score = min(1.0, max(0.0, quality + ease + chance.uniform(-0.08, 0.08)))
            rows.append({"model": model, "id": f"s{i}", "text": f"{model} {i}", "in": 50,
                         "out": TOKENS[model] + chance.randrange(5), "human": round(score, 6), "even": 0.5,
                         "lost": None})  # fmt: skip
    kept = [row for row in rows if not leave_out(str(row["model"]), int(str(row["id"])[1:]))]
    return "".join(json.dumps(row) + "\n" for row in kept)


def replayed(lab: Lab, planner: str) -> None:
    """Six models' recorded answers to 48 samples, and a planner."""
    prices = "".join(f'      {m}: {{input_per_mtok: "1", output_per_mtok: "4"}}\n' for m in QUALITY)
    lab.write("data.jsonl", "".join(json.dumps({"id": f"s{i}", "product": "p", "features": "f", "copy": "c"}) + "\n"
                                    for i in range(N)))  # fmt: skip
    lab.write("answers.jsonl", replay_rows())
    lab.edit(ECHO, "  - replay: answers.jsonl\n    by: model\n    key: id\n    output: text\n    usage: [in, out]\n"
                   f"    prices:\n{prices}")  # fmt: skip
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - {column: human, range: [0, 1]}\n  - {column: even, range: [0, 1]}\n"
             "  - {column: lost, range: [0, 1]}")  # fmt: skip
    lab.edit("maximize: [contains]", "maximize: [human]")
    lab.edit(ABTEST, f"plan: {planner}\n")


def by_label(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {str(row["variant"]): row for row in front_rows(outcome.results)}


def on_front(outcome: Outcome) -> set[str]:
    return {label for label, row in by_label(outcome).items() if row["standing"] in ("front", "cheapest")}


def told(outcome: Outcome) -> tuple[object, ...]:
    """All that a run says, but what depends on time."""
    rows = [{k: v for k, v in row.items() if "latency" not in k} for row in front_rows(outcome.results)]
    return rows, outcome.results.verdicts, outcome.results.run.lock["race"]["decisions"]


def asked(lab: Lab, outcome: Outcome) -> int:
    with Database(lab.database) as database:
        entries = [entry for _, entry in SqlJournal(database).read(outcome.results.run.id, kind=["call"])]
    cells = [(e.origin.variant, e.origin.sample, e.origin.repeat) for e in entries]  # type: ignore[union-attr]
    assert len(cells) == len(set(cells))
    return len(cells)


RACE = "{race: {epsilon: {human: 0.05}, tolerance: {list_usd: 10%}}}"


def test_a_race_finds_the_front_and_says_the_same_again(lab: Lab) -> None:
    replayed(lab, RACE)
    _, forecast = plan(lab.folder)
    assert sum(v.to_send for v in forecast.variants) == 0, "recorded answers cost nothing"
    first = run(lab.folder)
    assert (first.exit_code, first.ending.status) == (0, "finished")
    assert on_front(first) in FRONTS
    assert asked(lab, first) < 6 * N
    assert first.ending.reason.startswith("every variant is decided, after ")
    again = run(lab.folder)
    assert again.progress.made == 0
    assert told(again) == told(first)
    fresh = run(lab.folder, fresh=True)
    assert told(fresh) == told(first)
    reread = fresh.results.race
    assert reread is not None
    assert {d.fate for d in reread.departures.values()} == {"kept", "beaten"}


@pytest.mark.parametrize("limit", [3, 20])
def test_a_part_of_the_samples(lab: Lab, limit: int) -> None:
    """Fewer samples than a block are asked of all; then the exact front is known."""
    replayed(lab, RACE)
    outcome = run(lab.folder, limit=limit)
    assert outcome.exit_code == 0
    assert "m3" in on_front(outcome)
    assert f"on these {limit} samples" in outcome.results.verdicts[0]
    if limit == 3:
        assert asked(lab, outcome) == 18


def test_the_cheapest_that_is_good_enough(lab: Lab) -> None:
    replayed(lab, "{cheapest: {metric: human, within: 0.1}}")
    outcome = run(lab.folder)
    assert on_front(outcome) == {"m3"}
    assert outcome.results.verdicts[0].startswith('cheapest within 0.1 of the best on human: "m3" at $')
    assert told(run(lab.folder)) == told(outcome)


def test_the_cheapest_beside_a_reference_that_others_beat(lab: Lab) -> None:
    replayed(lab, "{cheapest: {metric: human, within: 0.1, of: m2}}")
    outcome = run(lab.folder)
    assert on_front(outcome) <= {"m1", "m4"}
    assert len(on_front(outcome)) == 1
    assert 'of "m2" on human' in outcome.results.verdicts[0]


def test_the_cheapest_above_a_floor_that_nobody_reaches(lab: Lab) -> None:
    replayed(lab, "cheapest")
    lab.edit("plan:", 'subject_to: {human: ">= 0.95"}\nplan:')
    outcome = run(lab.folder)
    assert on_front(outcome) == set()
    assert any("no variant keeps the limits; 6 of 6 variants break a limit: human 6" in s
               for s in outcome.results.verdicts)  # fmt: skip


@pytest.mark.parametrize("planner", [RACE, "{cheapest: {metric: human, within: 0.1}}"])
def test_the_front_is_confirmed_on_samples_held_out(lab: Lab, planner: str) -> None:
    replayed(lab, planner.replace("}}}", "}, confirm: 0.4}}") if "race" in planner else
             planner.replace("0.1}", "0.1, confirm: 0.4}"))  # fmt: skip
    outcome = run(lab.folder)
    race = outcome.results.race
    assert race is not None
    assert race.held_out is not None
    assert len(race.held_out.samples) == 19
    assert {c.label for c in race.confirmed} == on_front(outcome)
    for c in race.confirmed:
        assert c.held_out.n == 19
    assert told(run(lab.folder)) == told(outcome)


def test_every_sample_twice(lab: Lab) -> None:
    replayed(lab, RACE)
    lab.edit("minimize: [list_usd]", "minimize: [list_usd]\nrepeats: 2")
    outcome = run(lab.folder)
    assert outcome.exit_code == 0
    assert "m3" in on_front(outcome)
    assert asked(lab, outcome) % 2 == 0


def test_answers_that_are_missing(lab: Lab) -> None:
    """One in six of one model, and all of another."""
    replayed(lab, RACE)
    lab.write(
        "answers.jsonl", replay_rows(lambda model, i: (model == "m3" and i % 6 == 0) or (model == "m2" and i != 5))
    )
    outcome = run(lab.folder)
    assert outcome.ending.status == "finished"
    assert "m2" not in on_front(outcome)
    assert {"m0", "m3"} <= on_front(outcome)


def test_a_limit_on_failures_rules_out_a_variant_early(lab: Lab) -> None:
    replayed(lab, RACE)
    lab.edit("plan:", 'subject_to: {error_rate: "<= 0.1"}\nplan:')
    lab.write("answers.jsonl", replay_rows(lambda model, i: model == "m2" and i != 5))
    outcome = run(lab.folder)
    row = by_label(outcome)["m2"]
    assert "error_rate" in str(row["standing"])
    assert any(s.startswith("1 of 6 variants break a limit: error_rate 1") for s in outcome.results.verdicts)
    race = outcome.results.race
    assert race is not None
    (left,) = (d for d in race.departures.values() if d.fate == "infeasible")
    assert left.n < N


def test_a_limit_at_the_end_of_its_range_can_be_kept(lab: Lab) -> None:
    replayed(lab, RACE)
    lab.edit("plan:", 'subject_to: {error_rate: "<= 0"}\nplan:')
    assert on_front(run(lab.folder)) in FRONTS


@pytest.mark.parametrize("free", ["all", "one"])
def test_free_models_race_too(lab: Lab, free: str) -> None:
    replayed(lab, RACE)
    text = (lab.folder / "spec.yaml").read_text()
    for model in QUALITY if free == "all" else ("m3",):
        text = text.replace(f'{model}: {{input_per_mtok: "1", output_per_mtok: "4"}}', f"{model}: free")
    lab.write("spec.yaml", text)
    outcome = run(lab.folder)
    assert on_front(outcome) == {"m3"}
    assert asked(lab, outcome) < 6 * N


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("even", "caution: even is the same for every answer: it decides nothing"),
        ("lost", "caution: lost has no value for any answer: it decides nothing"),
    ],
)
@pytest.mark.parametrize("planner", ["race", "{search: {trials: 6, sampler: random, race: false}}"])
def test_a_metric_that_tells_nothing_apart(lab: Lab, metric: str, says: str, planner: str) -> None:
    replayed(lab, planner)
    lab.edit("maximize: [human]", f"maximize: [{metric}]")
    outcome = run(lab.folder)
    assert outcome.ending.status == "finished"
    assert says in outcome.results.verdicts


def test_one_objective(lab: Lab) -> None:
    replayed(lab, "{race: {tolerance: {list_usd: 10%}}}")
    lab.edit("maximize: [human]\n", "")
    assert on_front(run(lab.folder)) == {"m0"}


def test_three_objectives(lab: Lab) -> None:
    replayed(lab, "{race: {epsilon: {human: 0.05, even: 0.1}, tolerance: {list_usd: 10%}}}")
    lab.edit("maximize: [human]", "maximize: [human, even]")
    outcome = run(lab.folder)
    assert on_front(outcome) >= {"m0", "m3"}
    assert "m5" not in on_front(outcome)


SEARCHES = ["random", "grid", "tpe", "nsga2", "nsga3", "surrogate"]


@pytest.mark.parametrize("sampler", SEARCHES)
def test_a_search_finds_the_front_of_a_small_space(lab: Lab, sampler: str) -> None:
    """More trials than there are variants: all are tried, each once."""
    replayed(
        lab, f"{{search: {{sampler: {sampler}, trials: 20, epsilon: {{human: 0.05}}, tolerance: {{list_usd: 10%}}}}}}"
    )
    outcome = run(lab.folder)
    assert outcome.exit_code == 0
    assert set(by_label(outcome)) == set(QUALITY)
    assert on_front(outcome) in FRONTS
    again = run(lab.folder)
    assert (again.progress.made, told(again)) == (0, told(outcome))


def test_a_search_that_does_not_race(lab: Lab) -> None:
    replayed(lab, "{search: {sampler: random, trials: 6, race: false}}")
    outcome = run(lab.folder)
    assert asked(lab, outcome) == 6 * N
    assert on_front(outcome) in FRONTS, "of twins both stand at the same values"
    assert outcome.results.verdicts[0].startswith("front: ")
    assert '"m5"' not in outcome.results.verdicts[0]
    assert told(run(lab.folder)) == told(outcome)


def echoed(lab: Lab, planner: str, space: str, latency: float = 0.0) -> None:
    """Two prompts on an echo whose answers are cut; shorter ones cost less and say less."""
    lab.edit(ECHO, f"  - id: echo/a\n    latency_s: {latency}\n    limits: {{concurrency: 4}}\n"
                   '    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n'
                   '  - id: echo/b\n    price: {input_per_mtok: "2.00", output_per_mtok: "9.00"}\n')  # fmt: skip
    rows = [{"id": f"s{i}", "product": f"thing {i}", "features": f"small, {'free' if i % 3 else 'new'}, number {i}",
             "copy": "c"} for i in range(24)]  # fmt: skip
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit("  temperature: 0.0\n  max_tokens: 24\n", space)
    lab.edit(ABTEST, f"plan: {planner}\n")


CONDITIONAL = (
    "  max_tokens: {choices: [2, 4, 6, 16]}\n"
    "  temperature: {low: 0.0, high: 1.0, step: 0.5}\n"
    "  top_k: {choices: [1, 2], when: {model: echo/b}}\n"
)


@pytest.mark.parametrize("sampler", ["tpe", "surrogate"])
def test_a_search_with_conditions_and_limits_is_cut_and_goes_on(lab: Lab, sampler: str) -> None:
    """The budget ends in the middle; the same command with a larger one goes on where it was."""
    echoed(lab, f"{{search: {{sampler: {sampler}, trials: 9}}}}", CONDITIONAL)
    lab.edit("plan:", 'subject_to: {contains: ">= 0.3"}\nplan:')
    whole = run(lab.folder)
    assert whole.exit_code == 0
    tried = whole.results.run.lock["variants"]
    assert len({row["id"] for row in tried}) == len(tried) == 9
    assert all(("top_k" in row["params"]) == (row["model"] == "echo/b") for row in tried)
    cost, said, n_whole = (
        sum((r.call.billed_usd for r in whole.results.records), Decimal(0)),
        told(whole),
        asked(lab, whole),
    )
    for part in ("paretoken.db", "studies.db"):
        for file in (lab.root / ".paretoken").glob(f"{part}*"):
            file.unlink()
    for share in ("0.3", "0.7"):
        lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text().replace('usd: "1.00"', "usd: CAP"))
        lab.edit("usd: CAP", f'usd: "{cost * Decimal(share):.9f}"')
        cut = run(lab.folder)
        assert (cut.exit_code, cut.ending.status) == (3, "stopped")
        assert cut.results.verdicts
        with Database(lab.database) as database:
            assert sum(SqlLedger(database, "reader").spent(cut.results.run.scope)) <= cost * Decimal(share)
        lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text().replace(
            f'usd: "{cost * Decimal(share):.9f}"', 'usd: "1.00"'))  # fmt: skip
    done = run(lab.folder)
    assert done.exit_code == 0
    assert told(done) == said
    assert asked(lab, done) == n_whole


def test_a_search_with_a_gaussian_process(lab: Lab) -> None:
    echoed(lab, "{search: {sampler: gp, trials: 3, parallel: 1}}", CONDITIONAL)
    assert run(lab.folder, limit=4).exit_code == 0


def test_calls_that_fail_in_a_search(lab: Lab) -> None:
    """A variant without any answer is told to the study as failed, and stands on no front."""
    replayed(lab, "{search: {sampler: random, trials: 6, epsilon: {human: 0.05}}}")
    stray = json.dumps({"model": "m3", "id": "another", "text": "", "in": 1, "out": 1, "human": 0.5}) + "\n"
    lab.write("answers.jsonl", replay_rows(lambda model, i: model == "m3") + stray)
    outcome = run(lab.folder)
    assert "m3" not in on_front(outcome)
    with sqlite3.connect(lab.root / ".paretoken" / "studies.db") as connection:
        states = [row[0] for row in connection.execute("SELECT state FROM trials")]
    assert states.count("COMPLETE") == 5
    assert "FAIL" in states
    assert told(run(lab.folder)) == told(outcome)


def test_a_study_shows_what_became_of_its_trials(lab: Lab) -> None:
    replayed(lab, "{search: {sampler: random, trials: 6, epsilon: {human: 0.05}, study: copies}}")
    outcome = run(lab.folder)
    import optuna

    study = optuna.load_study(study_name="copies", storage=f"sqlite:///{lab.root}/.paretoken/studies.db")
    decided, final = (
        outcome.results.run.lock["race"]["decisions"],
        study.user_attrs[f"decisions of {outcome.results.run.id}"],
    )
    for trial in study.trials:
        attrs = trial.user_attrs
        if "withdrawn" in attrs:  # it proposed what was tried before
            continue
        assert attrs["fate"] in ("open", "kept", "beaten")
        assert attrs["n"] <= decided[attrs["variant"]]["n"], "when it first rested or was decided"
        low, high = attrs["human_interval"]
        assert low <= trial.values[1] <= high
        assert ("beaten_by" in attrs) == (attrs["fate"] == "beaten")
        in_the_end = final[str(trial.number)]
        assert (in_the_end["fate"], in_the_end["n"]) == (
            decided[attrs["variant"]]["fate"],
            decided[attrs["variant"]]["n"],
        )
    study._storage._backend.engine.dispose()


def test_a_study_that_has_enough_trials_gives_another_run_nothing(lab: Lab) -> None:
    replayed(lab, "{search: {sampler: random, trials: 6, study: copies}}")
    assert run(lab.folder).exit_code == 0
    empty = run(lab.folder, fresh=True)
    assert empty.progress.made == 0
    assert empty.results.records == []
    assert empty.results.verdicts


COMMAND = [sys.executable, "-m", "paretoken", "run", "lab"]


def test_a_search_killed_at_any_moment_goes_on_as_if_it_had_not_been(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    echoed(lab, "{search: {sampler: tpe, trials: 6, study: copies}}", CONDITIONAL, latency=0.01)
    for n in (3, 50):
        process = subprocess.Popen(COMMAND, cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while len(lab.answered()) < n and process.poll() is None:
            assert time.monotonic() < until
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    before = lab.answered()
    done = run(lab.folder)
    assert (done.exit_code, done.ending.status) == (0, "finished")
    after = lab.answered()
    assert len(after) == len(set(after)) == len(before) + done.progress.made, "no answer was paid twice"

    other = type(lab)(tmp_path_factory.mktemp("uninterrupted"))
    for name in ("spec.yaml", "data.jsonl"):
        other.write(name, (lab.folder / name).read_text())
    (other.root / "pyproject.toml").touch()
    whole = run(other.folder)
    assert told(whole) == told(done)
    assert trials_of(lab.root) == trials_of(other.root)


def trials_of(root: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(root / ".paretoken" / "studies.db") as connection:
        params = connection.execute("SELECT t.number, t.state, p.param_name, p.param_value FROM trials t JOIN "
                                    "trial_params p USING (trial_id) ORDER BY 1, 3").fetchall()  # fmt: skip
        values = connection.execute("SELECT t.number, v.objective, v.value FROM trials t JOIN trial_values v "
                                    "USING (trial_id) ORDER BY 1, 2").fetchall()  # fmt: skip
    return [*params, *values]


def test_two_processes_on_one_study_share_a_cap_and_try_nothing_twice(lab: Lab) -> None:
    echoed(lab, "{search: {sampler: random, trials: 8, study: copies}}", CONDITIONAL)
    cap = Decimal("0.004")
    lab.write("../.paretoken/budgets.yaml", f'caps: [{{scope: all, usd: "{cap}"}}]\n')
    lab.edit("seed: 7", "seed: 7\ncache: {mode: 'off'}")
    pair = [subprocess.Popen([*COMMAND, "--fresh"], cwd=lab.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)]  # fmt: skip
    said = [process.communicate(timeout=120) for process in pair]
    assert {process.returncode for process in pair} <= {0, 3}, said
    with Database(lab.database) as database:
        book, ledger = RunBook(database), SqlLedger(database, "reader")
        runs = book.all()
        assert len(runs) == 2
        spent = sum(ledger.spent("all"))
        assert 0 < spent <= cap
        assert spent == sum(sum(ledger.spent(info.scope)) for info in runs)
        tried = [{row["id"] for row in info.lock["variants"]} for info in runs]  # type: ignore[attr-defined]
    assert not tried[0] & tried[1]
    assert all(tried)
    assert len(tried[0] | tried[1]) <= 8


def test_a_search_has_no_pilot(lab: Lab) -> None:
    replayed(lab, "{search: {sampler: random, trials: 6}}")
    with pytest.raises(SpecError, match=r"plan.search: a search has no pilot"):
        run(lab.folder, pilot=8)


def test_a_score_beyond_its_bounds_stops_the_race_in_one_sentence(lab: Lab) -> None:
    replayed(lab, "{race: {range: {human: [0, 0.6]}}}")
    outcome = run(lab.folder)
    assert outcome.exit_code == 5
    assert outcome.ending.status == "failed"
    assert outcome.ending.reason.startswith("human = ")
    assert "lies outside [0, 0.6], on which the race rests" in outcome.ending.reason


def test_a_moved_project_goes_on_with_its_search(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run was trying belongs to the run, wherever and on whichever machine it goes on."""
    replayed(lab, "{search: {sampler: random, trials: 6, epsilon: {human: 0.05}}}")
    lab.edit("minimize:", "concurrency: 8\nminimize:")
    whole = run(lab.folder)
    with Database(lab.database) as database:
        RunBook(database).close(whole.results.run.id, status="stopped", reason="interrupted", at="2026-01-01")
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    lab.edit("concurrency: 8", "concurrency: 64")
    again = run(lab.folder)
    assert again.results.run.id == whole.results.run.id
    assert again.progress.made == 0
    assert told(again) == told(whole), "rounds are those of the beginning, too"


def test_dollars_count_every_repeat(lab: Lab) -> None:
    replayed(lab, "race")
    lab.edit("minimize:", "repeats: 2\nminimize:")
    outcome = run(lab.folder)
    race = outcome.results.race
    assert race is not None
    assert race.saving.usd == pytest.approx(float(sum(s.list_usd_total for s in outcome.results.summaries)))
    assert race.saving.cells == len(outcome.results.table)
