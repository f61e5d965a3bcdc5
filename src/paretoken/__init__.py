"""Find the cheapest prompt and model that is still good enough, prove it, and never overspend while finding out.

import paretoken

outcome = paretoken.run("experiments/quickstart")     # plans, runs up to the budget, resumes by itself
run = paretoken.open_run("last")                      # a finished or stopped run, from the records alone
run.frame()                                           # one row per answer
run.compare("verbose", "terse").sentence              # the verdict in words
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paretoken.experiment.api import plan, run, run_async
    from paretoken.experiment.archive import open_run

__all__ = ["open_run", "plan", "run", "run_async"]

_HOMES = {"open_run": "archive", "plan": "api", "run": "api", "run_async": "api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'paretoken' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"paretoken.experiment.{_HOMES[name]}"), name)
