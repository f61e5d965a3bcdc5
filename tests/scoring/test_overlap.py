import asyncio

import pytest

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.overlap import Chrf, RougeL
from paretoken.testing.scorers import ScorerSuite


def value(scorer, answer: str, reference: str | None) -> float | None:
    ((scored,),) = asyncio.run(scorer.score([ScoreItem(answer, "", reference, {})]))
    assert scored.value is not None or scored.reason
    return scored.value


class TestChrf(ScorerSuite):
    def make_scorer(self):
        return Chrf()


class TestRougeL(ScorerSuite):
    def make_scorer(self):
        return RougeL()


def test_chrf_equals_its_definition():
    # "abc" against "abd": of 3, 2 and 1 n-grams match 2, 1 and 0, in precision as in recall; longer ones do not exist.
    assert value(Chrf(), "abc", "abd") == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_chrf_is_between_0_and_1():
    assert value(Chrf(), "Same text.", "Same text.") == 1.0
    assert value(Chrf(), "xyz", "abc") == pytest.approx(0, abs=1e-12)
    assert 0.3 < value(Chrf(), "这款水壶三分钟烧开水", "这款水壶烧水只要三分钟") < 1


def test_rouge_l_is_the_longest_common_subsequence():
    # Police ... the gunman: 3 of 4 words in order, in both.
    assert value(RougeL(), "Police kill the gunman", "police killed the gunman.") == pytest.approx(0.75)
    assert value(RougeL(), "the cat sat", "the black cat sat down") == pytest.approx(2 * 1 * 0.6 / 1.6)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Charge it in 30 min, over USB-C.", "It charges over USB-C in 30 min"),
        ("Save 15% on our_best lamps; don't wait!", "Don't wait: our best lamps are 15 % off."),
    ],
)
def test_rouge_l_on_ascii_is_that_of_the_package(answer, reference):
    from rouge_score.rouge_scorer import RougeScorer

    wanted = RougeScorer(["rougeL"], use_stemmer=False).score(reference, answer)["rougeL"].fmeasure
    assert value(RougeL(), answer, reference) == pytest.approx(wanted)


def test_rouge_l_reads_chinese_by_character():
    assert value(RougeL(), "今天天气好", "今天天气很好") == pytest.approx(2 * 5 / 11)
    assert value(RougeL(), "支持USB充电", "支持 USB 充电") == 1.0
    assert value(RougeL(), "苹果", "香蕉") == 0.0


def test_rouge_l_keeps_letters_with_accents():
    assert value(RougeL(), "Café", "cafés") == 0.0
    assert value(RougeL(), "Größe L", "größe l") == 1.0


@pytest.mark.parametrize("scorer", [Chrf(), RougeL()])
def test_blank_answers_score_0_and_blank_references_are_missing(scorer):
    assert value(scorer, " \n", "text") == 0.0
    assert value(scorer, "text", None) is None
    assert value(scorer, "text", "  ") is None


def test_reference_without_words_has_no_rouge():
    assert value(RougeL(), "great", "🎉!") is None


def test_provenance_names_the_version():
    assert Chrf().provenance.startswith("sacrebleu 2.")
    assert RougeL().provenance.startswith("rouge-score 0.1.2")


@pytest.mark.parametrize("scorer", [Chrf(), RougeL()])
def test_of_several_references_the_nearest_counts(scorer):
    near, far = "The lamp is dimmable and saves power.", "Ask your doctor."
    answer = "A dimmable lamp saves power."
    scored = [
        asyncio.run(scorer.score([ScoreItem(answer, "", first, {}, others)]))[0][0].value
        for first, others in ((near, ()), (far, ()), (far, (near,)), (near, ("", far)))
    ]
    assert scored[1] < scored[0] == scored[2] == scored[3]
