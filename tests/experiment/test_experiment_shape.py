"""What an experiment is made of: the space, the order of trials, the identity, the forecast."""

from __future__ import annotations

import asyncio
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paretoken.core.calls import Call, Message, Request
from paretoken.core.clock import SystemClock
from paretoken.core.errors import BrokenBound, BudgetExceeded, ScoreError, SpecError
from paretoken.core.trials import Cell, Done, Record, Trial, Variant, Wait
from paretoken.experiment.api import plan, run
from paretoken.experiment.planners import BLOCK, FixedPlanner
from paretoken.experiment.resolve import load_design
from paretoken.experiment.runner import drive
from paretoken.experiment.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab
    from paretoken.experiment.design import Design

VARIANTS = [Variant(name, "echo/a") for name in "abc"]
SAMPLES = [f"s{i}" for i in range(30)]


def design_of(lab: Lab) -> Design:
    return load_design(lab.folder, SystemClock())


def schedule(*, seed: int = 1, repeats: int = 1, variants: list[Variant] = VARIANTS) -> list[Trial]:
    planner = FixedPlanner(variants, SAMPLES, repeats=repeats, seed=seed)
    trials = []
    while isinstance(step := planner.ask(), Trial):
        trials.append(step)
    assert isinstance(step, Done)
    assert isinstance(planner.ask(), Done)
    return trials


def test_every_variant_gets_every_cell_once_in_the_same_order() -> None:
    cells = {
        variant.id: [cell for trial in schedule(repeats=2) if trial.variant == variant for cell in trial.cells]
        for variant in VARIANTS
    }
    first, *others = cells.values()
    assert sorted((cell.sample, cell.repeat) for cell in first) == sorted(itertools.product(SAMPLES, (0, 1)))
    assert all(other == first for other in others)


def test_variants_are_interleaved_block_by_block() -> None:
    trials = schedule()
    blocks = [trials[i : i + len(VARIANTS)] for i in range(0, len(trials), len(VARIANTS))]
    assert len(blocks) == -(-len(SAMPLES) // BLOCK)
    for block in blocks:
        assert {trial.variant for trial in block} == set(VARIANTS)
        assert len({trial.cells for trial in block}) == 1
    assert len({tuple(trial.variant.id for trial in block) for block in blocks}) > 1, "the order of arms is drawn anew"


def test_the_order_is_the_seed_s() -> None:
    assert schedule() == schedule()
    assert schedule() != schedule(seed=2)
    assert [cell.sample for trial in schedule() for cell in trial.cells][:30] != SAMPLES


def test_one_more_variant_leaves_the_order_of_samples() -> None:
    def order(trials: list[Trial]) -> list[Cell]:
        return [cell for trial in trials if trial.variant == VARIANTS[0] for cell in trial.cells]

    assert order(schedule()) == order(schedule(variants=VARIANTS[:2]))


def test_the_space_is_every_combination(lab: Lab) -> None:
    lab.edit("max_tokens: 24", "max_tokens: {choices: [8, 16, 24]}")
    lab.edit("temperature: 0.0", "temperature: {choices: [0.0, 1]}\n  top_k: 40")
    lab.edit("  - id: echo/a", "  - {id: echo/b, price: free}\n  - id: echo/a")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    design = design_of(lab)
    assert len(design.variants) == len({v.id for v in design.variants}) == 2 * 2 * 3 * 2
    assert {(v.prompt_name, v.model, dict(v.params)["max_tokens"], dict(v.params)["temperature"])
            for v in design.variants} == set(
        itertools.product(("long", "terse"), ("echo/a", "echo/b"), (8, 16, 24), (0.0, 1)))  # fmt: skip
    assert len(set(design.labels.values())) == len(design.variants)
    assert "long|b|max_tokens=8|temperature=1" in design.labels.values()
    request = design.request(design.variants[0], Cell("s0"), "r")
    assert (request.max_tokens, request.params) == (8, (("top_k", 40),))
    assert design.n_calls == 24 * 12


def test_an_ab_test_tries_only_what_it_names(lab: Lab) -> None:
    lab.write("prompts/third.md", "# user\n{{ product }}\n")
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts]")
    lab.edit("treatment: [terse]", "treatment: [third]")
    design = design_of(lab)
    assert [v.prompt_name for v in design.variants] == ["long", "third"]
    assert design.plan["control"] == design.variants[0].id


