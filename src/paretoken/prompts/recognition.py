"""What parts of an unmarked prompt are for, by their headings and openings, in English and Chinese.

Whatever is not recognised, or names a variable, is the task: it belongs to no segment.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TASK = ""
_HEADINGS = {
    "role": r"role\b|persona\b|identity\b|角色|身份|人设",
    "context": r"context\b|background\b|about (us|our)\b|背景|上下文|情境",
    "examples": r"(few.?shot\b ?)?(examples?|samples?|demonstrations?|shots?)\b|few.?shot\b|示例|例子|样例|范例|参考例",
    "format": r"((output|answer|response|reply) )?(format|layout|schema)\b|(输出|回答|回复)?(格式|形式)|输出要求",
    "constraints": r"(constraints?|rules?|requirements?|limits?|limitations?|guidelines?|style|tone)\b"
    "|约束|限制|规则|要求|注意|风格|语气",
    TASK: r"(task|instructions?|input|question|data|your turn)\b|任务|指令|输入|问题|数据",
}
_OPENINGS = {
    "role": r"you (?!are (given|provided|asked|shown|to|going)\b|(will|can|may|must|should|need|have|want)\b)\w+"
    r"|act as\b|imagine (that )?you are\b|your role\b|(你|您)(是|扮演)|请?(你)?扮演|请?作为|假设(你|您)是",
    "context": r"our\b|we\b|for context\b|(some )?background\b|我们|本店|本公司|背景",
    "examples": r"(here (are|is) )?((a|an|the|some|one|two|three|few|several|worked) )*examples?\b|for example\b|e\.g\."
    "|例如|比如|示例|例子|以下是.{0,6}(示例|例子)|例[一二三四五六七八九十\\d]",
    "format": r"(answer|respond|reply|return|output|format)\b.*\b(in|as|with|only|using|just)\b|use (at most|no more)\b"
    r"|((write|give|keep to|in|with) )?(at most|no more than)\b"
    "|请?(仅|只)?(输出|返回)|请?(用|以|按).{0,12}(格式|形式|要点|列表)|请用[^，。]{0,12}(输出|回答)|(全文)?不超过|请?控制在",
    "constraints": r"(please )?(do not|don't|never|avoid|always|must|make sure|be sure|ensure|keep|stay)\b"
    "|(请)?(不要|不得|不能|禁止|必须|务必|切勿|勿|避免|确保|注意)",
}
_ENDS = ("format", "constraints")
"""What may follow examples without a heading."""
_DYNAMIC = re.compile(r"\{[{%]")
_HEADING = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+(?P<a>.+?)#*|\*\*(?P<b>[^*]+)\*\*[:：]?|【(?P<c>[^】]+)】[:：]?|<(?P<d>[\w -]+)>)[ \t]*\n?"
)
_LABEL_ALONE = re.compile(r"[ \t]*(?P<text>[^\n:：.!?。！？]{1,40})[:：][ \t]*\n?")
_LABEL = re.compile(r"[ \t]*(?:\*\*)?([A-Za-z\u3400-\u9fff][\w ]{0,24}?)[ \t]*\d*(?:\*\*)?[:：]")
_CLOSED = re.compile(r"</[\w -]+>\s*$")
_ITEM = re.compile(r"[ \t]*(?:[-*]\s+|[•·]\s*|\d+[.)、]\s*)")
_FINISHED = re.compile(r"[.!?:;。！？：；][\"'”’)）]*\s*$")
_NUMBERED = re.compile(
    r"^\W*(?:examples?|samples?|示例|例子|样例|例)[ \t]*#?[\d一二三四五六七八九十]+|<example\b",
    re.IGNORECASE | re.MULTILINE,
)


def recognise(template: str) -> list[tuple[str, str]]:
    """Cut a template into `(segment, text)`; joined, the texts are the template.

    A heading speaks for all that follows up to the next one; a label such as `Rules:` for its own paragraph, or the
    next, and `Examples:` for all examples. Without them a paragraph of examples is one piece, and of other paragraphs
    every sentence that begins a line is looked at for itself. Examples end where format or constraints begin after the
    last of them.
    """
    found: list[tuple[str, str]] = []
    paragraphs = list(_paragraphs(template))
    shapes = {_labels(text) for text in paragraphs if _DYNAMIC.search(text)}
    group: str | None = None  # what the latest heading announced
    alone = label = False  # the latest piece is nothing but that heading; it is a label
    for i, paragraph in enumerate(paragraphs):
        first, _, body = paragraph.partition("\n")
        heading = _heading(first)
        if heading is not None:
            group, label = heading, _HEADING.fullmatch(first) is None
        if group is not None:
            if _DYNAMIC.search(paragraph):
                if alone:
                    found[-1] = (TASK, found[-1][1])
                found.append((TASK, paragraph))
            elif group == "examples" and (end := _end_of_examples(found, paragraph, paragraphs[i + 1 :])) is not None:
                found += [("examples", paragraph[:end]), *((_opening(run), run) for run in _runs(paragraph[end:]))]
                group = None
                continue
            else:
                found.append((group, paragraph))
            alone = heading is not None and not body.strip()
            ends = label and group != "examples" and not alone
            if ends or _CLOSED.search(paragraph) or (found[-1][0] == TASK and group != TASK):
                group = None
        elif _is_example(paragraph, shapes):
            end = _end_of_examples(found, paragraph, paragraphs[i + 1 :])
            found.append(("examples", paragraph[:end]))
            found += [] if end is None else [(_opening(run), run) for run in _runs(paragraph[end:])]
        else:
            found += [(_opening(run), run) for run in _runs(paragraph)]
    return _joined(found)


def count_examples(segment: str, text: str) -> int | None:
    """Number of examples in a segment that is named after them: by their numbers, their labels, or as items of a list.

    Args:
        segment: Its name.
        text: Its text, without the mark.
    """
    if not re.match(_HEADINGS["examples"], re.sub(r"[_-]+", " ", segment), re.IGNORECASE):
        return None
    if numbered := len(_NUMBERED.findall(text)):
        return numbered
    lines = [line for line in text.splitlines() if line.strip() and _heading(line) is None]
    labels = [found[1] for line in lines if (found := _LABEL.match(line)) and "examples" not in found[1].lower()]
    if labels:
        return labels.count(labels[0])
    return sum(bool(_ITEM.match(line)) for line in lines) or None


def _paragraphs(template: str) -> Iterator[str]:
    """Paragraphs, each with the blank lines that follow it; a heading begins one, and a tag holds all up to its end."""
    paragraph, tag, ended = "", "", False
    for line in template.splitlines(keepends=True):
        heading = None if tag else _HEADING.fullmatch(line)
        if paragraph and line.strip() and not tag and (ended or heading):
            yield paragraph
            paragraph = ""
        paragraph += line
        tag = (heading["d"] or "") if heading else tag
        ended = not line.strip() or (bool(tag) and f"</{tag}>" in line)
        tag = "" if ended and line.strip() else tag
    if paragraph:
        yield paragraph


def _heading(line: str) -> str | None:
    """What a heading announces; the task where it is an unknown one, None where the line is no heading."""
    found = _HEADING.fullmatch(line)
    label = None if found else _LABEL_ALONE.fullmatch(line)
    text = next(filter(None, found.groups())) if found else label["text"] if label else None
    if text is None:
        return None
    words = text.strip().lstrip("0123456789.、 ").replace("_", " ")
    known = next((kind for kind, words_of in _HEADINGS.items() if re.match(words_of, words, re.IGNORECASE)), None)
    return TASK if known is None and found else known


def _is_example(paragraph: str, shapes: set[tuple[str, ...]]) -> bool:
    """Whether a paragraph is an example: it says so, or has the labels of the one that the sample is put into."""
    if _DYNAMIC.search(paragraph):
        return False
    labels = _labels(paragraph)
    return (len(labels) > 1 and labels in shapes) or _opening(paragraph) == "examples"


def _end_of_examples(found: list[tuple[str, str]], paragraph: str, later: list[str]) -> int | None:
    """Where in a paragraph of examples format or constraints begin; None where nothing says so for sure.

    They do at the beginning of the line after the last labelled one, such as `Output: A kettle.`, if every example has
    its texts on the lines of their labels, so that this line cannot be more of the text above it, and none follows.

    Args:
        found: What was found before it, its examples last.
        paragraph: Any of the examples, up to the next heading.
        later: The paragraphs that follow.
    """
    if (heading := _HEADING.match(paragraph)) is not None and heading["d"]:
        return None
    if all(_opening(line) not in _ENDS for line in paragraph.splitlines()):
        return None
    names = [name for text in (*(text for _, text in found), paragraph, *later) for name in _labels(text)]

    def is_labelled(line: str) -> bool:
        label = _LABEL.match(line)
        return label is not None and (_heading(f"{label[1]}:") not in _ENDS or names.count(label[1]) > 1)

    ahead = takewhile(lambda text: _heading(text.partition("\n")[0]) is None, later)
    if any(is_labelled(line) for text in ahead if not _DYNAMIC.search(text) for line in text.splitlines()):
        return None
    shown = "".join(text for _, text in reversed([*takewhile(lambda piece: piece[0] == "examples", reversed(found))]))
    lines = f"{shown}{paragraph}".splitlines(keepends=True)
    labelled = [k for k, line in enumerate(lines) if is_labelled(line)]
    if not labelled or _LABEL_ALONE.fullmatch(lines[labelled[-1]]):
        return None
    others = [k for k, line in enumerate(lines) if k > labelled[0] and k not in labelled and line.strip()]
    if not others or others[0] < labelled[-1]:
        return None
    first, at = lines[others[0]].lstrip(), sum(map(len, lines[: others[0]])) - len(shown)
    clear = not first[0].islower() and not _ITEM.match(first) and _opening(first) in _ENDS
    return at if clear and at >= 0 else None


def _labels(paragraph: str) -> tuple[str, ...]:
    return tuple(found[1] for line in paragraph.splitlines() if (found := _LABEL.match(line)))


def _runs(paragraph: str) -> Iterator[str]:
    """Lines of a paragraph, each with those that go on with its sentence or are items below it."""
    run = ""
    for line in paragraph.splitlines(keepends=True):
        start = line.lstrip()[:1]
        goes_on = (start.islower() or start == "{") and not _FINISHED.search(run)
        if run and not (goes_on or not start or _ITEM.match(line)):
            yield run
            run = ""
        run += line
    if run:
        yield run


def _opening(run: str) -> str:
    """What a run of lines is for, by how it begins: its label or its first words."""
    if _DYNAMIC.search(run):
        return TASK
    text = _ITEM.sub("", run.strip(), count=1)
    label = _LABEL.match(text)
    if label and (kind := _heading(f"{label[1]}:")):
        return kind
    return next((kind for kind, words in _OPENINGS.items() if re.match(words, text, re.IGNORECASE)), TASK)


def _joined(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one segment as one piece; what is nothing but blank goes with what is before it."""
    found: list[tuple[str, str]] = []
    for segment, text in pieces:
        if found and (found[-1][0] == segment or not text.strip()):
            found[-1] = (found[-1][0], found[-1][1] + text)
        elif text:
            found.append((segment, text))
    return found
