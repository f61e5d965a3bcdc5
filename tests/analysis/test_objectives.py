"""Names of objectives: only latency has quantiles, every other dot belongs to the name."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from paretoken.analysis.estimate import t_interval
from paretoken.analysis.objectives import LATENCY_QUANTILES, is_quantile, split_quantile
from paretoken.analysis.summary import VariantSummary
from paretoken.core.usage import ZERO


@given(st.text(min_size=1))
def test_a_dot_in_a_metrics_name_is_a_dot(name: str) -> None:
    metric = f"own {name}"
    assert split_quantile(metric) == (metric, "")
    assert not is_quantile(metric)


def test_latency_has_quantiles() -> None:
    for q in LATENCY_QUANTILES:
        assert split_quantile(f"latency_s.{q}") == ("latency_s", q)
        assert is_quantile(f"latency_s.{q}")
    assert not is_quantile("latency_s")
    assert not is_quantile("latency_s.score")


def test_a_summary_has_a_value_of_a_dotted_metric() -> None:
    known = {"eval.p95": t_interval(np.array([0.25, 0.75]))}
    summary = VariantSummary("v", "v", 2, 0, 0, known, {"p95": 3.0}, ZERO, ZERO, None, {}, {}, 2, 0)
    assert summary.value("eval.p95") == 0.5
    assert summary.value("latency_s.p95") == 3.0
    assert summary.value("eval") is None
