"""The planner of a race, driven by records made by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from paretoken.analysis.duels import Goal, Limit
from paretoken.analysis.raceplan import RacePlan
from paretoken.core.errors import ScoreError
from paretoken.core.trials import Done, Trial, Variant, Wait
from paretoken.experiment.raceplanner import FixedEntrants, RacePlanner
from records_rig import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from paretoken.analysis.contest import Decision
    from paretoken.core.trials import Record
    from paretoken.experiment.raceplanner import Ends, Entrants, Samples

VARIANTS = [Variant(f"p{i}@1", "m") for i in range(4)]
QUALITY = dict(zip((v.id for v in VARIANTS), (0.3, 0.5, 0.45, 0.8), strict=True))
USD = dict(zip((v.id for v in VARIANTS), (0.001, 0.002, 0.004, 0.008), strict=True))
SAMPLES = [f"s{i}" for i in range(60)]
FRONT = [VARIANTS[i].id for i in (0, 1, 3)]
PLAN = RacePlan(
    "race", (Goal("f1", slack=0.05), Goal("list_usd", larger_is_better=False, tolerance=0.1)),
    (Limit("error_rate", at_least=False, bound=0.5),), 0.1, 4, ranges={"f1": (0.0, 1.0), "error_rate": (0.0, 1.0)},
)  # fmt: skip


def planner(plan: RacePlan = PLAN, entrants: Entrants | None = None, **said: Any) -> RacePlanner:
    arguments = {"repeats": 1, "seed": 5, "concurrency": 64, "variants": [v.id for v in VARIANTS], **said}
    return RacePlanner(
        entrants or FixedEntrants(VARIANTS), plan, SAMPLES, lambda _: {"list_usd": (0.0, 0.01)}, **arguments
    )


def answers(trial: Trial) -> list[Record]:
    found = []
    for cell in trial.cells:
        chance = random.Random(f"{trial.variant.id}/{cell.sample}/{cell.repeat}")
        score = min(1.0, max(0.0, QUALITY[trial.variant.id] + chance.gauss(0, 0.08)))
        usd = USD[trial.variant.id] * chance.uniform(0.9, 1.1)
        failed = random.Random(f"x{cell.sample}").random() < 0.05
        found.append(
            record(cell.sample, trial.variant.id, cell.repeat, score=score, usd=None if failed else f"{usd:.9f}")
        )
    return found


@dataclass
class Drive:
    """A planner driven to its end, or to a number of trials; trials come back in an order of their own.

    Attributes:
        trials: In the order in which they were given out.
    """

    planner: RacePlanner
    seed: int = 0
    at_once: int = 6
    answers: Callable[[Trial], list[Record]] = answers
    trials: list[Trial] = field(default_factory=list)
    most: int = 10**6
    reason: str = ""

    def __post_init__(self) -> None:
        rng, flying = random.Random(self.seed), list[Trial]()
        while len(self.trials) < self.most:
            step = self.planner.ask()
            if isinstance(step, Trial):
                flying.append(step)
                self.trials.append(step)
                if len(flying) < self.at_once:
                    continue
            elif isinstance(step, Done):
                assert not flying
                self.reason = step.reason
                return
            assert flying, "it waits for nothing"
            back = flying.pop(rng.randrange(len(flying)))
            records = self.answers(back)
            rng.shuffle(records)
            self.planner.tell(back, records)

    @property
    def cells(self) -> set[tuple[str, str, int]]:
        cells = [(trial.variant.id, cell.sample, cell.repeat) for trial in self.trials for cell in trial.cells]
        assert len(set(cells)) == len(cells), "no cell is asked twice"
        return set(cells)

    @property
    def kept(self) -> list[str]:
        return [id_ for id_, body in self.planner.findings["decisions"].items() if body["fate"] == "kept"]


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_order_of_answers_within_a_round_changes_nothing(repeats: int) -> None:
    first, *others = (Drive(planner(repeats=repeats), seed, at_once) for seed, at_once in ((0, 1), (1, 4), (2, 99)))
    assert sorted(first.kept) == sorted(FRONT)
    assert first.reason.startswith("every variant is decided, after ")
    for other in others:
        assert other.trials == first.trials
        assert other.planner.findings == first.planner.findings
    assert len(first.cells) < 4 * 60 * repeats


def test_a_planner_that_begins_again_decides_the_same() -> None:
    """Whatever was answered before a kill: the same records lead to the same rounds and the same findings."""
    whole = Drive(planner())
    for most in (1, 5, 11, 23):
        Drive(planner(), most=most)
        again = Drive(planner(), seed=most)
        assert again.trials == whole.trials
        assert again.planner.findings == whole.planner.findings


def test_how_many_calls_may_fly_changes_rounds_and_not_the_front() -> None:
    for concurrency in (1, 8, 64, 1000):
        assert sorted(Drive(planner(concurrency=concurrency)).kept) == sorted(FRONT)


def test_what_is_left_answers_the_samples_held_out() -> None:
    plan = replace(PLAN, confirm=0.4)
    done = Drive(planner(plan))
    raced, held_out = plan.parts(SAMPLES)
    assert (len(raced), len(held_out)) == (36, 24)
    for variant in VARIANTS:
        asked = {sample for id_, sample, _ in done.cells if id_ == variant.id}
        assert (asked >= set(held_out)) == (variant.id in done.kept)
        assert asked & set(held_out) in (set(), set(held_out))
    assert done.planner.findings["held_out"] == 24


def test_without_racing_everything_is_asked() -> None:
    plan = replace(PLAN, races=False, kind="search")
    done = Drive(planner(plan, whole=True))
    assert len(done.cells) == 240
    assert done.reason == "complete"
    assert {body["n"] for body in done.planner.findings["decisions"].values()} == {60}


def test_a_variant_without_answers_does_not_hold_up_the_end() -> None:
    def some(trial: Trial) -> list[Record]:
        if trial.variant is not VARIANTS[1]:
            return answers(trial)
        return [record(cell.sample, trial.variant.id, cell.repeat, usd=None) for cell in trial.cells]

    done = Drive(planner(), answers=some)
    assert done.planner.findings["decisions"][VARIANTS[1].id]["fate"] == "infeasible"
    free = replace(PLAN, limits=())
    done = Drive(planner(free), answers=some)
    assert VARIANTS[1].id not in done.kept
    assert VARIANTS[3].id in done.kept


def test_a_value_outside_its_bounds_ends_the_race() -> None:
    def wild(trial: Trial) -> list[Record]:
        return [record(c.sample, trial.variant.id, c.repeat, score=1.5, usd="0.001") for c in trial.cells]

    with pytest.raises(ScoreError, match=r"f1 = 1.5 lies outside \[0, 1\]"):
        Drive(planner(), answers=wild)


class OneByOne:
    """Entrants that come two at a time, and remember what they were told."""

    def __init__(self) -> None:
        self.waiting = list(VARIANTS)
        self.told: dict[str, tuple[Decision | None, int, Mapping[str, tuple[float, float]]]] = {}
        self.end: Mapping[int, Decision] = {}

    def next(self, n_open: int) -> Variant | None:
        return self.waiting.pop(0) if self.waiting and n_open < 2 else None

    def settle(self, variant: Variant, decision: Decision | None, samples: Samples, ends: Ends) -> None:
        assert variant.id not in self.told, "once"
        self.told[variant.id] = (decision, len(samples), ends)

    def close(self, decisions: Mapping[int, Decision]) -> None:
        assert not self.end, "once"
        self.end = dict(decisions)


def test_entrants_are_told_once_what_was_first_decided() -> None:
    entrants = OneByOne()
    done = Drive(planner(entrants=entrants))
    assert list(done.planner.variants) == VARIANTS
    assert sorted(done.kept) == sorted(FRONT)
    assert set(entrants.told) == {v.id for v in VARIANTS}
    assert set(entrants.end) == set(range(len(VARIANTS)))
    for decision, n, ends in entrants.told.values():
        assert decision is not None
        assert decision.n == n
        assert ends == {"f1": (0.0, 1.0), "list_usd": (0.0, 0.01), "error_rate": (0.0, 1.0)}
    again = Drive(planner(entrants=OneByOne()), seed=9, at_once=2)
    assert again.planner.findings == done.planner.findings


def test_undecided_entrants_rest_until_no_more_come() -> None:
    entrants = OneByOne()
    done = Drive(planner(entrants=entrants, rest=16))
    rested = {id_: n for id_, (decision, n, _) in entrants.told.items() if decision is None}
    assert rested
    assert set(rested.values()) == {16}
    assert set(entrants.end) == set(range(len(VARIANTS)))
    assert sorted(done.kept) == sorted(FRONT)
    whole = Drive(planner(entrants=OneByOne()))
    assert sorted(whole.kept) == sorted(done.kept)
    again = Drive(planner(entrants=OneByOne(), rest=16), seed=3, at_once=1)
    assert again.planner.findings == done.planner.findings


def test_trials_are_interleaved_blocks_of_what_comes_next() -> None:
    """Of every variant the samples come in drawn order, without a gap."""
    done = Drive(planner())
    for variant in VARIANTS:
        asked = [cell.sample for trial in done.trials if trial.variant is variant for cell in trial.cells]
        assert asked == SAMPLES[: len(asked)]
    assert max(len(trial.cells) for trial in done.trials) <= 8
    assert [t.variant for t in done.trials[:4]] != VARIANTS, "in an order drawn for each block"


def test_the_board_shows_who_is_left() -> None:
    p = planner()
    Drive(p, most=9)
    rows = p.board()
    assert [row.label for row in rows] == [v.id for v in VARIANTS]
    for row in rows:
        for name, estimate in row.estimates.items():
            assert estimate.low is None or estimate.low <= estimate.mean <= estimate.high, name
    p = planner()
    Drive(p)
    assert sorted(row.label for row in p.board()) == sorted(FRONT)


def test_a_round_waits_for_its_last_answer() -> None:
    p = planner(concurrency=1)
    first = [p.ask() for _ in range(4)]
    assert all(isinstance(step, Trial) for step in first)
    assert isinstance(p.ask(), Wait)
    for step in first[:3]:
        p.tell(step, answers(step))  # type: ignore[arg-type]
        assert isinstance(p.ask(), Wait)
    p.tell(first[3], answers(first[3]))  # type: ignore[arg-type]
    assert isinstance(p.ask(), Trial)
    assert np.isfinite(p.board()[0].estimates["f1"].mean)
