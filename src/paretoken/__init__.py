"""Find the cheapest prompt and model that is still good enough, prove it, and never overspend while finding out.

import paretoken

outcome = paretoken.run("experiments/quickstart")     # plans, runs up to the budget, resumes by itself
run = paretoken.open_run("last")                      # a finished or stopped run, from the records alone
run.frame()                                           # one row per answer
run.compare("verbose", "terse").sentence              # the verdict in words
paretoken.explain_drivers(run)                        # which choices and inputs make a call expensive
paretoken.explain((run, "verbose"), (run, "terse"))   # the exact way from one cost to another
paretoken.select(run, sla_s=5).sentences              # which one to take, all things weighed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoken.analysis.drivers import explain_drivers
    from paretoken.analysis.explanation import explain
    from paretoken.analysis.selection import select
    from paretoken.experiment.api import plan, run, run_async
    from paretoken.experiment.archive import open_run

__all__ = ["explain", "explain_drivers", "open_run", "plan", "run", "run_async", "select"]

_HOMES = {
    "explain": "analysis.explanation",
    "explain_drivers": "analysis.drivers",
    "open_run": "experiment.archive",
    "plan": "experiment.api",
    "run": "experiment.api",
    "run_async": "experiment.api",
    "select": "analysis.selection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'paretoken' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"paretoken.{_HOMES[name]}"), name)
