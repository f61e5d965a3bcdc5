import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.protocols import ScoreItem
from paretoken.core.text import visible
from paretoken.scoring.denials import find_denials
from paretoken.scoring.facts import Facts, find_facts, normal
from paretoken.scoring.quantities import find_quantities
from paretoken.testing.scorers import ScorerSuite


class TestFacts(ScorerSuite):
    def make_scorer(self):
        return Facts()


def scored(answer, reference, given="", *more):
    return asyncio.run(Facts().score([ScoreItem(answer, given, reference, {}, more)]))[0]


def f1(answer, reference, given=""):
    return scored(answer, reference, given)[0].value


def quantities(text):
    return [tuple(found.quantity) for found in find_quantities(normal(text))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It holds 1.5 L and weighs 1,200 g", [("1.5", "l"), ("1200", "g")]),
        ("1500 ml, １.２kg", [("1.5", "l"), ("1200", "g")]),
        ("three to five kilograms", [("3000", "g"), ("5000", "g")]),
        ("20 x 30 cm", [("0.2", "m"), ("0.3", "m")]),
        ("$1,200 or US$ 1200 or 1200 dollars", [("1200", "USD")] * 3),
        ("£440m", [("440000000", "GBP")]),
        ("twenty-five, one hundred and twenty, twelve hundred", [("25", ""), ("120", ""), ("1200", "")]),
        ("a dozen cups, a two-hour walk", [("12", ""), ("7200", "s")]),
        ("half an hour, 2 1/2 hours, two and a half hours", [("1800", "s"), ("9000", "s"), ("9000", "s")]),
        ("5 % off, five percent, 3/4 of it", [("5", "%"), ("5", "%"), ("3/4", "")]),
        ("-5 °C, minus five degrees, 零下5度", [("-5", "°C")] * 3),
        ("March 5, 2024", [("3", "month of year"), ("5", ""), ("2024", "")]),
        ("2024-03-05", [("2024", ""), ("3", "month of year"), ("5", "")]),
        ("2024年3月5日", [("2024", ""), ("3", "month of year"), ("5", "")]),
        ("3:30 pm, 15:30, 下午3点半", [("930", "o'clock")] * 3),
        ("三百二十五元, 两百五, 3万元, 1.5亿", [("325", "CNY"), ("250", ""), ("30000", "CNY"), ("150000000", "")]),
        ("百分之五, 三分之二", [("5", "%"), ("2/3", "")]),
        ("半小时, 两个半小时, 一年半", [("1800", "s"), ("9000", "s"), ("18", "month")]),
        ("三点五公斤, 二〇二四年, 两款", [("3500", "g"), ("2024", ""), ("2", "")]),
        ("3-5天", [("259200", "s"), ("432000", "s")]),
        ("3个月后", [("3", "month")]),
        ("4K, 5G, 10k users, version 2.0.1", [("4", "K"), ("5", "G"), ("10000", ""), ("1", "2.0.1")]),
        ("星期三 or Wednesdays, 每周一次", [("2", "day of week")] * 2),
        ("the third edition, 第3版, twice", [("3", ""), ("3", ""), ("2", "")]),
        ("half of them, 一半的人, 等了半天, the second half", [("50", "%"), ("50", "%")]),
        ("三万五千, 五百零三个, 一千零五十元", [("35000", ""), ("503", ""), ("1050", "CNY")]),
        ("20x30 cm, 5V/2A", [("0.2", "m"), ("0.3", "m"), ("5", "V"), ("2", "A")]),
        ("20 a day", [("20", "")]),
    ],
)
def test_quantities(text, wanted):
    assert quantities(text) == [(Fraction(value), unit) for value, unit in wanted]


@pytest.mark.parametrize(
    "text",
    [
        "One of the best, and no one minds.", "Someone, at one stage, one day.", "X100, GPT-4, IPX7",
        "一个人一起去，一定要一些", "十分方便，千万不要错过，万一丢了", "四季都好，乱七八糟", "三四个人",
        "1. Fill it\n2) Press it", "1. Fill it. 2. Press it.", "一、加水\n二、开盖", "①加水②开盖",
    ],
)  # fmt: skip
def test_words_that_only_look_like_numbers(text):
    assert quantities(text) == []


