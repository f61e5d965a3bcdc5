"""Waits that last are told."""

from __future__ import annotations

from collections.abc import Callable

TellWait = Callable[[str, float, str], None]
"""Takes the model that is waited for, for how long [s], and why."""


def tell_nobody(model: str, wait_s: float, why: str) -> None:
    """Keep a wait to oneself."""
