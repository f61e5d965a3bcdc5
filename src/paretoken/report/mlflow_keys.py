"""Names as MLflow allows them."""

from __future__ import annotations

import re


def metric_key(name: str) -> str:
    """A quantity's name with what MLflow allows in keys; "/" would begin a group of charts."""
    return re.sub(r"[^\w.\- ]", "_", name)
