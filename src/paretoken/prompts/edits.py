"""Edits that save tokens: each takes a prompt and gives another, in English or Chinese, and leaves the data alone.

Edits work on templates, not on rendered texts: what a sample brings along is never cut or reworded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from paretoken.core.calls import Message
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.prompts.library import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paretoken.prompts.library import Prompt

DEFAULTS = {"length_cap": 40, "bullet_form": 3, "drop_context": 50, "few_shot": 2, "compress": 0}
"""Argument of each edit where none is given: words or characters, points, percent, examples; `compress` takes none."""
TASK_SEGMENTS = frozenset({"task", "format", "examples", "output"})
"""Segments that `drop_context` never touches."""

_CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_SENTENCE = re.compile(
    r"(?:(?:\{\{.*?\}\}|\{%.*?%\}|<!--.*?-->|[^.!?。！？\n])+(?:[.!?](?=\s|$)|[。！？]|$)|[.!?])[ \t]*", re.DOTALL
)
_MARK = re.compile(r"<!--[ \t]*segment:[ \t]*([\w-]+)[ \t]*-->")
_WORD = re.compile("[a-z]{4,}", re.IGNORECASE)
_BINDING = re.compile(
    r"\d|\b(must|never|only|not|no|don't|exactly|at most|at least|always)\b"
    "|必须|不要|不得|不能|只|至少|最多|不超过",
    re.IGNORECASE,
)
_WORDY = [
    (re.compile(pattern, re.IGNORECASE), short)
    for pattern, short in (
        (r"\b(please|kindly)[ ,]+", ""),
        (r"\bin order to\b", "to"),
        (r"\bdue to the fact that\b", "because"),
        (r"\bmake sure (that )?(you )?", ""),
        (r"\b(i would like you to|i want you to|your task is to|you should)\s+", ""),
        (r"\bas well as\b", "and"),
        (r"\ba (large )?number of\b", "many"),
        (r"\bin the event that\b", "if"),
        (r"\b(very|really|quite|simply|just|basically|actually)\s+", ""),
        (r"\bwith regard to\b", "about"),
        (r"\bat this point in time\b", "now"),
        (r"\bit is important that\s+", ""),
        (r"\bfor the purpose of\b", "for"),
        ("(请你?|麻烦你?|烦请)(务必)?", ""),
        ("的话", ""),
        ("进行(一下)?(?=[\u4e00-\u9fff])", ""),
        ("一下(?=[\u4e00-\u9fff])", ""),
        ("(非常|十分|特别|尽量)(?=[\u4e00-\u9fff])", ""),
        ("(你需要|你应该|我希望你|我想让你)", ""),
        ("能够", "能"),
        ("并且", "并"),
    )
]


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit with its argument: `length_cap=40`."""

    name: str
    argument: int


def parse_edits(text: str) -> tuple[Edit, ...]:
    """Read a chain of edits: `none`, or names joined by `+`, each with a number if it is not to have its default.

    Raises:
        SpecError: An edit is unknown, or its number cannot be used.

    Example:
        >>> parse_edits("compress+length_cap=20")
        (Edit(name='compress', argument=0), Edit(name='length_cap', argument=20))
    """
    if text == "none":
        return ()
    edits: list[Edit] = []
    for part in text.split("+"):
        name, _, number = part.strip().partition("=")
        if name not in DEFAULTS:
            raise SpecError(f"unknown edit {name!r}.", fix=suggest(name, ("none", *DEFAULTS)))
        if number and (not number.isdecimal() or int(number) < 1 or not DEFAULTS[name]):
            raise SpecError(f"{part.strip()!r} is no edit.", fix=f"E.g. {name}={DEFAULTS[name]}." if DEFAULTS[name]
                            else f"{name} takes no number.")  # fmt: skip
        if name == "drop_context" and number and int(number) > 100:
            raise SpecError(f"{part.strip()!r}: more than 100 % cannot be dropped.", fix="Write drop_context=50.")
        if name in [edit.name for edit in edits]:
            raise SpecError(f"the edit {name!r} stands twice.", fix="Write it once.")
        edits.append(Edit(name, int(number) if number else DEFAULTS[name]))
    return tuple(edits)


def n_examples(edits: Sequence[Edit]) -> int:
    """How many worked examples a chain of edits asks for."""
    return next((edit.argument for edit in edits if edit.name == "few_shot"), 0)


def edit_prompt(prompt: Prompt, edits: Sequence[Edit], language: str | None = None) -> Prompt:
    """A prompt after all edits of its text; `few_shot` is left to `with_examples`.

    Args:
        prompt: The prompt; it stays as it is.
        edits: Applied in order.
        language: Language of the instructions that are added; by default Chinese where the prompt is.
    """
    chinese = (language or "").startswith("zh") if language else bool(_CJK.search(prompt.text))
    for edit in edits:
        if edit.name in _EDITS:
            prompt = replace(prompt, sections=_EDITS[edit.name](prompt.sections, edit.argument, chinese))
    return prompt


