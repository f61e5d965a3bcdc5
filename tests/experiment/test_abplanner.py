"""The planner of an A/B test, driven by records made by hand."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis.abtest import AbTest
from paretoken.analysis.panel import empty_panel, tabulate
from paretoken.core.trials import Done, Trial, Variant, Wait
from paretoken.experiment.abplanner import AbPlanner
from records_rig import record, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.analysis.panel import Panel
    from paretoken.core.trials import Record

BIG, SMALL, POOR, SAME = (Variant(f"{name}@1", "m") for name in ("big", "small", "poor", "same"))
RANGES = {v.id: {"f1": (0.0, 1.0), "list_usd": (0.0, 0.01)} for v in (BIG, SMALL, POOR, SAME)}
AHEAD = 32


def panel_of(n: int, treatments: tuple[Variant, ...], clusters: Mapping[str, str] | None = None) -> Panel:
    return empty_panel([v.id for v in (BIG, *treatments)], [f"s{i}" for i in range(n)], 5, clusters)


def planner_of(panel: Panel, *treatments: Variant, repeats: int = 1, **changes: Any) -> tuple[AbPlanner, AbTest]:
    arms = (BIG, *treatments)
    test = AbTest(
        BIG.id, tuple(v.id for v in treatments), {v.id: v.prompt_name for v in arms}, ("f1",),
        **{"margins": {"f1": 0.1}, "mode": "continuous", "ranges": RANGES} | changes,
    )  # fmt: skip
    return AbPlanner(arms, panel, test, repeats=repeats, seed=5, ahead=AHEAD), test


def answers(trial: Trial) -> list[Record]:
    """`small` is as good as `big` at a fifth of the cost, `poor` is bad, `same` is like `big`; one in 50 fails."""
    found = []
    for cell in trial.cells:
        ease = random.Random(cell.sample).uniform(0.4, 0.9)
        chance = random.Random(f"{trial.variant.id}/{cell.sample}/{cell.repeat}")
        score = min(1.0, max(0.0, ease + chance.gauss(0, 0.08) - 0.3 * (trial.variant is POOR)))
        usd = chance.uniform(0.004, 0.006) * (0.2 if trial.variant is SMALL else 1.0)
        failed = random.Random(f"x{cell.sample}").random() < 0.02
        found.append(
            record(cell.sample, trial.variant.id, cell.repeat, score=score, usd=None if failed else f"{usd:.9f}")
        )
    return found


@dataclass
class Drive:
    """A planner driven to its end; trials come back in random order.

    Attributes:
        trials: In the order in which they were given out.
        told: With their records, in the order in which these came back.
    """

    planner: AbPlanner
    seed: int = 0
    at_once: int = 8
    trials: list[Trial] = field(default_factory=list)
    told: list[tuple[Trial, list[Record]]] = field(default_factory=list)
    reason: str = ""

    def __post_init__(self) -> None:
        rng, flying = random.Random(self.seed), list[Trial]()
        while True:
            step = self.planner.ask()
            if isinstance(step, Trial):
                flying.append(step)
                self.trials.append(step)
                if len(flying) < self.at_once:
                    continue
            elif isinstance(step, Done) and not flying:
                self.reason = step.reason
                return
            assert flying, "it waits for nothing"
            back = flying.pop(rng.randrange(len(flying)))
            self.told.append((back, answers(back)))
            self.planner.tell(*self.told[-1])

    def samples(self, variant: Variant) -> list[str]:
        return list(dict.fromkeys(c.sample for trial in self.trials if trial.variant is variant for c in trial.cells))


def test_it_stops_when_every_question_is_answered() -> None:
    panel = panel_of(400, (SMALL,))
    done = Drive(planner_of(panel, SMALL)[0])
    n = len(done.samples(BIG))
    assert n < 200
    assert done.reason.startswith("every question is answered, after ")
    assert done.reason.endswith(" of 400 samples")
    assert done.samples(BIG) == done.samples(SMALL) == list(panel.samples[:n])


def test_it_gives_up_what_the_samples_left_would_hardly_settle() -> None:
    done = Drive(planner_of(panel_of(400, (SAME,)), SAME, margins={})[0])
    assert done.reason.startswith("futile: the samples left would hardly settle what is open on same, after ")
    assert len(done.samples(BIG)) < 400


def test_the_cost_of_free_models_keeps_nothing_going() -> None:
    free = {v.id: {"f1": (0.0, 1.0), "list_usd": (0.0, 0.0)} for v in (BIG, POOR)}
    planner, _ = planner_of(panel_of(400, (POOR,)), POOR, ranges=free)
    while isinstance(step := planner.ask(), Trial):
        scores = [0.5 if r.error else r.scores["f1"].value for r in answers(step)]
        planner.tell(step, [
            record(cell.sample, step.variant.id, score=score, usd="0")
            for cell, score in zip(step.cells, scores, strict=True)
        ])  # fmt: skip
    assert isinstance(step, Done)
    assert step.reason.startswith("futile: ")
    assert planner.panel.whole(BIG.id, POOR.id) < 200


def test_a_declared_size_is_used_in_full() -> None:
    done = Drive(planner_of(panel_of(60, (SMALL,)), SMALL, mode="fixed", confirm=0.5)[0])
    assert (len(done.samples(BIG)), done.reason) == (60, "complete")


def test_it_waits_while_blocks_under_way_may_settle_the_test() -> None:
    planner, _ = planner_of(panel_of(400, (SMALL,)), SMALL)
    trials = [planner.ask() for _ in range(4)]
    assert all(isinstance(trial, Trial) for trial in trials)
    assert [planner.ask(), planner.ask()] == [Wait(), Wait()]
    first = trials[0]
    assert isinstance(first, Trial)
    planner.tell(first, answers(first))
    assert isinstance(planner.ask(), Trial)


@pytest.mark.parametrize("seed", range(3))
def test_a_settled_treatment_leaves_and_the_control_stays(seed: int) -> None:
    done = Drive(planner_of(panel_of(400, (POOR, SAME)), POOR, SAME, margins={"f1": 0.03})[0], seed)
    poor, same, big = (done.samples(v) for v in (POOR, SAME, BIG))
    assert len(poor) < len(same)
    assert big == same
    assert poor == big[: len(poor)]


def test_the_winner_alone_is_confirmed_on_samples_held_out() -> None:
    panel = panel_of(200, (SMALL, POOR))
    planner, test = planner_of(panel, SMALL, POOR, mode="fixed", confirm=0.3)
    done = Drive(planner)
    selection, held_out = test.parts(panel)
    assert held_out is not None
    assert done.samples(POOR) == list(selection.samples)
    assert done.samples(BIG) == done.samples(SMALL) == [*selection.samples, *held_out.samples]
    compared, confirmed = test.result(planner.panel)
    assert [c.verdict for c in compared] == ["cheaper, not worse", "worse"]
    assert confirmed is not None
    assert (confirmed.part, confirmed.verdict) == ("held out", "cheaper, not worse")


def test_no_winner_is_chosen_before_all_of_the_selection_is_told() -> None:
    planner, _ = planner_of(panel_of(40, (SMALL,)), SMALL, mode="fixed", confirm=0.5)
    trials = [planner.ask() for _ in range(6)]  # 20 samples of two variants, eight at a time
    assert planner.ask() == Wait()
    for trial in trials:
        assert isinstance(trial, Trial)
        assert isinstance(planner.ask(), Wait)
        planner.tell(trial, answers(trial))
    assert isinstance(planner.ask(), Trial)


def test_without_a_winner_nothing_is_confirmed() -> None:
    panel = panel_of(200, (POOR,))
    planner, test = planner_of(panel, POOR, mode="fixed", confirm=0.3)
    done = Drive(planner)
    assert done.reason == "no treatment was shown to be cheaper and not worse, so there is none to confirm"
    assert done.samples(BIG) == list(test.parts(panel)[0].samples)


def test_the_end_of_a_confirmation_is_its_own() -> None:
    panel = panel_of(300, (SMALL,))
    done = Drive(planner_of(panel, SMALL, confirm=0.05)[0])
    assert done.reason == "complete"  # of 15 samples too few for an answer, though the selection had one
    assert len(done.samples(BIG)) < 300


CLUSTERS = {f"s{i}": f"page{i // 4}" for i in range(80)}


def test_samples_are_asked_in_drawn_order_cluster_by_cluster() -> None:
    panel = panel_of(80, (SMALL,), CLUSTERS)
    done = Drive(planner_of(panel, SMALL, mode="fixed", confirm=0.3)[0])
    asked = done.samples(BIG)
    assert asked == list(panel.samples)
    pages = [CLUSTERS[id_] for id_ in asked]
    assert sum(a != b for a, b in itertools.pairwise(pages)) == 19
    selected = set(pages[: round(0.7 * 80)])
    assert not selected & set(pages[round(0.7 * 80) :])  # a cluster is held out whole or not at all


@given(arrivals=st.integers(0, 10_000), clustered=st.booleans(), n=st.integers(1, 14))
@settings(max_examples=25)
def test_the_order_of_arrival_changes_nothing(arrivals: int, clustered: bool, n: int) -> None:
    panel = panel_of(80, (SMALL, POOR), CLUSTERS if clustered else None)
    planner, test = planner_of(panel, SMALL, POOR, repeats=2)
    trials = [trial for trial in (planner.ask() for _ in range(n)) if isinstance(trial, Trial)]
    told = [(trial, answers(trial)) for trial in trials]
    rng = random.Random(arrivals)
    panels = []
    for _ in range(2):
        again, _ = planner_of(panel, SMALL, POOR, repeats=2)
        for trial, records in told:
            again.tell(trial, rng.sample(records, len(records)))
        panels.append(again.panel)
        rng.shuffle(told)
    table = table_of(r for _, records in told for r in records)
    read = tabulate(table, panel.samples, panel.cluster, 2)
    rows = [panel.variants.index(id_) for id_ in read.variants]
    for known in panels:
        assert np.array_equal(known.asked, panels[0].asked)
        assert np.array_equal(known.asked[rows], read.asked)
        for name in known.values:
            assert np.array_equal(known.values[name], panels[0].values[name], equal_nan=True)
            assert np.allclose(known.values[name][rows], read.values[name], rtol=1e-12, equal_nan=True)
        assert test.look(known) == test.look(panels[0])
