"""What a text denies, and what it says without denying it, in English and Chinese."""

from __future__ import annotations

import re
from typing import NamedTuple

_CLAUSE = re.compile(
    r"(?<!\d)[.,:]|[.,:](?!\d)|[!?;\n()，。！？；：、…—]"
    r"|\s(?:but|and|while|although|though|yet)\s|但是|但|而且|虽然|却"
)
_NOT = re.compile(
    r"(?<![a-z])(?:not|no|never|none|neither|nor|nobody|nothing|nowhere|without|cannot|unable|lacks?|free of)(?![a-z])"
    r"|n['’]t(?![a-z])|-(?:free|proof)(?![a-z])"
)
_NO_DENIAL = re.compile(
    r"(?<![a-z])(?:not only|nothing but|nothing short of|"
    r"no doubt|no matter|no wonder|no longer than|no more than|no\. ?\d)"
)
_HAN_NOT = re.compile("并非|非(?=[卖必处])|[不没無无未勿别]")
_HAN_NO_DENIAL = re.compile(
    "不仅|不但|不过|不同|不断|不错|不只|不止|不光|不论|不管|不妨|不禁|不锈|不愧|不由|不得不|不少|不久|不然|不一样|"
    "对不起|差不多|了不起|无论|无疑|无比|无限|无数|无线|无非|未来|没关系|淹没|出没|"
    "特别|别墅|区别|级别|类别|性别|分别|个别|告别|别人|别的|别致|别具|别样|识别|辨别|鉴别"
)
_LIGHT_WORDS = """
a an the any all it its is are was were be been being do does did have has had can could will would shall should may
might must need needs needed require requires required contain contains containing include includes including use uses
used using come comes to of for in on at with by as so too very much that this these those you your we our they their he
she his her i me my us them there here or if ever even yet get gets
"""
_LIGHT = frozenset(_LIGHT_WORDS.split())
_HAN_LIGHT = re.compile(
    "^(?:可以|能够|支持|需要|使用|内置|自带|再|能|会|可|以|需|要|用|含|有|是|必|得|太|怕|该|应|被|让|给|带|设|好|了|的)+"
)
_WORD = re.compile(r"[a-z][a-z'’]*")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]{2}|[A-Za-z0-9]{2,}")


class Denials(NamedTuple):
    """What is denied, by what it is recognised by, each as it is written; and what clauses without denial say."""

    denied: dict[str, str]
    said: frozenset[str]
    said_han: str

    def says(self, claim: str) -> bool:
        """Whether it is said without being denied."""
        return claim in self.said or (not claim.isascii() and claim in self.said_han)


def find_denials(text: str) -> Denials:
    """Clauses of a text that deny something, and what the others say.

    A denial is known by the first word of weight after it (before it in "sugar-free" and "leak-proof"), less its
    ending; in Chinese by the first two characters of weight.
    """
    denied: dict[str, str] = {}
    said: set[str] = set()
    said_han: list[str] = []
    for part in _CLAUSE.split(text):
        clause = part.casefold()
        english, han = _NO_DENIAL.sub(" ", clause), _HAN_NO_DENIAL.sub("  ", clause)
        found = [(match, _claim(english, match)) for match in _NOT.finditer(english)]
        found += [(match, _han_claim(han, match)) for match in _HAN_NOT.finditer(han)]
        denied |= {claim: part.strip()[:40] for _, claim in found if claim}
        if not found:
            said |= {_stem(word) for word in _WORD.findall(clause)}
            said_han.append(clause)
    return Denials(denied, frozenset(said), "\n".join(said_han))


def _claim(clause: str, match: re.Match[str]) -> str | None:
    if match[0].startswith("-"):
        return _stem(clause[: match.start()].rpartition(" ")[2])
    words = [word for word in _WORD.findall(clause[match.end() :]) if word not in _LIGHT]
    return _stem(words[0]) if words else None


def _han_claim(clause: str, match: re.Match[str]) -> str | None:
    found = _HAN.match(_HAN_LIGHT.sub("", clause[match.end() :].lstrip()))
    return None if found is None else found[0]


def _stem(word: str) -> str:
    """A word without the endings by which its forms differ."""
    for ending in ("ing", "able", "ed", "es", "s", "ly", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word
