"""What a race may save, before anything is spent: bounds, and what recorded answers let expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from paretoken.experiment.design import RACING
from paretoken.experiment.planners import BLOCK
from paretoken.records import Database, RunBook, database_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from paretoken.analysis.raceplan import RacePlan
    from paretoken.analysis.results import Results
    from paretoken.experiment.design import Design
    from paretoken.experiment.forecast import Forecast

MIN_RECORDED = 16
"""Samples that variants must have in common before a race among them is rehearsed."""
MOST_CELLS = 200_000
"""Cells of all rehearsals together."""
MOST_REHEARSALS = 20


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Races among recorded variants, on samples drawn from their recorded ones.

    Attributes:
        variants: How many of the planned variants are recorded.
        samples: Recorded samples that they have in common.
        share: Median, 5 % and 95 % quantile of the share of the cost that was asked.
        settled: Mean share of the variants that were decided when the money ran out; 1 without a budget.
    """

    variants: int
    samples: int
    share: tuple[float, float, float]
    settled: float


@dataclass(frozen=True, slots=True)
class RaceOutlook:
    """What a race will cost.

    Attributes:
        least_usd: If everything is settled after the first block of every variant [USD].
        most_usd: Without racing: every variant answers every sample [USD].
        affordable: Samples a variant that the money pays for if none is dropped; None without a budget.
        planned: Samples a variant.
        rehearsal: What recorded answers let expect; None where too few are recorded.
    """

    least_usd: float
    most_usd: float
    affordable: int | None
    planned: int
    rehearsal: Rehearsal | None

    @property
    def verdict(self) -> str:
        """Whether the money will settle the question, in words; empty where it surely pays for everything."""
        if self.affordable is None or self.affordable >= self.planned:
            return ""
        pays = f"the budget pays for {self.affordable} of {self.planned} samples a variant if none is dropped"
        if self.rehearsal is None:
            return f"{pays}; whether that settles the race is unknown: too few recorded answers"
        settled = self.rehearsal.settled
        if settled > 0.95:
            return f"{pays}; by the recorded answers that will settle it"
        return (
            f"{pays}; by the recorded answers it will decide about {100 * settled:.0f} % of the variants and leave the "
            "others undecided: raise the budget, epsilon or tolerance"
        )


def race_outlook(design: Design, forecast: Forecast) -> RaceOutlook | None:
    """What racing may save; None for plans that do not race.

    Args:
        design: The experiment.
        forecast: Its cost without racing.
    """
    if design.plan["kind"] not in RACING or not design.plan.get("race", True):
        return None
    from paretoken.analysis.raceplan import RacePlan

    plan = RacePlan.of(design.lock)
    planned = len(plan.parts(list(design.samples))[0])
    found = forecast.predicted
    raced = planned / len(design.samples)
    most_usd = raced * (float(forecast.total("high_usd")) if found is None else found.expected)
    left_usd = min((float(room.left_usd) for room in forecast.rooms), default=None)
    share = None if left_usd is None or not most_usd else left_usd / most_usd
    file = database_path(design.root)
    rehearsal = None
    if file.is_file():
        with Database(file) as database:
            rehearsal = _rehearse(design, plan, planned, share, database)
    return RaceOutlook(
        least_usd=most_usd * min(BLOCK / planned, 1.0),
        most_usd=most_usd,
        affordable=None if share is None else int(min(share, 1.0) * planned),
        planned=planned,
        rehearsal=rehearsal,
    )


def _rehearse(
    design: Design, plan: RacePlan, planned: int, share: float | None, database: Database
) -> Rehearsal | None:
    """Rehearse on the latest run that recorded most of the variants."""
    from paretoken.analysis.results import Results

    best: tuple[int, int, list[str], NDArray[Any]] | None = None
    wanted = {variant.id: variant for variant in design.variants}
    for run in reversed(RunBook(database).all()):
        rows = cast("list[dict[str, Any]]", run.lock["variants"])
        known = [row["id"] for row in rows if row["id"] in wanted]
        same = run.lock["dataset"] == design.lock["dataset"]
        if same and len(known) > (best[0] if best else 1) and plan.reference in (*known, ""):
            values = _recorded(Results.load(database, run.id), plan, known)
            if values.shape[1] >= MIN_RECORDED and values.shape[0] > 1:
                best = values.shape[0], values.shape[1], known, values
    if best is None:
        return None
    n_variants, n_samples, known, values = best
    n = max(min(MOST_REHEARSALS, MOST_CELLS // (n_variants * planned)), 3)
    runs = [_race(design, plan, known, values, planned, share, k) for k in range(n)]
    import numpy as np

    low, middle, high = np.quantile([asked for asked, _ in runs], [0.05, 0.5, 0.95])
    settled = float(np.mean([decided for _, decided in runs]))
    return Rehearsal(n_variants, n_samples, (float(middle), float(low), float(high)), settled)


def _recorded(results: Results, plan: RacePlan, known: Sequence[str]) -> NDArray[Any]:
    """Recorded values of variants on the samples that all have answered, shape `(n_variants, n_samples, n_names)`."""
    import numpy as np

    from paretoken.analysis.raceplan import ERROR_RATE

    panel = results.panel
    if not set(known) <= set(panel.variants):
        return np.empty((0, 0, 0))
    if not set(plan.names) <= {*panel.values, ERROR_RATE}:
        return np.empty((0, 0, 0))
    rows = [panel.variants.index(id_) for id_ in known]
    answered = np.where(np.isnan(panel.values["list_usd"][rows]), 1.0, 0.0)
    columns = [answered if name == ERROR_RATE else panel.values[name][rows] for name in plan.names]
    values = np.stack(columns, axis=2)
    return np.asarray(values[:, ~np.isnan(values).any(axis=(0, 2))])


def _race(
    design: Design,
    plan: RacePlan,
    known: Sequence[str],
    values: NDArray[Any],
    planned: int,
    share: float | None,
    seed: int,
) -> tuple[float, float]:
    """One race on samples drawn with replacement: the share of the cost asked, and of variants decided in time."""
    import numpy as np

    rng = np.random.default_rng([design.spec.seed, seed])
    drawn = values[:, rng.integers(values.shape[1], size=planned)]
    contest = plan.contest(planned, known)
    wanted = {variant.id: variant for variant in design.variants}
    cost = drawn[:, :, plan.names.index("list_usd")].mean(axis=1) if "list_usd" in plan.names else np.ones(len(known))
    for id_ in known:
        contest.add(plan.ends(design.ends(wanted[id_])))
    spent, whole, decided = 0.0, float(cost.sum()) * planned, 0
    in_time = True
    while contest.asked:
        for arm in contest.asked:
            start = contest.length(arm)
            block = drawn[arm, start : start + BLOCK].T
            spent += float(cost[arm]) * block.shape[1]
            contest.put(arm, block)
        contest.decide()
        in_time = in_time and (share is None or spent <= share * whole)
        decided = len(contest.decisions) if in_time else decided
    return spent / whole if whole else 1.0, decided / len(known)
