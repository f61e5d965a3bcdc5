"""The picture of a selection shows what its rows hold."""

from __future__ import annotations

import numpy as np
import pytest

from paretoken.analysis import matrix
from paretoken.analysis.matrix import weigh
from paretoken.analysis.scorecard import Outcomes, Terms
from paretoken.report.selection_figure import MOST_ROWS, draw_selection


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(matrix, "RESAMPLES", 40)


def selection(n, name="variant {}"):
    rng, answers = np.random.default_rng(2), 4 * n
    return weigh(
        Outcomes(
            candidates=[name.format(i) for i in range(n)],
            candidate=np.repeat(np.arange(n), 4),
            sample=np.tile(np.arange(4), n),
            failed=np.zeros(answers, np.bool_),
            list_usd=rng.uniform(1, 3, answers),
            latency_s=rng.uniform(1, 3, answers),
            quality=rng.uniform(0, 1, answers),
            unit=np.arange(4),
            scenarios={},
        ),
        Terms(),
    )


def test_bars_end_at_the_totals_and_at_the_shares():
    found = selection(3, "变体 {}")
    totals, firsts = draw_selection(found).axes
    ends = {}
    for bar in totals.patches:
        ends[round(bar.get_y(), 3)] = bar.get_x() + bar.get_width()
    assert list(ends.values()) == pytest.approx([row.total for row in found.rows])
    assert [bar.get_width() for bar in firsts.patches[3:]] == pytest.approx([row.first_rate for row in found.rows])


def test_of_very_many_candidates_the_best_are_drawn():
    figure = draw_selection(selection(MOST_ROWS + 5))
    assert len(figure.axes[1].patches) == 2 * MOST_ROWS
    assert any("5 more are not drawn" in text.get_text() for text in figure.texts)