def test_templates_never_see_the_reference(lab: Lab) -> None:
    design = design_of(lab)
    for variant in design.variants:
        for sample in design.samples.values():
            text = " ".join(m.content for m in design.request(variant, Cell(sample.id), "r").messages)
            assert sample.reference is not None
            assert sample.reference not in text


def test_repeats_are_calls_of_their_own(lab: Lab) -> None:
    design = design_of(lab)
    keys = {design.request(design.variants[0], Cell("s0", repeat), "r").key for repeat in range(3)}
    assert len(keys) == 3
    assert design.request(design.variants[0], Cell("s0", 1), "r").key in keys
    assert design.request(design.variants[0], Cell("s0", 1), "another run").key in keys


CHANGES: dict[str, Callable[[Lab], object]] = {
    "prompt": lambda lab: lab.edit("Sell {{", "Please sell {{", "prompts/terse.md"),
    "data": lambda lab: lab.edit('"product": "mug"', '"product": "cup"', "data.jsonl"),
    "reference": lambda lab: lab.edit("A small mug", "A big mug", "data.jsonl"),
    "seed": lambda lab: lab.edit("seed: 7", "seed: 8"),
    "price": lambda lab: lab.edit('output_per_mtok: "4.00"', 'output_per_mtok: "4.01"'),
    "parameter": lambda lab: lab.edit("max_tokens: 24", "max_tokens: 25"),
    "model": lambda lab: lab.edit("echo/a", "echo/b"),
    "scorer": lambda lab: lab.edit("max_chars: 90", "max_chars: 91"),
    "objective": lambda lab: lab.edit("minimize: [list_usd]", "minimize: [output_tokens]"),
    "margin": lambda lab: lab.edit("    treatment: [terse]", "    treatment: [terse]\n    margin: {contains: 0.1}"),
    "repeats": lambda lab: lab.edit("seed: 7", "seed: 7\nrepeats: 2"),
    "take": lambda lab: lab.edit("path: data.jsonl", "path: data.jsonl, take: 5"),
    "order of the samples": lambda lab: lab.write(
        "data.jsonl", "".join(reversed((lab.folder / "data.jsonl").read_text().splitlines(keepends=True)))),
}  # fmt: skip
NO_CHANGES: dict[str, Callable[[Lab], object]] = {
    "budget": lambda lab: lab.edit('usd: "1.00"', 'usd: "2.00"'),
    "no budget": lambda lab: lab.edit('budget: {usd: "1.00"}\n', ""),
    "tags": lambda lab: lab.edit("seed: 7", "seed: 7\ntags: {department: content}"),
    "track": lambda lab: lab.edit("seed: 7", 'seed: 7\ntrack: {mlflow: "sqlite:///x.db"}'),
    "question": lambda lab: lab.edit("Is the terse prompt cheaper?", "Which one?"),
    "concurrency": lambda lab: lab.edit("seed: 7", "seed: 7\nconcurrency: 3"),
    "comment": lambda lab: lab.edit("seed: 7", "seed: 7  # a lucky one"),
    "order of keys": lambda lab: (lab.edit("seed: 7\n", ""), lab.edit("models:", "seed: 7\nmodels:")),
    "name of a file": lambda lab: (
        lab.write("rows.jsonl", (lab.folder / "data.jsonl").read_text()), lab.edit("data.jsonl", "rows.jsonl"),
        lab.write("prompts/l.md", (lab.folder / "prompts/long.md").read_text()), lab.edit("long.md", "l.md")),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_the_identity_changes_with(change: str, lab: Lab) -> None:
    before = design_of(lab).identity
    CHANGES[change](lab)
    assert design_of(lab).identity != before


@pytest.mark.parametrize("change", NO_CHANGES)
def test_the_identity_does_not_change_with(change: str, lab: Lab) -> None:
    before = design_of(lab).identity
    NO_CHANGES[change](lab)
    assert design_of(lab).identity == before


def test_the_identity_moves_with_its_folder(lab: Lab) -> None:
    before = design_of(lab).identity
    lab.folder = lab.folder.rename(lab.root / "elsewhere")
    assert design_of(lab).identity == before


def test_the_lock_is_plain_json(lab: Lab) -> None:
    lock = design_of(lab).lock
    assert json.loads(json.dumps(lock)) == lock
    assert lock["models"]["echo/a"]["price"]["rates"]["input_per_mtok"] == "1.00"


@pytest.mark.parametrize("max_tokens", [1, 5, 24, 200])
def test_the_forecast_holds(max_tokens: int, lab: Lab) -> None:
    lab.edit("max_tokens: 24", f"max_tokens: {max_tokens}")
    _, forecast = plan(lab.folder)
    outcome = run(lab.folder)
    for expected, summary in zip(forecast.variants, outcome.results.summaries, strict=True):
        assert expected.low_usd <= summary.list_usd_total <= expected.high_usd <= expected.certain_usd
        assert expected.calls == summary.n
    assert forecast.total("input_tokens") == sum(
        record.call.response.usage.input_tokens for record in outcome.results.records if record.call.response
    )
    _, after = plan(lab.folder)
    assert (after.total("cached"), after.total("high_usd")) == (24, Decimal(0))


def test_the_forecast_judges_the_budget(lab: Lab) -> None:
    words = []
    _, first = plan(lab.folder)
    low, high, certain = (first.total(f"{name}_usd") for name in ("low", "high", "certain"))
    for usd in (certain, high, low, low / 2):
        lab.edit(lab_budget(lab), f'budget: {{usd: "{usd:f}"}}')
        words.append(plan(lab.folder)[1].verdict)
    assert [word.split(" ")[0] for word in words] == ["fits", "expected", "may", "cannot"]
    lab.edit(lab_budget(lab) + "\n", "")
    assert "no budget" in plan(lab.folder)[1].verdict


def lab_budget(lab: Lab) -> str:
    return next(line for line in (lab.folder / "spec.yaml").read_text().splitlines() if line.startswith("budget"))


def test_the_forecast_does_not_count_on_answers_that_are_not_kept(lab: Lab) -> None:
    run(lab.folder)
    lab.edit("seed: 7", "seed: 7\nstore: {content: none}")
    assert plan(lab.folder)[1].total("cached") == 24, "the run is finished"
    lab.edit("max_chars: 90", "max_chars: 91")
    assert plan(lab.folder)[1].total("cached") == 0
    outcome = run(lab.folder, fresh=True)
    assert outcome.progress.hits == 0


def test_lines_of_a_source(lab: Lab) -> None:
    source = Source(lab.folder)
    assert source.line(["models", 0, "price", "output_per_mtok"]) == lab.line("output_per_mtok")
    assert source.line(["models", 0, "nothing"]) == lab.line("id: echo/a")
    assert source.line(["scorers", 1]) == lab.line("max_chars: 90")
    assert source.line([]) == 1
    assert source.data["models"][0]["price"]["input_per_mtok"] == "1.00"
    error = source.error("wrong.", "models", 0, "id", fix="Right it.")
    assert isinstance(error, SpecError)
    assert str(error) == f"{lab.folder / 'spec.yaml'}:7: models[0].id: wrong. Right it."


class Scripted:
    """A planner that gives a list of steps and notes what it is told."""

    def __init__(self, *steps: Trial | Wait) -> None:
        self.steps, self.told = list(steps), list[Trial]()

    def ask(self) -> Trial | Wait | Done:
        if self.steps and isinstance(self.steps[0], Wait) and not self.told:
            return Wait()
        while self.steps and isinstance(self.steps[0], Wait):
            self.steps.pop(0)
        return self.steps.pop(0) if self.steps else Done("asked everything")

    def tell(self, trial: Trial, records: object) -> None:
        self.told.append(trial)


def trial_of(name: str, n: int = 4) -> Trial:
    return Trial(Variant(name, "echo/a"), tuple(Cell(f"{name}{i}") for i in range(n)))


def drive_with(planner: Scripted, fail: dict[str, Exception], window: int = 8) -> tuple[object, list[str], list[str]]:
    """The ending, the trials started and the trials completed."""
    started: list[str] = []
    completed: list[str] = []

    async def execute(trial: Trial) -> list[Record]:
        started.append(trial.variant.prompt)
        for _ in range(1 if trial.variant.prompt in fail else 3):
            await asyncio.sleep(0)
        if trial.variant.prompt in fail:
            raise fail[trial.variant.prompt]
        request = Request("echo/a", (Message("user", "x"),), 1)
        return [
            Record(cell.sample, trial.variant.id, 0, Call(request, SystemClock().now()), {}) for cell in trial.cells
        ]

    async def main() -> object:
        return await drive(planner, execute, window, lambda trial, _: completed.append(trial.variant.prompt))

    return asyncio.run(main()), started, completed


def budget_error() -> BudgetExceeded:
    one = Decimal(1)
    return BudgetExceeded(scope="run:x", limit_usd=one, spent_usd=one, held_usd=Decimal(0), needed_usd=one)


def test_drive_keeps_to_its_window_and_tells_everything() -> None:
    planner = Scripted(*(trial_of(name) for name in "abcde"))
    ending, started, completed = drive_with(planner, {})
    assert (ending.status, ending.reason, ending.error) == ("finished", "asked everything", None)
    assert sorted(completed) == started == list("abcde")
    assert [trial.variant.prompt for trial in planner.told] == completed


def test_drive_waits_for_what_the_planner_needs() -> None:
    planner = Scripted(trial_of("a"), Wait(), trial_of("b"))
    ending, started, completed = drive_with(planner, {}, window=100)
    assert ending.status == "finished"
    assert started == completed == ["a", "b"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [(budget_error(), "stopped"), (BrokenBound("too dear"), "stopped"), (ScoreError("no score"), "failed")],
)
def test_drive_starts_nothing_more_and_lets_what_flies_land(failure: Exception, status: str) -> None:
    planner = Scripted(*(trial_of(name) for name in "abcde"))
    ending, started, completed = drive_with(planner, {"a": failure})
    assert (ending.status, ending.error) == (status, failure)
    assert started == ["a", "b"]
    assert completed == ["b"], "paid answers in flight are not thrown away"


def test_a_failed_score_outweighs_a_reached_budget() -> None:
    planner = Scripted(trial_of("a"), trial_of("b"))
    ending, *_ = drive_with(planner, {"a": budget_error(), "b": ScoreError("no score")})
    assert isinstance(ending.error, ScoreError)


def test_a_defect_is_not_swallowed() -> None:
    with pytest.raises(KeyError, match="a defect"):
        drive_with(Scripted(trial_of("a"), trial_of("b")), {"a": KeyError("a defect")})


def test_paths_are_relative_to_the_spec(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    here = design_of(lab)
    monkeypatch.chdir(lab.folder / "prompts")
    there = load_design(Path("..") / "spec.yaml", SystemClock())
    assert there.identity == here.identity
    assert there.root == here.root
    assert there.lock["spec"]["path"] == here.lock["spec"]["path"]
