"""Names as MLflow allows them."""

from __future__ import annotations

from paretoken.core.names import key_of as metric_key

__all__ = ["PER_1K", "REST", "metric_key", "shown_key"]

REST = "x/"
"""Where all is that is no objective and no quality metric: MLflow lists names from A to Z, and draws the first ones."""
PER_1K = {"list_usd": "usd_per_1k_calls", "billed_usd": "billed_usd_per_1k_calls"}
"""Costs of a call are too small for the axes that MLflow draws."""


def shown_key(name: str) -> str:
    """The name under which an objective or a quality metric stands in front of the rest."""
    return PER_1K.get(name) or metric_key(name)
