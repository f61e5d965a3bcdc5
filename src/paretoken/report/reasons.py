"""Tables of what drives a cost, and of what lies between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from paretoken.analysis.driver_shares import Drivers, Effect, Step
    from paretoken.analysis.explanation import Explanation

Rows = list[dict[str, object]]


def driver_rows(drivers: Drivers) -> Rows:
    """One row per driver, the largest first."""
    return [
        {
            "driver": share.driver,
            "is": "a choice" if share.kind == "choice" else "an input",
            "share": f"{share.share:.0%} [{share.low:.0%}, {share.high:.0%}]",
            f"mean |effect| [{_unit(drivers)}]": f"{share.effect:.3g}",
        }
        for share in drivers.shares
    ]


def effect_rows(drivers: Drivers) -> Rows:
    """One row per level of a choice, the one that lowers the target most first."""
    return [
        {
            "choice": effect.driver,
            "level": effect.level,
            f"adds [{_unit(drivers)}]": f"{effect.effect:+.3g}{_ends(effect)}",
            "of the mean": f"{effect.effect / drivers.mean:+.0%}" if drivers.mean else "-",
            "calls": effect.n,
        }
        for effect in drivers.effects
    ]


def crossing_rows(drivers: Drivers) -> Rows:
    """One row per pair of drivers, the strongest first."""
    return [
        {"drivers": f"{pair.first} x {pair.second}", f"mean |effect| [{_unit(drivers)}]": f"{pair.effect:.3g}"}
        for pair in drivers.crossings
    ]


def segment_share_rows(shares: pd.DataFrame) -> Rows:
    """One row per level, one column per driver."""
    return [
        {"": str(level), **{str(driver): f"{share:.0%}" for driver, share in row.items()}}
        for level, row in shares.T.iterrows()
    ]


def step_rows(drivers: Drivers, steps: Sequence[Step]) -> Rows:
    """One row per step of a call's waterfall."""
    return [
        {"step": step.name, "value": step.value, _unit(drivers): f"{step.effect:+.4g}" if 0 < i < len(steps) - 1
         else f"{step.effect:.4g}"}
        for i, step in enumerate(steps)
    ]  # fmt: skip


def factor_rows(explanation: Explanation) -> Rows:
    """One row per step of the waterfall: what a call costs, and what each factor changes of it."""
    cost = explanation.cost_a
    ends: Rows = [
        {"": name, "USD a call": f"{float(usd) / explanation.n:.6g}", "points": "", "USD, exact": f"{usd:.12f}"}
        for name, usd in ((explanation.a, cost), (explanation.b, explanation.cost_b))
    ]
    steps: Rows = [
        {
            "": factor.name,
            "USD a call": f"{float(factor.usd) / explanation.n:+.6g}",
            "points": f"{100 * float(factor.usd / cost):+.1f}" if cost else "",
            "USD, exact": f"{factor.usd:+.12f}",
        }
        for factor in explanation.factors
        if factor.usd
    ]
    return [ends[0], *steps, ends[1]]


def _ends(effect: Effect) -> str:
    return "" if effect.low is None or effect.high is None else f" [{effect.low:+.3g}, {effect.high:+.3g}]"


def _unit(drivers: Drivers) -> str:
    return f"{drivers.unit or drivers.target} a call"
