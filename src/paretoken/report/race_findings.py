"""What FINDINGS.md says of a race, a search, or the cheapest variant that is good enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.objectives import is_quantile
from paretoken.report.markdown import bullets, picture, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.front import Standing
    from paretoken.analysis.raced import RaceOutcome
    from paretoken.analysis.results import Results

MOST_VALUES = 12
"""Most values of a choice that are told one by one."""


def race_sections(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    """The front, what was dropped, what that saved, and what held-out samples say; nothing for other plans.

    Args:
        results: The run.
        pictures: Names of picture files that may be shown.
    """
    race = results.race
    if race is None:
        return
    yield "## The cheapest" if race.plan.kind == "cheapest" else "## The front"
    yield from _front(results, race)
    if "course.png" in pictures:
        yield picture("course.png", "Hypervolume of the front over dollars spent")
    if rows := [row for standing in results.standings if (row := _dropped(standing))]:
        yield "## What was dropped"
        yield table(["variant", "why", "by", "after samples"], sorted(rows, key=lambda row: int(row[-1])), 3)
    if "departures.png" in pictures:
        yield picture("departures.png", "Who left after how many samples, and because of whom")
    if cells := confirmation_cells(results):
        yield "## Selected and held out"
        yield table(["variant", "quantity", "selected", "interval", "held out", "interval"], cells, 2)
        yield ("The held-out samples had no say in what was chosen: their numbers are free of the winner's luck. "
               "Intervals of the selection hold at every look, those of held-out samples are read once; all are at "
               "95 %.")  # fmt: skip
    if race.plan.kind == "search":
        yield from _search(results)
    if "choices.png" in pictures:
        yield picture("choices.png", "Every variant through its choices to its objectives")


def _front(results: Results, race: RaceOutcome) -> Iterator[str]:
    names = [name for name in results.objectives.names if not is_quantile(name)]
    chosen = [standing for standing in results.standings if standing.on_front]
    total = len(race.selection.samples)
    rows = [
        [
            s.summary.label + ("" if s.departure is None or s.departure.fate == "kept" else " (undecided)"),
            *(_with_ends(name, s.summary.estimates.get(name), total) for name in names),
            f"{race.n_asked(s.summary.variant)} of {total}",
        ]
        for s in sorted(chosen, key=lambda s: s.summary.value("list_usd") or 0.0)
    ]
    if rows:
        yield table(["variant", *map(_told, names), "samples"], rows)
    told = []
    if (volume := race.hypervolume) is not None and race.plan.kind != "cheapest":
        where = "held-out samples" if race.held_out is not None else "the samples that all of it answered"
        told.append(f"hypervolume {volume[0]:.3f}, 95 % interval [{volume[1]:.3f}, {volume[2]:.3f}], on {where}")
    saving = race.saving
    if race.plan.races:
        told.append(f"{saving.cells:,} of {saving.planned:,} cells asked")
        told.append(f"${saving.usd:.6f} at list price; ${saving.saved_usd:.6f}, {100 * saving.rate:.0f} %, saved by "
                    "not asking the rest")  # fmt: skip
    yield bullets(told)


def _dropped(standing: Standing) -> list[str] | None:
    left = standing.departure
    if left is None or left.fate not in ("beaten", "dearer", "infeasible"):
        return None
    why = f"breaks {', '.join(left.limits)}" if left.limits else left.fate
    return [standing.summary.label, why, ", ".join(left.by) or "–", str(left.n)]


def confirmation_cells(results: Results) -> list[list[str]]:
    """The chosen variants' numbers beside those on held-out samples.

    Args:
        results: The run.

    Returns:
        A row per variant and objective: variant, quantity, selected, its interval, held out, its interval; none where
        nothing was held out.
    """
    race = results.race
    numbers = [
        (c.label, _told(c.name), _scaled(c.name, c.selected), _scaled(c.name, c.held_out))
        for c in (() if race is None else race.confirmed)
    ]
    return [
        [label, name, f"{selected.mean:.4g}", _ends(selected), f"{held_out.mean:.4g}", _ends(held_out)]
        for label, name, selected, held_out in numbers
    ]


def _told(name: str) -> str:
    return "USD per 1k calls" if name == "list_usd" else name


def _scaled(name: str, estimate: Estimate) -> Estimate:
    """Money per 1,000 calls; other quantities as they are."""
    if name != "list_usd":
        return estimate
    low, high = (None if end is None else 1000 * end for end in (estimate.low, estimate.high))
    return replace(estimate, mean=1000 * estimate.mean, low=low, high=high)


def _ends(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "–"
    return "exact" if estimate.low == estimate.high else f"[{estimate.low:.4g}, {estimate.high:.4g}]"


def _with_ends(name: str, estimate: Estimate | None, total: int) -> str:
    if estimate is None:
        return "–"
    scaled = _scaled(name, estimate)
    return f"{scaled.mean:.4g}" + ("" if estimate.n >= total else f" {_ends(scaled)}")


def _search(results: Results) -> Iterator[str]:
    """How it was searched, and the best of every value that was tried."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    size, tried = _size(lock), len(results.summaries)
    of = f" of the {size:,} in the space" if size is not None else ", of a space without end or with conditions"
    yield "## What was searched"
    yield f"{tried} variants{of}; sampler `{lock['plan']['sampler']}`, {lock['plan']['trials']} trials at most."
    rows = list(_best_rows(results))
    if rows:
        best = (*results.objectives.maximize, *results.objectives.minimize)[0]
        yield table(["choice", "variants", "on the front", f"best {best}", "cheapest per 1k calls, USD"], rows)