@given(st.integers(2, 10**7), st.sampled_from(["g", "kg", "ml", "minutes", "元", "厘米", ""]))
def test_however_a_number_is_written(number, unit):
    plain = find_facts(f"It has {number} {unit}.").quantities
    assert len(plain) == 1
    assert list(find_facts(f"Its {number:,}{unit}, indeed.").quantities) == list(plain)
    assert list(find_facts(f"重{number}{unit}。").quantities) == list(plain)


@given(st.lists(st.integers(2, 10**6), min_size=1, max_size=6, unique=True), st.data())
def test_a_changed_number_costs(numbers, data):
    at = data.draw(st.integers(0, len(numbers) - 1))
    other = data.draw(st.integers(2, 10**6).filter(lambda n: n not in numbers))
    said = ", ".join(f"{n} grams" for n in numbers)
    wrong = ", ".join(f"{other if i == at else n} grams" for i, n in enumerate(numbers))
    assert f1(said, said) == 1.0
    kept = len(numbers) - 1
    assert f1(wrong, said) == pytest.approx(2 * kept / (2 * kept + 2))


@pytest.mark.parametrize(
    ("reference", "wrong", "honest"),
    [
        ("The kettle boils 1.5 L in 3 minutes.", "The kettle boils 1.5 L in 8 minutes.",
         "In three minutes it boils 1500 ml."),
        ("It weighs 280 g.", "It weighs 280 kg.", "Its weight is 280 grams."),
        ("The jacket is waterproof.", "The jacket is not waterproof.", "A waterproof jacket, and it never smells."),
        ("Do not wash it in a machine.", "Wash it in a machine.", "It can't be washed in a machine."),
        ("The bottle is BPA-free.", "The bottle contains BPA.", "A bottle without BPA."),
        ("Anna Smith painted the lamp in Lisbon.", "Bob Jones painted the lamp in Madrid.",
         "In Lisbon, the lamp was painted by Anna Smith."),
        ("The watch is IPX7 and has GPS.", "The watch is IPX4 and has NFC.", "GPS inside; IPX7, too."),
        ("保温杯装500毫升，保温12小时。", "保温杯装500毫升，保温2小时。", "半升，也就是500ml，十二个小时都是热的。"),
        ("它不能连接手机。", "它可以连接手机。", "不用担心分心：不能连接手机。"),
        ("The flask is leak-proof.", "The flask leaks.", "It never leaks."),
        ("A 2-in-1 bag for a GPT-4 class.", "A 3-in-1 bag for a GPT-5 class.", "2 in 1, for a GPT-4 class."),
        ("可以机洗。", "不可以机洗。", "脏了就机洗，不费劲。"),
        ("不含酒精。", "含有酒精。", "配方里没有酒精。"),
        ("《小王子》在北京市首演。", "《红与黑》在上海市首演。", "北京市首演的是《小王子》。"),
        ("USB-C供电。", "Micro-USB供电。", "用usb-c供电。"),
        ("Serve it in March.", "Serve it in April.", "This March, serve it."),
        ("It opens at 3:30 pm.", "It opens at 4:30 pm.", "At 15:30 it opens."),
        ("The 4K screen.", "The 8K screen.", "Its screen is 4K."),
        ("Nobody likes it.", "Everybody likes it.", "No one likes it."),
        ("三分之二的人喜欢。", "三分之一的人喜欢。", "喜欢的人占2/3。"),
        ("适合零下5度。", "适合5度。", "-5℃也适合。"),
        ("第二代产品，三月上市。", "第三代产品，四月上市。", "3月上市的第2代产品。"),
        ("用时两个半小时。", "用时半小时。", "150分钟做完。"),
        ("He met Paris Hilton.", "He met Rome Hilton.", "Paris Hilton and he met."),
    ],
)  # fmt: skip
def test_lost_and_invented_facts(reference, wrong, honest):
    assert f1(wrong, reference) < 1.0
    assert f1(honest, reference) == 1.0
    assert f1(reference, reference) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "它不仅好看，而且不锈钢材质特别结实，无论去哪儿都不错。",
        "未来的区别不过是别人的无线耳机。",
        "It is not only light; no doubt you will like it, no matter what.",
        "Notes from Norway, nobler than another.",
    ],
)
def test_words_that_only_look_like_denials(text):
    assert find_denials(text).denied == {}


