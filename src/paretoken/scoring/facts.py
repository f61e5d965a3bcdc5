"""Facts that an answer lost or invented: numbers, units, names and negations, in English and Chinese.

An encoder hardly sees them: a sentence with another number, or with "not" put in, is closer to the reference than an
honest paraphrase. So they are compared as they stand.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from paretoken.core.protocols import Scored, ScoreItem
from paretoken.core.text import visible
from paretoken.scoring.denials import Denials, find_denials
from paretoken.scoring.digits import spell_numbers
from paretoken.scoring.quantities import Quantity, find_quantities

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_QUOTED = re.compile(r"[《「“]([^《》「」“”]{1,16})[》」”]")
_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9+-]*(?:[A-Za-z]\d|[A-Z][A-Za-z]*[-+]\d))"
    r"[A-Za-z][A-Za-z0-9]*(?:[-+][A-Za-z0-9]+)*\+*"
)
_ACRONYM = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z][A-Z0-9]+|[a-z]+[A-Z]\w*)(?:-[A-Z]+)*(?![A-Za-z])")
_LATIN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z](?:['-]?[A-Za-z])+")
_PLACE = re.compile(rf"[{_HAN}]{{2}}(?:市|县|公司|集团|大学|银行|医院)")
_NO_PLACE = re.compile(r"城市|超市|上市|门市|夜市|都市|股市|[的了在和与是有到从这那个家]")
_CIRCLED = re.compile("[①-⑳]")
_SENTENCE = re.compile(r"(?:^|[.!?:;\n…])[\s\"'“‘(*#>\-–—•\d.)]*$")


class Stated(NamedTuple):
    """What a text states: quantities and names, each with how it is written, and what it denies."""

    quantities: dict[Quantity, str]
    names: dict[str, str]
    denials: Denials


class Facts:
    """Facts of the reference that the answer lost, and facts of the answer that nobody gave it.

    `facts` is their F1, from 0 to 1, 1 where neither text states any; `facts_kept` the share of the reference's facts
    that the answer has, `facts_true` the share of the answer's facts that stand in the reference or in the sample; both
    say in a note what was lost or invented. A blank answer scores 0. Of several references the one counts that the
    answer does best on.

    Numbers are compared by value and unit, however they are written (1,5 L is no number of these languages; 1.5 L,
    1500 ml and 一点五升 are one). Names are words with capitals inside a sentence, codes and acronyms; in Chinese texts
    Latin words, what stands in quotes, and places and firms by their endings. They count as kept wherever they appear.
    A denial counts where the other text speaks of the same: it is kept if that denies it too, and lost or invented if
    that says it. Who did what to whom, and word order, go unseen.
    """

    name = "facts"
    metrics = ("facts", "facts_kept", "facts_true")
    needs_reference = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(metrics, (0.0, 1.0))

    @property
    def provenance(self) -> str:
        """The version of the rules."""
        return "facts 3: numbers, units, names, negations; en, zh"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Compare a batch in a worker thread, shape `(n, 3)`; larger is better."""
        return await asyncio.to_thread(lambda: [self._score(item) for item in items])

    def _score(self, item: ScoreItem) -> list[Scored]:
        if not item.references:
            return [Scored(metric, None, "the sample has no reference") for metric in self.metrics]
        if not visible(item.answer):
            return [Scored(metric, 0.0) for metric in self.metrics]
        told = [value for value in item.fields.values() if isinstance(value, str) and value not in item.references]
        given = "\n".join((item.input, *told))
        return max((_compare(item.answer, reference, given) for reference in item.references), key=_first)


def _first(scored: list[Scored]) -> float:
    return scored[0].value or 0.0


