import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.denials import find_denials
from paretoken.scoring.facts import Facts, find_facts
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
    return {tuple(found.quantity) for found in find_quantities(text)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("holds 1.5 L", {(1.5, "l")}),
        ("holds 1500 ml, 1,500ml", {(1.5, "l")}),
        ("装1.5升 或 一点五升", {(1.5, "l")}),
        ("half a litre, one litre, one of them, half of it", {(0.5, "l"), (1.0, "l")}),
        ("半升，半小时，等了半天，半夜", {(0.5, "l"), (1800.0, "s")}),
        ("a 12-week trial with 240 patients", {(12 * 604800.0, "s"), (240.0, "")}),
        ("twenty-five thousand and one hundred and five", {(25105.0, "")}),
        ("$5k, 20 %, 40 °C, 180 g/m2", {(5000.0, "usd"), (20.0, "%"), (40.0, "degree"), (180.0, "g")}),
        ("2,000 W or 2 kW", {(2000.0, "w")}),
        ("from 65 to 135 cm", {(0.65, "m"), (1.35, "m")}),
        ("65到135厘米", {(0.65, "m"), (1.35, "m")}),
        ("-5 degrees below, version 3.2.1", {(-5.0, ""), (3.2, "")}),
        ("三百二十元，两个小时，一百二十克", {(320.0, "cny"), (7200.0, "s"), (120.0, "g")}),
        ("3万人，1.5亿，百分之五，八折，八成", {(30000.0, ""), (1.5e8, ""), (5.0, "%"), (8.0, "折"), (80.0, "%")}),
        ("二〇二四年，十二个，三档", {(2024.0, "year"), (12.0, ""), (3.0, "")}),
        ("一个，一起，十分好用，千万别买，三四天，七夕，一点，第一", set()),
        ("５００毫升", {(0.5, "l")}),
        ("someone alone, the tenth", set()),
    ],
)
def test_numbers_and_units(text, found):
    assert quantities(text) == found


@given(st.integers(1, 10**7), st.sampled_from(["g", "kg", "ml", "minutes", "元", "厘米", ""]))
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
        assert one.value in (None, 1.0) or not text.strip()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Made by Cloud Hill in Oslo for NASA. Kettles are warm.", {"cloud", "hill", "oslo", "nasa"}),
        ("Free Shipping On All Orders Today", set()),
        ("- Waterproof bag\n- I think it's light", set()),
        ("海尔公司在杭州市推出了Miro智能锁，城市里的超市都有。", {"海尔公司", "杭州市", "miro"}),
    ],
)
def test_names(text, names):
    assert set(find_facts(text).names) == names
