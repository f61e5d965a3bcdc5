"""Names as MLflow allows them."""

from __future__ import annotations

from paretoken.core.names import key_of as metric_key

__all__ = ["metric_key"]
