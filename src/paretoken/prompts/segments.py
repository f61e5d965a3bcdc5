"""Segments of a prompt, by its marks or recognised, and the same prompt without one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateSyntaxError

from paretoken.core.errors import SpecError
from paretoken.core.files import read_text
from paretoken.prompts.library import COMMENT, MARK, Prompt
from paretoken.prompts.recognition import count_examples, recognise

if TYPE_CHECKING:
    from collections.abc import Collection


class Piece(NamedTuple):
    """A stretch of a template; the pieces of a section, joined, are its template.

    Attributes:
        section: Index of the section.
        segment: Name of the segment it belongs to; empty for what belongs to none and always stays.
        text: Its text, the mark included.
    """

    section: int
    segment: str
    text: str


@dataclass(frozen=True, slots=True)
class SplitPrompt:
    """A prompt cut into pieces.

    Attributes:
        prompt: The whole prompt.
        pieces: In order.
        marked: The author marked the segments; otherwise they were recognised.
    """

    prompt: Prompt
    pieces: tuple[Piece, ...]
    marked: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the segments, in order."""
        return tuple(dict.fromkeys(piece.segment for piece in self.pieces if piece.segment))

    def text(self, segment: str) -> str:
        """What a segment says, without its mark."""
        return MARK.sub("", "".join(piece.text for piece in self.pieces if piece.segment == segment)).strip()

    def n_examples(self, segment: str) -> int | None:
        """How many examples a segment of examples has; None for others, and where they cannot be counted."""
        return count_examples(segment, self.text(segment))

    def without(self, segment: str, inputs: Collection[str] = ()) -> Prompt:
        """The prompt as it would be if the segment had never been written.

        Args:
            segment: Its name.
            inputs: Template variables that stand for the sample's input.

        Raises:
            SpecError: What is left is no prompt, or asks the same of every sample.
        """
        sections = []
        for i, (role, _) in enumerate(self.prompt.sections):
            left = "".join(p.text for p in self.pieces if p.section == i and p.segment != segment).strip()
            if MARK.sub("", left).strip():
                sections.append((role, left))
            elif role != "system":
                raise self._refuse(segment, f"leaves the {role} turn empty")
        rest = Prompt(f"{self.prompt.name}-without-{segment}", tuple(sections), self.prompt.path)
        used = self.prompt.variables
        try:
            left_over = rest.variables
        except TemplateSyntaxError as error:
            raise self._refuse(segment, f"breaks the template: {error.message}") from error
        if used and not left_over:
            raise self._refuse(segment, "leaves nothing of the sample")
        if used & {*inputs} and not left_over & {*inputs}:
            raise self._refuse(segment, "takes out the only use of the sample's input")
        return rest

    def _refuse(self, segment: str, why: str) -> SpecError:
        first = next(piece.text for piece in self.pieces if piece.segment == segment)
        return SpecError(f"leaving out {segment!r} {why.removesuffix('.')}.",
                         fix=f"Keep it: plan: {{segments: {{keep: [{segment}]}}}}.", file=self.prompt.path,
                         line=_line(self.prompt, first))  # fmt: skip


def split_prompt(prompt: Prompt) -> SplitPrompt:
    """Cut a prompt at its marks; one without marks where role, context, examples, format and constraints begin.

    Raises:
        SpecError: It has one part only, or a mark that cannot be used.
    """
    marked = bool(prompt.segments)
    for _, template in prompt.sections:
        for comment in COMMENT.findall(template):
            if not MARK.fullmatch(comment) or f"\n{comment}" not in f"\n{template}":
                raise SpecError(f"{comment!r} is no mark.", fix="Write <!-- segment: name --> on a line of its own, "
                                "the name without blanks.", file=prompt.path, line=_line(prompt, comment))  # fmt: skip
    cut = _at_marks if marked else recognise
    pieces = tuple(
        Piece(i, segment, text) for i, (_, template) in enumerate(prompt.sections) for segment, text in cut(template)
    )
    split = SplitPrompt(prompt, pieces, marked)
    if marked:
        _check_marks(split)
    if len(split.names) + any(not p.segment and p.text.strip() for p in pieces) < 2:
        problem = "the prompt has one segment only" if split.names else "no segments are marked or recognised"
        raise SpecError(f"{problem}: nothing can be left out.", fix="Mark its parts with lines such as <!-- segment: "
                        "examples -->.", file=prompt.path, line=_line(prompt, prompt.sections[0][1]))  # fmt: skip
    return split


def _at_marks(template: str) -> list[tuple[str, str]]:
    marks = list(MARK.finditer(template))
    ends = [mark.start() for mark in marks] + [len(template)]
    segments = [(mark[1], template[mark.start() : end]) for mark, end in zip(marks, ends[1:], strict=True)]
    return [("", template[: ends[0]]), *segments] if ends[0] else segments


def _check_marks(split: SplitPrompt) -> None:
    prompt = split.prompt
    for segment, times in Counter(piece.segment for piece in split.pieces if piece.segment).items():
        mark = next(piece.text for piece in split.pieces if piece.segment == segment)
        if times > 1:
            raise SpecError(f"two segments are named {segment!r}.", fix="Give one of them another name.",
                            file=prompt.path, line=_line(prompt, mark, 2))  # fmt: skip
        if not split.text(segment):
            raise SpecError(f"the segment {segment!r} is empty.", fix="Write its text below its mark, or take the mark "
                            "out.", file=prompt.path, line=_line(prompt, mark))  # fmt: skip


def _line(prompt: Prompt, text: str, nth: int = 1) -> int | None:
    """Line of a prompt's file on which a text begins; the nth such line."""
    wanted = " ".join(text.strip().partition("\n")[0].split())
    lines = read_text(prompt.path).split("\n")
    found = [number for number, line in enumerate(lines, start=1) if wanted in " ".join(line.split())]
    return found[nth - 1] if len(found) >= nth else None