def _compare(answer_text: str, reference_text: str, given_text: str) -> list[Scored]:
    answer, reference, given = (find_facts(text) for text in (answer_text, reference_text, given_text))
    in_answer, known = normal(answer_text), normal(f"{reference_text}\n{given_text}")
    lost = [text for quantity, text in reference.quantities.items() if quantity not in answer.quantities]
    lost += [text for name, text in reference.names.items() if name not in answer.names and not _holds(in_answer, name)]
    invented = [text for quantity, text in answer.quantities.items()
                if quantity not in reference.quantities and quantity not in given.quantities]  # fmt: skip
    invented += [text for name, text in answer.names.items() if name not in reference.names and not _holds(known, name)]
    denied, denies = reference.denials.denied, answer.denials.denied
    kept_denials = [claim for claim in denied if claim in denies]
    lost_denials = [claim for claim in denied if claim not in denies and answer.denials.says(claim)]
    invented_denials = [claim for claim in denies if claim not in denied and claim not in given.denials.denied
                        and reference.denials.says(claim)]  # fmt: skip
    lost += [denied[claim] for claim in lost_denials]
    invented += [denies[claim] for claim in invented_denials]
    stated = len(reference.quantities) + len(reference.names) + len(kept_denials) + len(lost_denials)
    said = len(answer.quantities) + len(answer.names) + len(kept_denials) + len(invented_denials)
    kept = stated - len(lost)
    wrong = len(lost) + len(invented)
    f1 = 2 * kept / (2 * kept + wrong) if kept or wrong else 1.0
    return [
        Scored("facts", f1),
        Scored("facts_kept", kept / stated if stated else 1.0, _note("lost", lost)),
        Scored("facts_true", max(0.0, 1 - len(invented) / said) if said else 1.0, _note("invented", invented)),
    ]


def _note(word: str, facts: Iterable[str]) -> str | None:
    text = ", ".join(dict.fromkeys(facts))
    return f"{word}: {text if len(text) <= 100 else text[:99] + '…'}" if text else None


def normal(text: str) -> str:
    """A text in which the same is written the same way."""
    text = spell_numbers(_CIRCLED.sub(" ", text))
    return unicodedata.normalize("NFKC", text).replace("’", "'")


def _holds(text: str, name: str) -> bool:
    """Whether a text has a name; a Latin one as a word of its own, hyphens and a plural's ending aside."""
    if not name.isascii():
        return name in text.lower()
    letters = r"[\s-]?".join(map(re.escape, name.replace("-", "").removesuffix("s")))
    return re.search(rf"(?<![a-z0-9]){letters}s?(?![a-z0-9])", text, re.IGNORECASE | re.ASCII) is not None


def find_facts(text: str) -> Stated:
    """What a text states."""
    text = normal(text)
    chinese = 2 * len(re.findall(rf"[{_HAN}]", text)) > len(re.findall(r"[A-Za-z]", text))
    names: dict[str, str] = {match[1].lower(): match[1] for match in _QUOTED.finditer(text)}
    quantities: dict[Quantity, str] = {}
    rest = text
    for match in _CODE.finditer(text):
        names[match[0].lower()] = match[0]
        rest = _blank(rest, *match.span())
    for found in find_quantities(rest):
        quantities.setdefault(found.quantity, text[found.start : found.end].strip())
        rest = _blank(rest, found.start, found.end)
    words = _latin_names(rest) if chinese else _capitalised(rest)
    names |= {word.lower(): word for word in words}
    names |= {match[0]: match[0] for match in _PLACE.finditer(_NO_PLACE.sub(" ", rest))}
    return Stated(quantities, names, find_denials(text))


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def _latin_names(text: str) -> list[str]:
    return [word for word in _LATIN.findall(text) if len(word) > 1]


def _capitalised(text: str) -> list[str]:
    """Words with a capital that do not begin a sentence, and acronyms; few of lines in capitals, as titles are."""
    names: list[str] = []
    for line in text.splitlines():
        words = list(_LATIN.finditer(line))
        capitals = [word for word in words if word[0][0].isupper()]
        title = len(words) > 3 and 3 * len(capitals) > 2 * len(words) and not line.rstrip().endswith((".", "?"))
        if not (title and line.upper() == line):
            names += _ACRONYM.findall(line)
        if title:
            continue
        for word in capitals:
            begins = _SENTENCE.search(line[: word.start()])
            if not begins and len(word[0]) > 1 and word[0].partition("'")[0] != "I":
                names.append(word[0].removesuffix("'s").removesuffix("-free"))
    return names
