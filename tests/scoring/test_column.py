import asyncio
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.column import Column
from paretoken.testing.scorers import ScorerSuite


def scored(column: Column, **fields: object):
    ((one,),) = asyncio.run(column.score([ScoreItem("answer", "question", None, fields)]))
    return one


class TestColumn(ScorerSuite):
    def make_scorer(self):
        return Column("judge", range=[1, 10])

    def items(self):
        return [replace(item, fields={"judge": i + 1}) for i, item in enumerate(super().items())]


@pytest.mark.parametrize("recorded", [7, 7.0, "7", " 7.0 ", Decimal(7), np.int64(7), np.float32(7)])
def test_numbers_in_any_dress(recorded):
    assert scored(Column("judge"), judge=recorded).value == 7.0
    assert scored(Column("judge", range=[1, 10]), judge=recorded).value == pytest.approx(6 / 9)


def test_ends_of_the_range():
    column = Column("judge", range=[1, 10])
    assert [scored(column, judge=v).value for v in (1, 10)] == [0.0, 1.0]


def test_the_metric_is_called_like_the_column():
    assert Column("judge_score").metrics == ("judge_score",)
    assert scored(Column("judge_score"), judge_score=1).metric == "judge_score"


@pytest.mark.parametrize("fields", [{}, {"judge": None}, {"judge": ""}])
def test_missing(fields):
    one = scored(Column("judge"), **fields)
    assert (one.value, one.reason) == (None, "the sample has no score in column 'judge'")


@pytest.mark.parametrize("recorded", ["good", "n/a", "nan", float("nan"), float("inf"), [7], {}])
def test_not_a_number(recorded):
    one = scored(Column("judge", range=[1, 10]), judge=recorded)
    assert one.value is None
    assert "not a number" in one.reason


@pytest.mark.parametrize("recorded", [0, 11, "10.5", -1])
def test_outside_the_range(recorded):
    with pytest.raises(ScoreError, match=rf"'judge' holds '?{recorded}'?, outside its range \[1, 10\]"):
        scored(Column("judge", range=[1, 10]), judge=recorded)


@pytest.mark.parametrize("bounds", [[1], [1, 2, 3], [10, 1], [1, 1], ["1", "10"], [0, float("nan")], 10, [False, True]])
def test_bad_ranges(bounds):
    with pytest.raises(SpecError, match="range"):
        Column("judge", range=bounds)


@pytest.mark.parametrize("name", ["", None, 3])
def test_bad_columns(name):
    with pytest.raises(SpecError, match="column"):
        Column(name)


def test_provenance_names_column_and_scale():
    assert Column("judge", range=[1, 10]).provenance == "column('judge', range=[1, 10])"
    assert Column("judge").provenance == "column('judge')"
