"""Numbers with their units in English and Chinese texts, in one form whichever way they are written."""

from __future__ import annotations

import re
from typing import NamedTuple

UNITS: dict[str, tuple[str, float]] = {
    unit: (kind, factor)
    for kind, factor, units in (
        ("g", 1e-3, "mg milligram milligrams 毫克"),
        ("g", 1.0, "g gram grams gramme grammes 克"),
        ("g", 500.0, "斤"),
        ("g", 1e3, "kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes 千克 公斤"),
        ("g", 1e6, "t tonne tonnes 吨"),
        ("m", 1e-3, "mm millimetre millimetres millimeter millimeters 毫米"),
        ("m", 1e-2, "cm centimetre centimetres centimeter centimeters 厘米 公分"),
        ("m", 1.0, "m metre metres meter meters 米"),
        ("m", 1e3, "km kilometre kilometres kilometer kilometers 千米 公里"),
        ("inch", 1.0, "inch inches 英寸 寸"),
        ("foot", 1.0, "foot feet ft 英尺"),
        ("mile", 1.0, "mile miles 英里"),
        ("m2", 1.0, "m2 sqm 平方米 平米 平"),
        ("l", 1e-3, "ml millilitre millilitres milliliter milliliters 毫升"),
        ("l", 1.0, "l litre litres liter liters 升"),
        ("s", 1e-3, "ms millisecond milliseconds 毫秒"),
        ("s", 1.0, "s sec secs second seconds 秒 秒钟"),
        ("s", 60.0, "min mins minute minutes 分钟"),
        ("s", 3600.0, "h hr hrs hour hours 小时 个小时 钟头 个钟头"),
        ("s", 86400.0, "day days 天 日"),
        ("s", 604800.0, "week weeks 周 星期 个星期"),
        ("month", 1.0, "month months 月 个月"),
        ("year", 1.0, "year years 年 岁"),
        ("degree", 1.0, "°c c 度 摄氏度 °"),
        ("fahrenheit", 1.0, "°f 华氏度"),
        ("%", 1.0, "% percent 成"),
        ("usd", 1.0, "$ usd dollar dollars 美元"),
        ("eur", 1.0, "€ eur euro euros 欧元"),
        ("gbp", 1.0, "£ gbp 英镑"),
        ("cny", 1.0, "¥ rmb cny yuan 元 块 块钱 人民币"),
        ("w", 1.0, "w watt watts 瓦"),
        ("w", 1e3, "kw kilowatt kilowatts 千瓦"),
        ("v", 1.0, "v volt volts 伏"),
        ("hz", 1.0, "hz hertz 赫兹"),
        ("mah", 1.0, "mah 毫安 毫安时"),
        ("db", 1.0, "db decibel decibels 分贝"),
        ("lm", 1.0, "lm lumen lumens 流明"),
        ("gb", 1.0, "gb gigabyte gigabytes"),
        ("gb", 1e-3, "mb megabyte megabytes"),
        ("gb", 1e3, "tb terabyte terabytes"),
        ("折", 1.0, "折"),
    )
    for unit in units.split()
}
"""Unit, as written, to its kind and how many of the kind's base unit it is; 成 is a tenth, in percent."""
UNITS["成"] = ("%", 10.0)

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: n for n, word in enumerate(_ONES.split())}
_SMALL |= {word: 10 * n for n, word in enumerate(_TENS_WORDS.split(), start=2)}
_SCALES = {"dozen": 12.0, "hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9}
_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 1e4, "亿": 1e8}

_WORD = "|".join(sorted((*_SMALL, *_SCALES), key=len, reverse=True))
_UNIT = "|".join(re.escape(unit) + (r"(?![a-z0-9])" if unit[-1].isascii() and unit[-1].isalnum() else "")
                 for unit in sorted(UNITS, key=len, reverse=True))  # fmt: skip
