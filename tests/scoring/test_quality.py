import asyncio

import pytest

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.quality import Quality
from paretoken.testing.scorers import ScorerSuite

ANSWER, REFERENCE = "The kettle boils 1.5 L in 5 minutes.", "In three minutes this kettle boils 1.5 L of water."


class TestQuality(ScorerSuite):
    def make_scorer(self):
        return Quality(language="en")


class TestQualityByCharacters(ScorerSuite):
    def make_scorer(self):
        return Quality(similarity="chrf", language="zh")


def scores(scorer, answer=ANSWER, reference=REFERENCE):
    return {one.metric: one for one in asyncio.run(scorer.score([ScoreItem(answer, "", reference, {})]))[0]}


def test_it_is_the_weighted_mean_of_its_parts():
    found = {metric: one.value for metric, one in scores(Quality()).items()}
    assert found["quality"] == pytest.approx(
        0.8 * found["bertscore_f1"] + 0.15 * found["facts"] + 0.05 * found["length"]
    )
    alone = asyncio.run(BertScore().score([ScoreItem(ANSWER, "", REFERENCE, {})]))[0]
    assert found["bertscore_f1"] == alone[2].value
    mine = {metric: one.value for metric, one in scores(Quality({"facts": 3, "bertscore_recall": 1})).items()}
    assert mine["quality"] == pytest.approx(0.75 * mine["facts"] + 0.25 * mine["bertscore_recall"])
    assert "0.75 facts + 0.25 bertscore_recall" in Quality({"facts": 3, "bertscore_recall": 1}).provenance


def test_without_an_encoder():
    found = scores(Quality(similarity="chrf"), "水壶三分钟烧开1.5升水。", "这款水壶烧开1.5升水要3分钟。")
    assert set(found) == {"quality", "chrf", "facts", "facts_kept", "facts_true", "length"}
    assert found["facts"].value == 1.0
    with pytest.raises(ScoreError, match="chrf"):
        scores(Quality(), "水壶三分钟烧开1.5升水。", "这款水壶烧开1.5升水要3分钟。")


def test_a_missing_part_is_named():
    assert scores(Quality(), reference="")["quality"].reason == "bertscore_f1: the sample has no reference"


def test_rescaled_parts_keep_within_the_range(tmp_path):
    (tmp_path / "b.tsv").write_text("LAYER,P,R,F\n6,0.5,0.5,0.5")
    scorer = Quality(encoder={"rescale": "b.tsv"}, folder=tmp_path)
    assert scorer.ranges["quality"] == (-0.8, 1.0)
    assert scores(scorer, "", "A lamp.")["quality"].value == pytest.approx(-0.8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"fact": 1}}, "Did you mean 'facts'"),
        ({"weights": {"facts": -1}}, "a number from 0 up"),
        ({"weights": {"facts": 0}}, "sum to 0"),
        ({"similarity": "rouge"}, "bertscore or chrf"),
        ({"encoder": {"modle": "x"}}, "takes what bertscore takes"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(SpecError) as caught:
        Quality(**arguments)
    assert message in str(caught.value)