def _size(lock: Mapping[str, Any]) -> int | None:
    """Number of variants that there are; None where the space has intervals or conditions."""
    size = len(lock["prompts"]) * len(lock["models"])
    for value in (lock["spec"].get("space") or {}).values():
        if isinstance(value, list) or (isinstance(value, dict) and set(value) != {"choices"}):
            return None
        size *= len(value["choices"]) if isinstance(value, dict) else 1
    return size


def _best_rows(results: Results) -> Iterator[list[str]]:
    goals = results.objectives
    best = (*goals.maximize, *goals.minimize)[0]
    chosen = {s.summary.variant: results.variants[s.summary.variant] for s in results.standings}
    choices = {id_: {"prompt": v.prompt, "model": v.model, **dict(v.params)} for id_, v in chosen.items()}
    for name in dict.fromkeys(name for choice in choices.values() for name in choice):
        values = list(dict.fromkeys(choice[name] for choice in choices.values() if name in choice))
        if not 1 < len(values) <= MOST_VALUES:
            continue
        for value in sorted(values, key=lambda v: (isinstance(v, str), str(v) if isinstance(v, str) else v or 0)):
            same = [s for s in results.standings if choices[s.summary.variant].get(name) == value]
            scores = [score for s in same if (score := s.summary.value(best)) is not None]
            costs = [cost for s in same if (cost := s.summary.value("list_usd")) is not None]
            top = (max if best in goals.maximize else min)(scores, default=None)
            yield [
                f"{name} = {value}",
                str(len(same)),
                str(sum(s.on_front for s in same)),
                "–" if top is None else f"{top:.4g}",
                f"{1000 * min(costs):.4g}" if costs else "–",
            ]


def race_cautions(results: Results) -> list[str]:
    """How far a race may be trusted; nothing for other plans."""
    race = results.race
    if race is None:
        return []
    plan, n = race.plan, len(race.selection.samples)
    if not plan.races and not any(left.fate == "open" for left in race.departures.values()):
        return [f"every variant answered all {n} samples: the front is that of these samples, without error"]
    told = [
        f"all decisions together are wrong at most {100 * plan.alpha:g} % of the time; they are about the means over "
        f"these {n} samples, not about others like them"
    ]
    if plan.kind == "search":
        told.append(f"the guarantee counts {plan.family} variants as if they had been named before the run")
    if plan.kind == "cheapest":
        told += [f"a loss of {plan.within:g} on {plan.goals[0].name} counts as good enough"] if plan.within else []
    told += [
        f"a loss of {goal.slack:g} on {goal.name} is allowed of what drops another" for goal in plan.goals if goal.slack
    ]
    told += [
        f"{100 * goal.tolerance:g} % more {goal.name} counts as no more expensive"
        for goal in plan.goals
        if goal.tolerance
    ]
    open_ = sum(left.fate == "open" for left in race.departures.values())
    return told + ([f"{open_} variants are not decided: their standing is a first impression"] if open_ else [])
