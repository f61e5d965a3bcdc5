"""The planner of an A/B test that decides for itself when it has seen enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from paretoken.core.trials import Done, Trial, Wait
from paretoken.experiment.planners import BLOCK, blocks, by_sample, sample_means

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.abtest import AbTest
    from paretoken.analysis.panel import Panel
    from paretoken.core.trials import Record, Variant

LOOK_AFTER = 0.02
"""Growth of the sample after which a test is looked at again."""


class AbPlanner:
    """Runs an A/B test that ends by itself: when every question is answered or futile, or its winner is confirmed.

    Treatments that need no further samples leave; the control stays as long as one is left. With samples held out,
    the winner among the others, if there is one, is put to them beside the control.

    Args:
        variants: Control and treatments.
        panel: The planned samples in drawn order, nothing known of them yet.
        test: What is asked.
        repeats: How often each sample is asked.
        seed: Seed of the order of variants.
        ahead: Cells that may be under way before their predecessors are looked at.
    """

    def __init__(
        self, variants: Sequence[Variant], panel: Panel, test: AbTest, *, repeats: int, seed: int, ahead: int
    ) -> None:
        self.variants = list(variants)
        self.findings: Mapping[str, object] = {}
        self._variants = {variant.id: variant for variant in variants}
        self._panel, self._test, self._repeats, self._seed = panel, test, repeats, seed
        self._ahead = ahead
        self._row = {id_: i for i, id_ in enumerate(panel.variants)}
        self._column = {id_: i for i, id_ in enumerate(panel.samples)}
        self._asked: NDArray[np.bool_] = panel.asked.copy()
        self._values = {name: rows.copy() for name, rows in panel.values.items()}
        self._trials = self._schedule()
        self._open = 0
        self._looked = 0
        self._reason = "complete"

    def ask(self) -> Trial | Wait | Done:
        """The next block; nothing while those under way may settle the test."""
        step = next(self._trials, None)
        if step is None:
            return Done(self._reason)
        if isinstance(step, Trial):
            self._open += len(step.cells)
        return step

    def tell(self, trial: Trial, records: Sequence[Record]) -> None:
        """Take a block's values."""
        self._open -= len(trial.cells)
        row = self._row[trial.variant.id]
        for sample, group in by_sample(records).items():
            column = self._column[sample]
            self._asked[row, column] = len(group) >= self._repeats
            for name, value in sample_means(group).items():
                rows = self._values.setdefault(name, np.full(self._asked.shape, np.nan))
                rows[row, column] = value

    @property
    def panel(self) -> Panel:
        """What is known by now."""
        return replace(self._panel, asked=self._asked, values=self._values)

    def _schedule(self) -> Iterator[Trial | Wait]:
        test = self._test
        selection, held_out = test.parts(self._panel)
        yield from self._phase(selection.samples, test)
        if held_out is None:
            return
        while self._open:
            yield Wait()
        compared = test.compare(test.parts(self.panel)[0], n_units=self._panel.n_units)
        winner = test.winner(compared)
        if winner is None:
            self._reason = "no treatment was shown to be cheaper and not worse, so there is none to confirm"
            return
        yield from self._phase(held_out.samples, replace(test, treatments=(winner,)))

    def _phase(self, samples: Sequence[str], test: AbTest) -> Iterator[Trial | Wait]:
        """Blocks of some samples for the control and the treatments still open."""
        left = dict.fromkeys(test.treatments, "")
        chosen = np.isin(self._panel.samples, samples)
        self._looked, self._reason = 0, "complete"
        for start in range(0, len(samples), BLOCK):
            while test.continuous and self._open >= self._ahead:
                yield Wait()
            if test.continuous:
                self._look(test, chosen, left)
            open_ = [t for t, why in left.items() if not why]
            if not open_:
                break
            yield from blocks(
                samples, [self._variants[id_] for id_ in (test.control, *open_)], self._repeats, self._seed, start
            )
        if all(left.values()):
            seen = self.panel.only(chosen).whole(test.control)
            self._reason = f"{_why(left, test.labels)}, after {seen} of {len(samples)} samples"

    def _look(self, test: AbTest, chosen: NDArray[np.bool_], left: dict[str, str]) -> None:
        panel = self.panel.only(chosen)
        open_ = [t for t, why in left.items() if not why]
        n = panel.whole(test.control, *open_) if open_ else 0
        if n >= max(self._looked + 1, round(self._looked * (1 + LOOK_AFTER))):
            self._looked = n
            left.update(test.look(panel, self._panel.n_units))


def _why(left: Mapping[str, str], labels: Mapping[str, str]) -> str:
    futile = [id_ for id_, why in left.items() if why == "futile"]
    if not futile:
        return "every question is answered"
    names = ", ".join(labels[id_] for id_ in futile)
    rest = "; every other question is answered" if len(futile) < len(left) else ""
    return f"futile: the samples left would hardly settle what is open on {names}{rest}"
