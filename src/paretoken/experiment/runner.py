"""The only loop of the house: asks the planner, lets the engine answer, tells the planner."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from paretoken.core.errors import BrokenBound, BudgetExceeded, ParetokenError
from paretoken.core.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from paretoken.core.calls import Response
    from paretoken.core.protocols import Planner
    from paretoken.core.trials import Record
    from paretoken.experiment.raceplanner import BoardRow

PRECEDENCE = (2, 5, 4, 3, 1)
"""Exit codes, the one that says most first: which of several errors a run ends with."""

Status = Literal["finished", "stopped", "failed"]


@dataclass(slots=True)
class Judged:
    """Calls of judges.

    Attributes:
        made: Calls made now.
        hits: Of those made now, how many the cache answered.
        failed: Of those made now, how many failed.
        billed_usd: Spent on them now [USD].
        spent_usd: Spent on them by the whole run [USD].
    """

    made: int = 0
    hits: int = 0
    failed: int = 0
    billed_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: Calls of the whole run.
        done: Calls that have their answer or their error, those of earlier parts of the run too.
        made: Calls made now.
        hits: Of those made now, how many the cache answered.
        failed: Of those made now, how many failed.
        billed_usd: Spent now, judges included [USD].
        spent_usd: Spent by the whole run, in earlier parts too and on calls whose outcome is unknown [USD].
        limit_usd: The run's cap, if there is one [USD].
        judges: Calls of judges, which are none of the above but in the money.
        unanswered: Calls that were sent now and have neither answer nor error: the run stopped before.
        waiting: What is waited for, in words; empty while calls go out.
        cautions: What is done otherwise than the spec says, in words; endpoints may add to it.
        run: The run's id, once it is known.
        board: Gives what a race knows of the variants that are left; None for other plans.
    """

    total: int
    done: int = 0
    made: int = 0
    hits: int = 0
    failed: int = 0
    billed_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    limit_usd: Decimal | None = None
    judges: Judged = field(default_factory=Judged)
    board: Callable[[], list[BoardRow]] | None = None
    unanswered: int = 0
    waiting: str = ""
    cautions: list[str] = field(default_factory=list)
    run: str = ""

    @property
    def sent(self) -> int:
        """Calls sent now, those without an answer too."""
        return self.made - self.hits + self.unanswered

    def count(self, record: Record) -> None:
        """Take the outcome of one call."""
        self.done += 1
        self.made += 1
        self.waiting = ""
        self.failed += record.error is not None
        self.billed_usd += record.call.billed_usd
        self.spent_usd += record.call.billed_usd
        self.hits += record.call.response is not None and record.call.response.from_cache

    def count_judged(self, response: Response | None, usd: Decimal) -> None:
        """Take the outcome of one call of a judge."""
        self.judges.made += 1
        self.judges.failed += response is None
        self.judges.hits += response is not None and response.from_cache
        self.judges.billed_usd += usd
        self.judges.spent_usd += usd
        self.billed_usd += usd
        self.spent_usd += usd


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, with the error that stopped it."""

    status: Status
    reason: str
    error: ParetokenError | None = None


async def drive(
    planner: Planner,
    execute: Callable[[Trial], Awaitable[list[Record]]],
    window: int,
    on_trial: Callable[[Trial, list[Record]], None],
) -> Ending:
    """Run trials until the planner is done or something forbids to go on.

    Args:
        planner: Decides what is tried.
        execute: Calls and scores one trial.
        window: Cells in flight at most, rounded up to whole trials.
        on_trial: Called with every complete trial.

    Returns:
        The ending. When money runs out or a trial fails, no further trial starts; those in flight are completed as
        far as they were paid, so that no answer is lost.
    """
    flying: dict[asyncio.Task[list[Record]], Trial] = {}
    stopped: ParetokenError | None = None
    reason = ""
    try:
        while True:
            while stopped is None and sum(len(trial.cells) for trial in flying.values()) < window:
                try:
                    step = planner.ask()
                except ParetokenError as error:
                    stopped = error
                    break
                if not isinstance(step, Trial):
                    reason = getattr(step, "reason", "")
                    break
                flying[asyncio.ensure_future(execute(step))] = step
            if not flying:
                break
            landed, _ = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            for task in landed:
                trial = flying.pop(task)
                try:
                    records = task.result()
                    planner.tell(trial, records)
                except ParetokenError as error:
                    if stopped is None or _rank(error) < _rank(stopped):
                        stopped = error
                else:
                    on_trial(trial, records)
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
    if stopped is not None:
        status: Status = "stopped" if isinstance(stopped, (BudgetExceeded, BrokenBound)) else "failed"
        return Ending(status, str(stopped), stopped)
    return Ending("finished", reason)


def _rank(error: ParetokenError) -> int:
    return PRECEDENCE.index(error.exit_code)
