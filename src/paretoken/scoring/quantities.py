"""Numbers with their units in English and Chinese texts, in one form whichever way they are written."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


class Quantity(NamedTuple):
    """A number in the base unit of its family, so that 1.5 L and 1500 ml are equal.

    Attributes:
        unit: Empty without one; months, weekdays and times of day are units too, and every version number is its own.
    """

    value: Fraction
    unit: str


class Found(NamedTuple):
    """A quantity and where it stands in the text."""

    quantity: Quantity
    start: int
    end: int


_FAMILIES = (
    ("g", "1", "g gram grams 克"),
    ("g", "0.001", "mg 毫克 milligram milligrams"),
    ("g", "1000", "kg kilo kilos kilogram kilograms 公斤 千克"),
    ("g", "500", "斤"),
    ("g", "1000000", "t 吨 tonne tonnes"),
    ("g", "453.59237", "lb lbs pound pounds 磅"),
    ("g", "28.349523125", "oz ounce ounces 盎司"),
    ("m", "1", "m metre metres meter meters 米"),
    ("m", "0.001", "mm millimetre millimetres millimeter millimeters 毫米"),
    ("m", "0.01", "cm centimetre centimetres centimeter centimeters 厘米 公分"),
    ("m", "1000", "km kilometre kilometres kilometer kilometers 公里 千米"),
    ("m", "0.0254", "inch inches 英寸"),
    ("m", "0.3048", "foot feet ft 英尺"),
    ("m", "1609.344", "mile miles 英里"),
    ("m", "0.9144", "yard yards"),
    ("l", "1", "L l litre litres liter liters 升 公升"),
    ("l", "0.001", "ml mL millilitre millilitres milliliter milliliters 毫升"),
    ("l", "0.01", "cl"),
    ("l", "0.1", "dl"),
    ("s", "1", "s sec secs second seconds 秒 秒钟"),
    ("s", "0.001", "ms 毫秒 millisecond milliseconds"),
    ("s", "60", "min mins minute minutes 分钟"),
    ("s", "3600", "h hr hrs hour hours 小时 个小时 钟头 个钟头"),
    ("s", "86400", "day days 天"),
    ("s", "604800", "week weeks 周 星期 个星期 礼拜"),
    ("month", "1", "month months 个月"),
    ("month", "12", "year years 年"),
    ("month", "120", "decade decades"),
    ("month", "1200", "century centuries 世纪"),
    ("years old", "1", "岁 years-old year-old years?old year?old"),
    ("%", "1", "% percent per?cent 个百分点 percentage?points"),
    ("%", "0.1", "‰"),
    ("%", "10", "成"),
    ("°C", "1", "°C ° 度 摄氏度 degrees?Celsius degree?Celsius degrees degree"),
    ("°F", "1", "°F 华氏度 degrees?Fahrenheit"),
    ("CNY", "1", "元 块 块钱 元钱 yuan CNY RMB 人民币"),
    ("CNY", "0.1", "角"),
    ("USD", "1", "USD dollar dollars 美元 美金"),
    ("USD", "0.01", "cent cents 美分"),
    ("EUR", "1", "EUR euro euros 欧元"),
    ("GBP", "1", "GBP 英镑"),
    ("JPY", "1", "JPY yen 日元"),
    ("W", "1", "W watt watts 瓦 瓦特"),
    ("W", "1000", "kW kilowatt kilowatts 千瓦"),
    ("W", "1000000", "MW"),
    ("V", "1", "V volt volts 伏 伏特"),
    ("A", "1", "A amps 安培"),
    ("Wh", "1", "Wh"),
    ("Wh", "1000", "kWh 千瓦时 度电"),
    ("mAh", "1", "mAh 毫安时 毫安"),
    ("mAh", "1000", "Ah"),
    ("Hz", "1", "Hz 赫兹"),
    ("Hz", "1000", "kHz"),
    ("Hz", "1000000", "MHz"),
    ("Hz", "1000000000", "GHz"),
    ("byte", "0.001", "KB"),
    ("byte", "1", "MB megabytes"),
    ("byte", "1000", "GB gigabytes"),
    ("byte", "1000000", "TB"),
    ("dB", "1", "dB 分贝 decibel decibels"),
    ("lm", "1", "lm 流明 lumen lumens"),
    ("m2", "1", "m2 sqm square?metres square?meters 平方米 平米"),
    ("m2", "10000", "公顷 hectares"),
    ("px", "1", "px pixels 像素"),
    ("kcal", "1", "kcal calories 千卡 大卡 卡路里"),
    ("times", "1", "倍"),
    ("% left", "10", "折"),
)
"""Base unit, how many of it one is, and its names; `?` stands for a space."""
UNITS: dict[str, tuple[str, Fraction]] = {
    name.replace("?", " "): (base, Fraction(factor)) for base, factor, names in _FAMILIES for name in names.split()
}
_LOWER = {name.lower(): unit for name, unit in UNITS.items() if len(name) > 2}
_UNIT = "|".join(
    re.escape(n) + ("(?![A-Za-z])" if n[-1].isascii() and n[-1].isalpha() else "")
    for n in sorted(UNITS, key=len, reverse=True)
)
_CURRENCIES = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "人民币": "CNY"}

_SMALL = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"
_WORDS = {word: n for n, word in enumerate(_SMALL.split())} | {"twice": 2}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS.split(), 2)}
_WORDS |= {word: n for n, word in enumerate(_ORDINALS.split(), 3)}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SHORT = {"k": 1000, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9}
_WORD = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))

_DIGITS = dict(zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_POWERS = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_OLD = str.maketrans("萬億兩點−", "万亿两点-")
_HAN_NUMBER = "[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+)?"
MEASURES = (
    "个位名款种台件只条张本次层段档项家间辆部双套瓶盒杯颗粒片支枚根把组对代级星人路口座株道步场届期轮维盏"
    "幅封篇页字句则排列行袋包箱桶罐门样类批圈趟遍回号楼室厅色大"
)
"""Characters after which a single Chinese numeral counts something."""
_IDIOMS = (
    "(?<![零一二两三四五六七八九十百千万亿\\d])(?:十分(?!钟|之)|万一|千万(?=[要别不记注小])|万能|万物|万象|百姓|百货|百度|百科|百叶|百搭|百合"
    "|千里|千家万户|千变万化|成千上万|五花八门|四面八方|三心二意|乱七八糟|七上八下|千方百计|一举两得|两全其美|三明治|三角|四季|四周|四川|五官|五金|七夕|九龙"
    "|三番五次|独一无二|一心一意|说一不二|十足|十全十美|半斤八两|五颜六色|四通八达|一度|一块|一道|一时|一天到晚|一年四季|第一时间)"
)
_ENGLISH_IDIOMS = r"\b(?:one day|one (?:by|on) one|at sixes and sevens|second to none)\b"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_BEFORE_MONTH = "|".join(
    rf"(?<=\b{w}\s)" for w in ("in", "this", "next", "last", "since", "until", "of", "by", "from", "early", "late")
)

_TOKEN = re.compile(
    rf"""
      (?P<iso>(?<!\d)(?P<y>\d{{4}})[-/.](?P<mo>\d{{1,2}})[-/.](?P<d>\d{{1,2}})(?![\d.]))
    | (?P<clock>(?<![\d:])(?P<h>\d{{1,2}}):(?P<mi>[0-5]\d)(?::\d\d)?(?!\d)(?:\s?(?P<half1>[ap])\.?m\b\.?)?
        | (?<![\d.])(?P<h2>\d{{1,2}})\s?(?P<half2>[ap])\.?m\b\.?)
    | (?P<hanclock>(?P<part>上午|下午|晚上|早上|中午|凌晨)?(?P<h3>\d{{1,2}}|[一二两三四五六七八九十]{{1,3}})点
        (?:(?P<m30>半)|(?P<m15>一刻)|(?P<mi3>\d{{1,2}}|[一二三四五六七八九十]{{1,3}})分(?!钟)|(?P<sharp>整|钟)))
    | (?P<month>\b(?:January|February|April|June|July|August|September|October|November|December
        |(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?=\.?\s\d)
        |(?:(?<=\d\s)|(?<=th\s)|{_BEFORE_MONTH})(?-i:May|March)|(?-i:May|March)(?=\s\d))\b)
    | (?:\b(?P<day>(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)s?\b|
        (?:周|星期|礼拜)(?P<han_day>[一二三四五六日天])(?![次个回起]))
    | (?P<halves>(?<!另)一半|\bhalf\s(?=(?:of|the|its|their|your|all)\b))
    | (?P<code>\d+(?:\.\d+){{2,}})
    | (?P<minus>零下|负|minus\s|(?<![^\s(~:,、{HAN}])-)?
      (?:(?P<money>US\$|[$€£¥]|\b(?:USD|EUR|GBP|CNY|RMB)\b|人民币)\s?)?
      (?: (?P<share>百分之|千分之)(?P<shared>\d+(?:\.\d+)?|{_HAN_NUMBER})
        | (?P<under>\d+|[一二三四五六七八九十百千]+)分之(?P<over>\d+|[一二三四五六七八九十]+)
        | (?P<all>百分百)
        | (?<![\d.,A-Za-z_])(?:(?P<whole>\d+)\s)?(?P<top>\d+)[/⁄](?P<bottom>[1-9]\d*)(?![\d/])
        | (?P<digits>(?:(?<=\d[x×])|(?<![A-Za-z_\d])(?<![A-Za-z]-)(?<!\w\.))
            (?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?
            |(?<![\w.])\.\d+)
          (?:st\b|nd\b|rd\b|th\b)?(?P<scale>\s?(?:dozen|hundred|thousand|million|billion|trillion|bn)\b|[百千万亿]+)?
        | (?P<han>{_HAN_NUMBER})
        | \b(?:(?P<part_of>one|two|three|four|a)[\s-](?P<nth>third|quarter|fifth)s?\b(?=\s+of\b|\s+the\b|s\b)
            | (?P<words>(?:{_WORD})\b(?:[\s-]+(?:{_WORD})\b)*)))
      (?P<left>\s?(?:and\s+a\s+half|个半(?=[小钟月])))?
      (?:(?:多|余|来)?[\s-]?(?P<unit>{_UNIT})(?P<right>半(?![{HAN}]?[导夜径路价]))?|(?P<date>[年月日号])
        |(?P<glued>[A-Za-z]{{1,4}}(?![A-Za-z0-9])))?
    | (?P<halfunit>半个?(?:小时|钟头|年|个?月|公斤|斤|升|米|公里)
        |\bhalf\s(?:an?\s)?(?:hour|day|year|litre|liter|mile|kilo|dozen)\b|\b(?:an?|half\s+an?)\s+half\s+hour\b)
    | (?P<unitary>\ban?\s(?P<one>decade|century|litre|liter|kilo|kilogram|kilometre|kilometer|metre|meter|mile|gram)\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CONNECTED = re.compile(r"\s?(?:[-–—~～x×*/]|to|and|or|至|到|和|或)\s?", re.IGNORECASE)
_LISTED = (
    r"^[ \t]*(?:\(?\d{1,2}[.)、](?!\d)|[一二三四五六七八九十]{1,2}、|#+ ?\d{1,2}\b)"
    r"|(?<=[.!?;。；] )\d{1,2}[.)](?= )"
)
_SEEMING = [re.compile(pattern, re.MULTILINE | re.IGNORECASE) for pattern in (_LISTED, _IDIOMS, _ENGLISH_IDIOMS)]
_AND = re.compile(rf"(?<=hundred|housand|million|billion) and (?=(?:{_WORD})\b)", re.IGNORECASE)


def _plain(text: str) -> str:
    """A text of the same length without list numbers and words that only look like numbers."""
    text = text.translate(_OLD)
    for seeming in _SEEMING:
        text = seeming.sub(lambda match: "\u3000" * len(match[0]), text)
    return _AND.sub("     ", text)


def find_quantities(text: str) -> list[Found]:
    """The quantities of a text that is in normal form KC, in order; in a range, 65 to 135 cm, both have the unit.

    A bare 1 is none: it is an article in both languages. A single Chinese numeral counts with a unit or a measure word.
    """
    text = _plain(text)
    found: list[Found] = []
    ranged: list[tuple[bool, str]] = []
    for match in _TOKEN.finditer(text):
        quantities, unit_given = _read(match, text)
        for quantity in quantities:
            found.append(Found(quantity, match.start(), match.end()))
            ranged.append((unit_given, match["money"] or ""))
    for i in reversed(range(len(found) - 1)):  # 3 to 5 kg, $5-10
        first, second = found[i], found[i + 1]
        if not _CONNECTED.fullmatch(text[first.end : second.start]):
            continue
        if ranged[i + 1][0] and not ranged[i][0] and not first.quantity.unit:
            factor = Fraction(_last_factor(text[second.start : second.end]))
            found[i] = first._replace(quantity=Quantity(first.quantity.value * factor, second.quantity.unit))
        elif ranged[i][1] and not second.quantity.unit:
            found[i + 1] = second._replace(quantity=Quantity(second.quantity.value, first.quantity.unit))
    return [one for one in found if one.quantity != Quantity(Fraction(1), "")]


def _last_factor(written: str) -> Fraction:
    tail = re.search(rf"(?:{_UNIT})$", written, re.IGNORECASE)
    return _unit(tail[0])[1] if tail else Fraction(1)


def _unit(name: str) -> tuple[str, Fraction]:
    """The base unit, and what one is in it; what is no known unit is its own, as G in 5G."""
    return UNITS.get(name) or _LOWER.get(name.lower()) or (name, Fraction(1))


def _read(match: re.Match[str], text: str) -> tuple[list[Quantity], bool]:
    """What a match means, and whether a unit stands after it."""
    got = match.groupdict()
    if got["iso"]:
        return [_bare(int(got["y"])), Quantity(Fraction(got["mo"]), "month of year"), _bare(int(got["d"]))], True
    if got["clock"]:
        hour, half = int(got["h"] or got["h2"]), (got["half1"] or got["half2"] or "").lower()
        hour = hour % 12 + 12 * (half == "p") if half else hour
        return [Quantity(Fraction(60 * hour + int(got["mi"] or 0)), "o'clock")], True
    if got["hanclock"]:
        hour = int(_han(got["h3"])) + (12 if got["part"] in ("下午", "晚上") and _han(got["h3"]) < 12 else 0)
        minute = 30 if got["m30"] else 15 if got["m15"] else int(_han(got["mi3"])) if got["mi3"] else 0
        return [Quantity(Fraction(60 * hour + minute), "o'clock")], True
    if got["month"]:
        return [Quantity(Fraction(_MONTHS.index(got["month"][:3].lower()) + 1), "month of year")], True
    if got["code"]:
        return [Quantity(Fraction(1), got["code"])], True
    if got["day"] or got["han_day"]:
        day = _DAYS.index(got["day"][:3].lower()) if got["day"] else min(6, "一二三四五六日天".index(got["han_day"]))
        return [Quantity(Fraction(day), "day of week")], True
    if got["halfunit"]:
        name = re.sub(r"half|\ban?\b|半个?|\s", "", got["halfunit"], flags=re.IGNORECASE)
        if name == "dozen":
            return [_bare(6)], False
        base, factor = _unit("个月" if name == "月" else name)
        return [Quantity(factor / 2, base)], True
    if got["halves"]:
        return [Quantity(Fraction(50), "%")], True
    if got["unitary"]:
        base, factor = _unit(got["one"])
        return [Quantity(factor, base)], True
    return _number(match, got, text)


def _number(match: re.Match[str], got: dict[str, str], text: str) -> tuple[list[Quantity], bool]:
    after = got["unit"] or got["glued"] or ""
    short = after if after == "k" or (got["money"] and after.lower() in _SHORT) else ""
    base, factor = ("", Fraction(1)) if short else _unit(after) if got["unit"] else (after, Fraction(1))
    if base == after and after.isalpha() and after not in UNITS and match.string[match.start("unit") - 1] in " -":
        base = ""  # 20 a day
    if got["share"] or got["all"]:
        value = Fraction(100) if got["all"] else _han(got["shared"]) / (10 if got["share"] == "千分之" else 1)
        return [Quantity(_signed(value, got), "%")], True
    if got["under"]:
        return [_bare(_signed(_han(got["over"]) / max(Fraction(1), _han(got["under"])), got))], False
    if got["part_of"]:
        parts = {"third": 3, "quarter": 4, "fifth": 5}[got["nth"].lower()]
        return [_bare(Fraction(_WORDS.get(got["part_of"].lower(), 1), parts))], False
    if got["top"]:
        values = [Fraction(got["whole"] or 0) + Fraction(int(got["top"]), int(got["bottom"]))]
    elif got["digits"]:
        if re.match(r"(?!x\s?\d)[A-Za-z]", text[match.end() :]):
            return [], False  # within a code
        values = [Fraction(got["digits"].replace(",", "")) * _scale(got["scale"] or short)]
    elif got["han"]:
        counted = text[match.end("han") : match.end("han") + 1]
        counts = got["unit"] or got["date"] or got["left"] or (counted and counted in MEASURES)
        before = text[max(0, match.start("han") - 1) : match.start("han")]
        if len(got["han"]) == 1 and not counts and before != "第":
            return [], False
        if got["han"] == "两" and got["unit"] in ("度",):
            return [], False
        try:
            values = [_han(got["han"])]
        except ValueError:
            return [], False
    else:
        values = _english(got["words"].lower())
    if got["left"] or got["right"]:
        values[-1] += Fraction(1, 2)
    if got["money"]:
        currency = _CURRENCIES.get(got["money"].upper(), "CNY" if got["money"] == "RMB" else got["money"].upper())
        base, factor = (currency, Fraction(1)) if not base or base == currency else (base, factor)
    if got["unit"] == "年" and 1000 <= values[-1] < 3000:
        base, factor = "", Fraction(1)
    if got["date"] == "月" and not base:
        base = "month of year"
    *bare, last = (_signed(value, got) for value in values)
    return [*map(_bare, bare), Quantity(last * factor, base)], bool(base)


def _bare(value: Fraction | int) -> Quantity:
    return Quantity(Fraction(value), "")


def _signed(value: Fraction, got: dict[str, str]) -> Fraction:
    return -value if got["minus"] else value


def _scale(word: str) -> int:
    word, product = word.strip().lower(), 1
    if word in _SCALES or word in _SHORT:
        return _SCALES.get(word) or _SHORT[word]
    for power in word:
        product *= _POWERS[power]
    return product


def _english(words: str) -> list[Fraction]:
    """Number words as numbers; where the next word cannot go on, another number begins."""
    numbers: list[int] = []
    total, current, begun = 0, 0, False
    for word in re.split(r"[\s-]+", words):
        if word in _SCALES:
            if word in ("dozen", "hundred"):
                current = max(current, 1) * _SCALES[word]
            else:
                total, current = total + max(current, 1) * _SCALES[word], 0
        else:
            value = _WORDS[word]
            room = current % 10 == 0 and current % 100 != 10 if 0 < value < 10 else current % 100 == 0 and value > 0
            if begun and not room:
                numbers.append(total + current)
                total, current = 0, 0
            current += value
        begun = True
    return [Fraction(n) for n in (*numbers, total + current)]


def _han(written: str) -> Fraction:
    """A Chinese numeral, or digits.

    Raises:
        ValueError: Its characters make no number.
    """
    if written[0].isdigit() and written.isascii():
        return Fraction(written)
    whole, _, decimals = written.partition("点")
    total, section, digit = 0, 0, 0
    if all(c in _DIGITS for c in whole):  # read out digit by digit: 二〇二四
        if len(whole) > 1 and not (len(whole) >= 4 or "零" in whole or "〇" in whole):
            raise ValueError(written)  # 三四个: three or four
        total = int("".join(str(_DIGITS[c]) for c in whole))
    else:
        last = 0
        for c in whole:
            if c in _DIGITS:
                if digit:
                    raise ValueError(written)
                digit = _DIGITS[c]
                last = last if digit else 0
            elif (power := _POWERS[c]) >= 10**4:
                total, section, digit = (total + section + digit or 1) * power, 0, 0
                last = power
            else:
                section, digit, last = section + (digit or 1) * power, 0, power
        total += section + (digit * last // 10 if last >= 100 and digit else digit)  # 两百五 is 250
    fraction = Fraction(int("".join(str(_DIGITS[c]) for c in decimals)), 10 ** len(decimals)) if decimals else 0
    return total + Fraction(fraction)
