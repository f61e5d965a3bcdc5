"""How a plan is told: what it will cost, and what it can show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.cli.screen import print_rows, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from paretoken.experiment.design import Design
    from paretoken.experiment.forecast import Forecast
    from paretoken.experiment.race_outlook import RaceOutlook
    from paretoken.experiment.reach import Outlook


def say_forecast(forecast: Forecast, design: Design, spec: Path) -> None:
    """Calls, cost with its interval, and whether the budget holds."""
    from paretoken.analysis.prediction import MIN_SEEN

    n_samples, calls, to_send = len(design.samples), forecast.total("calls"), forecast.total("to_send")
    judges = sum(row.to_send for row in forecast.judges)
    asked = f", {judges} of them of judges" if judges else ""
    say(f"calls: {calls} ({to_send} to send{asked}), {n_samples} samples")
    if forecast.spent_usd:
        say(f"spent so far: ${forecast.spent_usd:f}")
    if not to_send:
        return
    certain = f"${forecast.total('certain_usd'):.6f}, however often calls are retried"
    if (found := forecast.predicted) is not None:
        say(f"cost: ${found.expected:.6f} expected, 90 % interval ${found.low:.6f} to ${found.high:.6f} (from "
            f"{forecast.total('recorded')} recorded calls); never above {certain}")  # fmt: skip
    else:
        say(f"cost: ${forecast.total('low_usd'):.6f} to ${forecast.total('high_usd'):.6f}, by the length of the "
            f"answers; never above {certain}")  # fmt: skip
        lacking, pilot = sum(row.predicted is None for row in forecast.rows), 30 if n_samples > 60 else MIN_SEEN
        what = "variants and judges" if forecast.judges else "variants"
        some = "" if design.searches else f"; `paretoken plan {spec} --pilot {pilot}` sends some first"
        say(f"no 90 % interval: {lacking} of {len(forecast.rows)} {what} have fewer than {MIN_SEEN} recorded "
            f"samples{some}")  # fmt: skip
    say(f"budget: {forecast.verdict}")
    for caution in design.cautions:
        say(f"caution: {caution}")


def say_racing(racing: RaceOutlook | None, design: Design, spec: Path) -> None:
    """What racing may save, and what the budget can settle."""
    if design.searches:
        size = "endless" if design.space.size is None else f"{design.space.size:,} variants"
        tried, trials = len(design.variants), design.plan["trials"]
        if trials > tried:
            say(f"search: the space has {size}, fewer than the {trials} trials: all of them are tried")
        else:
            say(f"search: {tried} variants of a space of {size}; the rows above are random ones of them")
    if racing is None:
        return
    say(f"racing: from ${racing.least_usd:.6f}, if all is settled by the first samples, to ${racing.most_usd:.6f}, the "
        "cost without it")  # fmt: skip
    if (found := racing.rehearsal) is not None:
        middle, low, high = (100 * share for share in found.share)
        say(f"expected: {middle:.0f} % of the cost without it, 90 % interval {low:.0f} to {high:.0f} %: "
            f"${middle / 100 * racing.most_usd:.6f} (rehearsed on {found.samples} recorded samples of "
            f"{found.variants} variants)")  # fmt: skip
    elif not design.searches:
        say(f"expected: unknown, too few recorded answers; `paretoken plan {spec} --pilot 16` sends some first")
    if not design.plan.get("tolerance"):
        say("no tolerance is declared: variants that cost nearly the same race to the end; see experiments/README.md")
    if racing.verdict:
        say(racing.verdict)


def say_outlook(outlooks: Sequence[Outlook], design: Design, spec: Path) -> None:
    """What an A/B test will be able to show."""
    from paretoken.report.comparisons import reach_rows

    if design.plan["kind"] != "abtest":
        return
    if not outlooks:
        say(f"what it can show: unknown, too few recorded pairs; `paretoken plan {spec} --pilot 30` sends some first")
    print_rows(reach_rows(outlooks), title="what it can show (80 % power; from recorded pairs)")
    for outlook in outlooks:
        if outlook.too_small:
            reach = outlook.reach
            say(f"too small: {reach.planned} samples will hardly show {outlook.treatment!r} to be not worse on "
                f"{reach.name} within {reach.margin:g}, even if it is; about {reach.needs} would")  # fmt: skip
