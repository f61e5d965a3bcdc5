import asyncio
from dataclasses import replace

import pytest

from paretoken.core.errors import SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.consensus import Consensus
from paretoken.testing.scorers import ScorerSuite

ANSWERS = (
    "The kettle boils a litre of water in three minutes.",
    "In three minutes this kettle boils one litre.",
    "It takes the kettle three minutes to boil a litre of water.",
    "Our lamp is dimmable and saves power.",
)


def items():
    return [ScoreItem(a, "", None, {}, others=tuple(o for o in ANSWERS if o != a)) for a in ANSWERS]


def values(scorer, asked):
    return [row[0].value for row in asyncio.run(scorer.score(asked))]


class _Suite(ScorerSuite):
    def items(self):
        return items()


class TestConsensus(_Suite):
    def make_scorer(self):
        return Consensus(language="en")


class TestConsensusByCharacters(_Suite):
    def make_scorer(self):
        return Consensus("chrf")


@pytest.mark.parametrize("scorer", [Consensus(), Consensus("chrf")])
def test_the_odd_one_out_scores_lowest(scorer):
    found = values(scorer, items())
    assert max(found[:3]) > min(found[:3]) > found[3]


def test_it_is_the_mean_of_bertscores():
    asked = items()[0]
    pairs = [ScoreItem(asked.answer, "", other, {}) for other in asked.others]
    scores = [row[2].value for row in asyncio.run(BertScore().score(pairs))]
    assert values(Consensus(), [asked]) == pytest.approx([sum(scores) / 3])


def test_nobody_to_agree_with_is_a_reason():
    asked = items()[0]
    rows = asyncio.run(Consensus().score([replace(asked, others=()), asked, replace(asked, others=("", " "))]))
    assert [row[0].value is None for row in rows] == [True, False, True]
    assert rows[0][0].reason == "no other model answered this sample"


def test_bad_arguments():
    with pytest.raises(SpecError, match="bertscore or chrf"):
        Consensus("rouge")
    with pytest.raises(SpecError, match="takes what bertscore takes"):
        Consensus(encoder={"modle": "x"})
    with pytest.raises(SpecError, match="layer is 0"):
        Consensus(encoder={"layer": 0})