_CLASSIFIERS = (
    "个只条片件次把张台盒袋瓶支双层档种款颜步位名人页本份倍杯轮颗粒包组套面排根枚棵头节课"
    "章句项样届家间座辆艘架口户滴勺碗盘串圈箱桶键枝"
)
_QUANTITY = re.compile(
    rf"""
    (?P<currency>[$€£¥])?\s?
    (?:
        (?<![A-Za-z0-9_.])(?P<sign>[-+−])?(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?)
        (?:\s?(?P<scale>万|亿|千|百|hundred|thousand|million|billion)|(?P<k>k)(?![a-z]))?
      | 百分之(?P<percent>\d+(?:\.\d+)?|[零〇一二两三四五六七八九十百]+)
      | (?<![a-z])(?P<words>(?:{_WORD})(?:(?:\s+and\s+|[\s-]+)(?:{_WORD}))*)(?![a-z])
      | (?P<half>(?<![a-z])half(?:\s+an?)?(?=\s)|半)
      | (?P<han>[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?)
    )
    (?:\s*-?\s*(?P<unit>{_UNIT}))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ALONE = re.compile(rf"[{_CLASSIFIERS}]")
_NOT_NUMBERS = ("十分", "千万", "万一", "千百", "万千", "一一", "千千万万")
_RANGE = re.compile(r"\s*(?:到|至|或|、|~|-|–|—|to|or|and)\s*", re.IGNORECASE)


class Quantity(NamedTuple):
    """A number in its kind's base unit; kind is empty where no unit follows."""

    value: float
    kind: str


class Found(NamedTuple):
    """A quantity and where it stands in the text."""

    quantity: Quantity
    start: int
    end: int


def find_quantities(text: str) -> list[Found]:
    """Numbers of a text that is in normal form KC; in a range, 65 to 135 cm, the unit is that of both.

    Number words count: "twenty-five", 三百二十. "One" and 一 count with a unit only, for they are mostly pronoun and
    article; a single Chinese digit with a unit or a measure word.
    """
    found: list[Found] = []
    for match in _QUANTITY.finditer(text):
        value = _value(match, text)
        if value is None:
            continue
        unit = (match["unit"] or match["currency"] or ("%" if match["percent"] else "")).lower()
        kind, factor = UNITS.get(unit, ("", 1.0))
        start = match.end() - len(match[0].lstrip())
        if kind and found and not found[-1].quantity.kind and _RANGE.fullmatch(text, found[-1].end, start):
            found[-1] = found[-1]._replace(quantity=_quantity(found[-1].quantity.value * factor, kind))
        found.append(Found(_quantity(value * factor, kind), start, match.end()))
    return found


def _quantity(value: float, kind: str) -> Quantity:
    """A quantity to six digits, so that 0.5 kg is 500 g."""
    return Quantity(float(f"{value:.6g}"), kind)


def _value(match: re.Match[str], text: str) -> float | None:
    if match["digits"]:
        number = float(match["digits"].replace(",", "")) * (-1 if match["sign"] in ("-", "−") else 1)
        scale = (match["scale"] or "").lower()
        return number * (_SCALES.get(scale) or _MYRIADS.get(scale) or _TENS.get(scale) or (1e3 if match["k"] else 1.0))
    if match["half"]:
        return 0.5 if _measured(match["unit"]) else None
    if match["percent"]:
        return float(match["percent"]) if match["percent"][0].isdigit() else _read_han(match["percent"])
    if match["words"]:
        words = re.split(r"[\s-]+", match["words"].lower())
        return None if words == ["one"] and not match["unit"] else _read_words(words)
    han = match["han"]
    followed = match["unit"] or _ALONE.match(text, match.end())
    if (len(han) == 1 or han in _NOT_NUMBERS) and (not followed or (han == "一" and not _measured(match["unit"]))):
        return None
    return _read_han(han)


def _measured(unit: str | None) -> bool:
    """Whether 一 before a unit counts; 一天, 一块, 一度 and 一成 are mostly figures of speech."""
    return unit is not None and unit not in ("天", "日", "块", "度", "成", "平", "寸", "月", "周")


def _read_words(words: list[str]) -> float | None:
    total, part = 0.0, 0.0
    for word in words:
        if word == "and":
            continue
        if word in _SMALL:
            part += _SMALL[word]
        elif _SCALES[word] > 100:
            total += (part or 1) * _SCALES[word]
            part = 0.0
        else:
            part = (part or 1) * _SCALES[word]
    return total + part


def _read_han(text: str) -> float | None:
    """Value of Chinese numerals, 一百二十 or 二〇二四; None for a mere row of digits, 三四, which is a guess."""
    whole, _, decimals = text.partition("点")
    if decimals and not all(c in _DIGITS for c in decimals):
        return None
    fraction = float("0." + "".join(str(_DIGITS[c]) for c in decimals)) if decimals else 0.0
    if all(c in _DIGITS for c in whole):
        return None if 1 < len(whole) < 4 else int("".join(str(_DIGITS[c]) for c in whole) or "0") + fraction
    total, section, digit = 0.0, 0.0, 0
    for c in whole:
        if c in _DIGITS:
            digit = _DIGITS[c]
        elif c in _TENS:
            section, digit = section + (digit or 1) * _TENS[c], 0
        else:
            total, section, digit = (total + section + digit) * _MYRIADS[c], 0.0, 0
    return total + section + digit + fraction