def with_examples(messages: Sequence[Message], examples: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """A conversation that begins, after its system messages, with worked examples.

    Args:
        messages: The rendered conversation.
        examples: What the user would have said, and a good answer.
    """
    n_system = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    turns = [(Message("user", asked), Message("assistant", answer)) for asked, answer in examples]
    return (*messages[:n_system], *chain.from_iterable(turns), *messages[n_system:])


Sections = tuple[tuple[Section, str], ...]


def length_cap(sections: Sections, most: int, chinese: bool) -> Sections:
    """Ask for at most so many words, or characters in Chinese."""
    return _ask(sections, f"不超过{most}字。" if chinese else f"Use at most {most} words.")


def bullet_form(sections: Sections, points: int, chinese: bool) -> Sections:
    """Ask for so many short points instead of sentences."""
    return _ask(sections, f"用{points}个简短的要点回答。" if chinese else f"Answer in {points} short bullet points.")


def compress(sections: Sections, _: int, chinese: bool) -> Sections:
    """Take out courtesies, fillers and wordy phrases; templates' expressions stay as they are."""
    return tuple((role, _outside_expressions(template, _shorten)) for role, template in sections)


def drop_context(sections: Sections, percent: int, chinese: bool) -> Sections:
    """Take out sentences that have least to do with the task, up to a share of the characters they make up.

    Sentences of a task or format segment stay, and so does the last paragraph of the last section, anything that names
    a variable, and whatever commands or forbids; the others go, those first that share fewest words with what stays.

    Args:
        sections: `(role, template)`.
        percent: Share of the droppable characters that goes, rounded down to whole sentences [%].
        chinese: Not needed: sentences of both languages are recognised.
    """
    pieces = [_pieces(template, last=i == len(sections) - 1) for i, (_, template) in enumerate(sections)]
    kept_words = {word for own in pieces for text, may_go in own if not may_go for word in _words(text)}

    def weight(text: str) -> tuple[bool, float]:
        words = _words(text)
        return bool(_BINDING.search(text)), sum(word in kept_words for word in words) / max(len(words), 1)

    numbered = [(i, j, *piece) for i, own in enumerate(pieces) for j, piece in enumerate(own)]
    droppable = [(weight(text), i, j, len(text)) for i, j, text, may_go in numbered if may_go]
    room = sum(size for *_, size in droppable) * percent / 100
    gone: set[tuple[int, int]] = set()
    for (binding, _), i, j, size in sorted(droppable):
        if binding or size > room:
            break
        room -= size
        gone.add((i, j))
    edited = []
    for i, ((role, _), own) in enumerate(zip(sections, pieces, strict=True)):
        text = "".join(text for j, (text, _) in enumerate(own) if (i, j) not in gone)
        text = re.sub(r"<!--[ \t]*segment:[^>]*-->\s*(?=<!--|\Z)", "", text)
        edited.append((role, re.sub(r"\n{3,}", "\n\n", text).strip()))
    return tuple((role, text) for role, text in edited if text) or sections


_EDITS: dict[str, Callable[[Sections, int, bool], Sections]] = {
    "length_cap": length_cap,
    "bullet_form": bullet_form,
    "compress": compress,
    "drop_context": drop_context,
}


def _ask(sections: Sections, sentence: str) -> Sections:
    """Append a sentence to the last user section."""
    last = max(i for i, (role, _) in enumerate(sections) if role == "user")
    return tuple(
        (role, f"{template.rstrip()}\n{sentence}" if i == last else template)
        for i, (role, template) in enumerate(sections)
    )


def _words(text: str) -> list[str]:
    """What a sentence is about: longer English words without their plural, and pairs of Chinese characters."""
    pairs = [text[i : i + 2] for i in range(len(text) - 1) if _CJK.match(text[i]) and _CJK.match(text[i + 1])]
    return [word.lower().rstrip("s") for word in _WORD.findall(text)] + pairs


def _shorten(text: str) -> str:
    for pattern, short in _WORDY:
        text = pattern.sub(short, text)
    text = re.sub(r"[ \t]{2,}", " ", text)
    return re.sub(r"(^|[.!?]\s+)([a-z])", lambda found: found[1] + found[2].upper(), text)


def _outside_expressions(template: str, change: Callable[[str], str]) -> str:
    """Change what is plain text in a template, paragraph by paragraph."""
    parts = re.split(r"(\{\{.*?\}\}|\{%.*?%\}|<!--.*?-->)", template, flags=re.S)
    return "".join(part if i % 2 else _in_context(part, change, first=i == 0) for i, part in enumerate(parts)).strip()


def _in_context(part: str, change: Callable[[str], str], *, first: bool) -> str:
    """Change a part, keeping the blanks at its ends, and the case of a word that goes on with a sentence."""
    head, tail = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
    core = part.strip()
    if not core:
        return part
    changed = change(core)
    if not first and "\n" not in head and changed[:1].isupper() and core[:1].islower():
        changed = changed[:1].lower() + changed[1:]
    return f"{head}{changed}{tail}"


def _pieces(template: str, *, last: bool) -> list[tuple[str, bool]]:
    """A template cut into sentences and what is between them, each with whether it may go."""
    paragraphs = re.split(r"(\n\s*\n)", template)
    pieces: list[tuple[str, bool]] = []
    segment = ""
    for k, paragraph in enumerate(paragraphs):
        marks = _MARK.findall(paragraph)
        segment = marks[-1] if marks else segment
        stays = k % 2 == 1 or segment in TASK_SEGMENTS or (last and k == len(paragraphs) - 1)
        for text in re.split(r"(\n)", paragraph):
            sentences = [found[0] for found in _SENTENCE.finditer(text)] if not stays else [text]
            for sentence in sentences if "".join(sentences) == text else [text]:
                fixed = stays or not sentence.strip() or "{{" in sentence or "{%" in sentence or "<!--" in sentence
                pieces.append((sentence, not fixed))
    return pieces
