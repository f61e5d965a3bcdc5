import asyncio

import pytest

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.form import Format, Length, repeated_share
from paretoken.scoring.rules import MaxChars
from paretoken.testing.scorers import ScorerSuite


class TestLength(ScorerSuite):
    def make_scorer(self):
        return Length()


class TestFormat(ScorerSuite):
    def make_scorer(self):
        return Format("en")


def one(scorer, answer, reference=None, *more):
    return asyncio.run(scorer.score([ScoreItem(answer, "", reference, {}, more)]))[0][0]


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("abcd efgh", "abcdefgh", 1.0),
        ("abcd", "abcd efgh", 0.5),
        ("ab" * 8, "abcd efgh", 1.0),
        ("ab" * 16, "abcd efgh", 0.5),
        ("水壶烧水", "这款水壶烧开水很快", 4 / 9),
        ("", "abcd", 0.0),
    ],
)
def test_length(answer, reference, value):
    assert one(Length(), answer, reference).value == pytest.approx(value)


def test_of_several_references_the_nearest_length_counts():
    assert one(Length(), "abcd", "abcdefghijkl", "abcd").value == 1.0


@pytest.mark.parametrize(
    ("language", "answer", "faults"),
    [
        ("en", "A dimmable lamp", None),
        ("en", "The lamp saves power. It is quiet (and small).", None),
        ("en", "Three points:\n- light\n- warm and quiet and small enough to carry in every bag", None),
        ("en", 'He said: "It saves power every evening of the year, every single time."', None),
        ("en", "```json\n{}\n```", None),
        ("zh", "这款水壶三分钟就能烧开一升水。", None),
        ("zh", "暖手又省电的好物🎉", None),
        ("en", "The lamp is dimmable and it saves power every evening for", "cut off"),
        ("en", "Features of the lamp:", "cut off"),
        ("zh", "这款水壶三分钟就能烧开一升水，壶身用不锈钢做成而且", "cut off"),
        ("en", "It saves power. " * 12, "repeats itself"),
        ("zh", "省电护眼的好台灯。" * 9, "repeats itself"),
        ("en", "Dear [Your Name], buy this lamp.", "leaves a placeholder"),
        ("en", "Dear {{ customer }}, buy this lamp.", "leaves a placeholder"),
        ("zh", "【此处填写品牌】台灯，省电护眼。", "leaves a placeholder"),
        ("en", "Sure! Here is your copy: A lamp.", "talks about itself"),
        ("en", "As an AI language model, I have no lamp.", "talks about itself"),
        ("zh", "好的，以下是文案：省电台灯。", "talks about itself"),
        ("zh", "作为一个AI，我没有台灯。", "talks about itself"),
        ("en", "省电护眼的好台灯。", "in another script"),
        ("zh", "A lamp that saves power.", "in another script"),
        (None, "A lamp，省电护眼。", None),
        ("en", "Run it:\n```python\nprint('{{ name }}')\n```", None),
        ("en", "Sure-footed on any trail, these boots grip wet rock.", None),
        ("en", "I'm sorry to see you go.", None),
        ("en", "1. Fill it\n2. Switch it on\n3. Pour", None),
        ("en", "The kettle boils a litre of water in", "cut off"),
        ("en", "Tea, tea, tea. Tea. Tea, tea, tea, tea!", "repeats itself"),
        ("en", "Certainly, here's a description: a kettle.", "talks about itself"),
        ("en", "I'm sorry, but I can't help with that.", "talks about itself"),
        ("zh", "欢迎光临[公司名称]。", "leaves a placeholder"),
        ("en", "  ", "blank"),
    ],
)
def test_faults_of_form(language, answer, faults):
    found = one(Format(language), answer)
    assert found.reason == faults
    assert (found.value == 1.0) == (faults is None)


def test_faults_add_up():
    found = one(Format("zh"), "Sure! Here is [your name] " + "the lamp saves power " * 12 + "and")
    assert found.value == pytest.approx(0.0)
    assert found.reason == "cut off, repeats itself, leaves a placeholder, talks about itself, in another script"


def test_ordinary_prose_hardly_repeats_itself():
    prose = "The lamp saves power. It is kind to your eyes. The lamp has three levels, and the bulb lasts for years."
    assert repeated_share(prose) == 0.0
    assert repeated_share("short") == 0.0


@pytest.mark.parametrize(("n", "kept"), [(200, 1.0), (201, 0.0)])
def test_a_limit_of_200_chinese_characters(n, kept):
    assert one(MaxChars(200), "字" * n + "\n").value == kept
