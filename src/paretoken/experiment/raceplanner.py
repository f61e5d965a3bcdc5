"""The planner of a race: variants see the same samples, block by block, until they are decided."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from paretoken.analysis.estimate import Estimate
from paretoken.analysis.raceplan import interval
from paretoken.core.trials import Cell, Done, Trial, Wait
from paretoken.experiment.planners import BLOCK, by_sample, sample_means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.contest import Decision
    from paretoken.analysis.raceplan import RacePlan
    from paretoken.core.trials import Record, Variant

    Samples = Sequence[Mapping[str, float]]
    Ends = Mapping[str, tuple[float, float]]

LEAST_REST, MOST_REST = 16, 64
"""Samples after which a variant rests at least and at most: the estimates that a search goes on with."""
GROWTH = 0.25
"""Largest share by which a variant's samples grow between two decisions, where more than a block is asked at once."""


def rest_after(total: int) -> int:
    """Samples after which the undecided variants of a search rest: an eighth of all, within bounds, in whole blocks."""
    return min(max(total // 8, LEAST_REST), MOST_REST) // BLOCK * BLOCK


@dataclass(frozen=True, slots=True)
class BoardRow:
    """What is known of a variant while the race goes on.

    Attributes:
        n: Samples answered.
        kept: It is on the front so far; else it is open.
        estimates: Means with intervals that hold at every look, by name.
    """

    label: str
    n: int
    kept: bool
    estimates: Mapping[str, Estimate]


class Entrants(Protocol):
    """Where the variants of a race come from."""

    def next(self, n_open: int) -> Variant | None:
        """The next variant to be let in; None where there is none, or where it must wait.

        Args:
            n_open: Variants let in that neither rest nor are decided.
        """
        ...

    def settle(self, variant: Variant, decision: Decision | None, samples: Samples, ends: Ends) -> None:
        """Take what is known of a variant, when it is decided or rests.

        Args:
            variant: One that was let in.
            decision: Its rivals are numbered in the order in which they were let in; None where it rests undecided.
            samples: Its values by name, sample by sample in drawn order.
            ends: Least and largest value of everything that the race measures, by name.
        """
        ...

    def close(self, decisions: Mapping[int, Decision]) -> None:
        """Take what became of all in the end, by number in the order in which they were let in."""
        ...


class FixedEntrants:
    """A list of variants that all begin together."""

    def __init__(self, variants: Sequence[Variant]) -> None:
        self._variants = iter(variants)

    def next(self, n_open: int) -> Variant | None:
        """One after the other."""
        return next(self._variants, None)

    def settle(self, variant: Variant, decision: Decision | None, samples: Samples, ends: Ends) -> None:
        """Nobody waits for it."""

    def close(self, decisions: Mapping[int, Decision]) -> None:
        """Nobody waits for them."""


class RacePlanner:
    """Asks, round by round, for the next samples of every variant that its contest wants, and decides in between.

    Where variants come one after the other, they rest after a few samples if they are not decided by then, so that the
    search goes on and better ones may still come to beat them; when no more come, the race is settled on all samples.
    Rounds wait for their last record, so neither the order in which answers arrive nor a restart changes a decision:
    the same records lead to the same rounds. What is left at the end answers the samples that were held out.

    Args:
        entrants: Where variants come from.
        plan: What was declared.
        samples: Sample ids in drawn order.
        ends: Least and largest value that a variant's calls can have, by name.
        repeats: How often each sample is asked.
        seed: Seed of the order of variants.
        concurrency: Cells that may be on the way at once; small rounds are made larger as far as `GROWTH` allows.
        whole: Every variant answers all samples at once.
        rest: Samples after which a variant rests while others are still to come; None is never.
        variants: Ids of the entrants in their order, where that is known.
        label: Names a variant for the board.

    Attributes:
        findings: What is decided so far, for the run's lock: a new mapping whenever it changes.
    """

    def __init__(
        self,
        entrants: Entrants,
        plan: RacePlan,
        samples: Sequence[str],
        ends: Callable[[Variant], Mapping[str, tuple[float, float]]],
        *,
        repeats: int,
        seed: int,
        concurrency: int,
        whole: bool = False,
        rest: int | None = None,
        variants: Sequence[str] = (),
        label: Callable[[Variant], str] = lambda variant: variant.id,
    ) -> None:
        self._entrants, self._plan, self._ends_of, self._label = entrants, plan, ends, label
        self._samples, self._held_out = plan.parts(samples)
        self._contest = plan.contest(len(self._samples), variants)
        self._repeats, self._seed, self._concurrency, self._whole = repeats, seed, concurrency, whole
        self._rest = len(self._samples) if rest is None else rest
        self._variants: list[Variant] = []
        self._ends: list[list[tuple[float, float]]] = []
        self._values: dict[str, dict[str, dict[str, float]]] = {}
        self._told: set[int] = set()
        self._open = 0
        self._trials = self._schedule()
        self.findings: Mapping[str, Any] = {}

    @property
    def variants(self) -> Sequence[Variant]:
        """Those that were let in, in order."""
        return self._variants

    def ask(self) -> Trial | Wait | Done:
        """The next block; nothing while a round waits for its last record."""
        step = next(self._trials, None)
        if step is None:
            return Done(self._reason())
        if isinstance(step, Trial):
            self._open += len(step.cells)
        return step

    def tell(self, trial: Trial, records: Sequence[Record]) -> None:
        """Keep a block's values until its round is complete."""
        self._open -= len(trial.cells)
        values = self._values.setdefault(trial.variant.id, {})
        for sample, group in by_sample(records).items():
            failed = sum(record.error is not None for record in group) / len(group)
            values[sample] = {**sample_means(group), "error_rate": failed}

    def _schedule(self) -> Iterator[Trial | Wait]:
        contest, rounds = self._contest, 0
        self._let_in()
        while asked := self._active() or contest.asked:
            taken = {arm: contest.length(arm) for arm in asked}
            size = self._size(taken.values())
            yield from self._round(rounds, {a: self._samples[n : n + size] for a, n in taken.items()})
            while self._open:
                yield Wait()
            for arm, n in taken.items():
                contest.put(arm, self._read(arm, self._samples[n : n + size]))
            contest.decide()
            rounds += 1
            self._settle()
            self._let_in()
        self._entrants.close(contest.decisions)
        if self._held_out:
            yield from self._round(rounds, dict.fromkeys(contest.chosen, self._held_out))
            while self._open:
                yield Wait()

    def _active(self) -> list[int]:
        """Who is asked while variants are still to come: those that neither rest nor are decided, and their rivals.

        None if nobody is left that the others wait for: then the race is to be settled.
        """
        if all(arm in self._told for arm in self._contest.open):
            return []
        return [arm for arm in self._contest.asked if self._contest.length(arm) < self._rest]

    def _let_in(self) -> None:
        """Let in who comes next, and publish what is known by then."""
        while (variant := self._entrants.next(sum(arm not in self._told for arm in self._contest.open))) is not None:
            self._variants.append(variant)
            self._ends.append(self._plan.ends(self._ends_of(variant)))
            self._contest.add(self._ends[-1])
        if self._variants:
            self._publish()

    def _size(self, taken: Iterable[int]) -> int:
        """Samples that every variant is asked in the next round."""
        if self._whole:
            return len(self._samples)
        lengths = list(taken)
        wanted = math.ceil(self._concurrency / (len(lengths) * self._repeats))
        allowed = max(int(min(lengths) * GROWTH), BLOCK)
        return max(min(wanted, allowed) // BLOCK * BLOCK, BLOCK)

    def _round(self, number: int, asked: Mapping[int, Sequence[str]]) -> Iterator[Trial]:
        """Trials of a round, interleaved, in an order drawn for every block."""
        longest = max(map(len, asked.values()), default=0)
        for start in range(0, longest, BLOCK):
            rng = random.Random(f"round/{self._seed}/{number}/{start}")  # noqa: S311 - an order, no secret
            for arm in rng.sample(list(asked), len(asked)):
                samples = asked[arm][start : start + BLOCK]
                if samples:
                    cells = tuple(Cell(sample, k) for sample in samples for k in range(self._repeats))
                    yield Trial(self._variants[arm], cells)

    def _read(self, arm: int, samples: Sequence[str]) -> NDArray[np.float64]:
        values = self._values[self._variants[arm].id]
        return self._plan.values([values.get(sample, {}) for sample in samples], self._ends[arm])

    def _settle(self) -> None:
        """Tell what is decided or rests, each variant once."""
        contest = self._contest
        rests = [arm for arm in contest.open if contest.length(arm) >= self._rest]
        for arm in (*contest.decisions, *rests):
            if arm not in self._told:
                self._told.add(arm)
                decision, values = contest.decisions.get(arm), self._values[self._variants[arm].id]
                n = contest.length(arm) if decision is None else decision.n
                seen = [values.get(sample, {}) for sample in self._samples[:n]]
                ends = dict(zip(self._plan.names, self._ends[arm], strict=True))
                self._entrants.settle(self._variants[arm], decision, seen, ends)

    def _publish(self) -> None:
        ids = [variant.id for variant in self._variants]
        decided = {
            ids[arm]: {**asdict(decision), "by": [ids[rival] for rival in decision.by]}
            for arm, decision in self._contest.decisions.items()
        }
        self.findings = {"samples": len(self._samples), "held_out": len(self._held_out), "decisions": decided,
                         "cells": sum(map(len, self._values.values())),
                         "ends": {id_: dict(zip(self._plan.names, ends, strict=True))
                                  for id_, ends in zip(ids, self._ends, strict=True)}}  # fmt: skip

    def board(self) -> list[BoardRow]:
        """Variants that are not dropped, the cheapest first."""
        rows = []
        for arm, variant in enumerate(self._variants):
            decision = self._contest.decisions.get(arm)
            if decision is None or decision.fate == "kept":
                n = self._contest.length(arm)
                estimates = self._estimates(arm, self._samples[:n])
                rows.append(BoardRow(self._label(variant), n, decision is not None, estimates))
        return sorted(rows, key=lambda row: row.estimates["list_usd"].mean if "list_usd" in row.estimates else 0.0)

    def _estimates(self, arm: int, samples: Sequence[str]) -> dict[str, Estimate]:
        values = self._read(arm, samples) if samples else np.empty((0, 0))
        found = {}
        for name, row, ends in zip(self._plan.names, values, self._ends[arm], strict=False):
            if len(known := row[~np.isnan(row)]):
                low, high = interval(known, ends, len(self._samples)) or (None, None)
                found[name] = Estimate(float(known.mean()), low, high, len(known))
        return found

    def _reason(self) -> str:
        raced = set(self._samples)
        n_asked = sum(len(raced & set(values)) for values in self._values.values())
        n_all = len(self._variants) * len(self._samples)
        return f"every variant is decided, after {n_asked:,} of {n_all:,} cells" if n_asked < n_all else "complete"