def test_what_was_lost_and_invented_is_noted():
    facts, kept, true = scored(
        "The kettle boils 2 L in 3 minutes in Paris.", "The kettle boils 1.5 L in 3 minutes at 2 kW."
    )
    assert (facts.value, kept.value, true.value) == (pytest.approx(2 / 6), pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (facts.reason, kept.reason) == (None, "lost: 1.5 L, 2 kW")
    assert true.reason == "invented: 2 L, Paris"


def test_what_the_input_says_is_not_invented():
    reference, answer = "A kettle of 1.5 L.", "A kettle of 1.5 L with 2000 W, made by Cloud in Oslo."
    assert f1(answer, reference) < 1.0
    assert f1(answer, reference, "1.5 L; 2 kW; maker: Cloud, Oslo") == 1.0
    item = ScoreItem(answer, "", reference, {"power": "2000 W", "maker": "Cloud, Oslo", "copy": reference})
    assert asyncio.run(Facts().score([item]))[0][0].value == 1.0


def test_the_reference_among_the_fields_gives_nothing_away():
    item = ScoreItem("It weighs 3 kg.", "", "It weighs 2 kg.", {"copy": "It weighs 2 kg."})
    assert asyncio.run(Facts().score([item]))[0][0].value == 0.0


def test_of_several_references_the_best_counts():
    assert scored("It weighs 3 kg.", "It weighs 2 kg.", "", "It weighs 3000 g.")[0].value == 1.0


def test_blank_and_factless():
    assert [s.value for s in scored("  ", "It weighs 2 kg.")] == [0.0, 0.0, 0.0]
    assert [s.value for s in scored("A light lamp.", "The lamp is light.")] == [1.0, 1.0, 1.0]
    assert scored("A lamp.", "")[0].reason == "the sample has no reference"


@given(st.text(max_size=120))
def test_any_text_agrees_with_itself(text):
    for one in scored(text, text):
        assert one.value in (None, 1.0) or not visible(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Made by Cloud Hill in Oslo for NASA. Kettles are warm.", {"cloud", "hill", "oslo", "nasa"}),
        ("Free Shipping On All Orders Today", set()),
        ("FREE SHIPPING ON ALL ORDERS", set()),
        ("- Waterproof bag\n- I think it's light", set()),
        ("海尔公司在杭州市推出了Miro智能锁，城市里的超市都有。", {"海尔公司", "杭州市", "miro"}),
    ],
)
def test_names(text, names):
    assert set(find_facts(text).names) == names


def _spelt(n):
    """A number below a million in English words."""
    small = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    small += "seventeen eighteen nineteen"
    if n < 20:
        return small.split()[n]
    if n < 100:
        tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"][n // 10 - 2]
        return tens + (f"-{_spelt(n % 10)}" if n % 10 else "")
    if n < 1000:
        return f"{_spelt(n // 100)} hundred" + (f" and {_spelt(n % 100)}" if n % 100 else "")
    return f"{_spelt(n // 1000)} thousand" + (f" {_spelt(n % 1000)}" if n % 1000 else "")


def _numeral(n):
    """A number below a hundred million as a Chinese numeral."""
    if n >= 10_000:
        rest = n % 10_000
        return _numeral(n // 10_000) + "万" + ("" if not rest else ("零" if rest < 1000 else "") + _numeral(rest))
    for power, sign in ((1000, "千"), (100, "百"), (10, "十")):
        if n >= power:
            rest = n % power
            return "零一二三四五六七八九"[n // power] + sign + (
                "" if not rest else ("零" if rest < power // 10 else "") + _numeral(rest))  # fmt: skip
    return "零一二三四五六七八九"[n]


@given(st.integers(2, 10**6 - 1))
def test_number_words_are_numbers(n):
    assert quantities(f"about {_spelt(n)} pages") == [(Fraction(n), "")]
    assert quantities(f"共{_numeral(n)}元") == [(Fraction(n), "CNY")]
