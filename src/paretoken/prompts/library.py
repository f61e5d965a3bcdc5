"""The prompt library: Markdown files with front matter, role sections and Jinja2 templates.

    ---
    name: terse
    description: One short paragraph.
    ---
    # system
    You write product copy.
    # user
    <!-- segment: task -->
    Describe {{ product }} in at most 40 words.

A file without sections is one message of the user. Templates run in Jinja2's immutable sandbox; a variable the dataset
lacks is an error before anything is spent.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from paretoken.core.calls import Message
from paretoken.core.errors import SpecError
from paretoken.core.files import read_text
from paretoken.core.registry import suggest
from paretoken.core.text import comparable, well_formed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jinja2.runtime import Context

Section = Literal["system", "user", "assistant"]

_SECTION = re.compile(r"^#[ \t]+(system|user|assistant)[ \t]*$", re.MULTILINE)
MARK = re.compile(r"^[ \t]*<!--[ \t]*segment:[ \t]*([\w-]+)[ \t]*-->[ \t]*\n?", re.MULTILINE)
"""Begins a segment, which goes on to the next mark or the end of the section; marks are never sent."""
COMMENT = re.compile(r"[^\n]*<!--[ \t]*segment\b[^\n]*")
"""A line that is meant to be a mark."""
_FRONT_KEYS = ("name", "description")
_HEADING = re.compile(r"^[ \t]*#+[ \t]*(system|user|assistant)[ \t]*:?[ \t]*$", re.MULTILINE | re.IGNORECASE)
"""A line that is meant to begin a section."""
_ADDRESS = re.compile(r"<[^<>]*(?:<[^<>]*>)?[^<>]* at 0x[0-9a-fA-F]+>")
"""A value that has no text of its own: a method that was not called, a generator."""
MAX_BITS = 4096


class _Templates(ImmutableSandboxedEnvironment):
    """Templates of plain text: nothing is escaped, and no power is worked out that has thousands of digits."""

    intercepted_binops = frozenset(["**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out a power.

        Raises:
            ValueError: It is too large.
        """
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_BITS:
            raise ValueError(f"{left} ** {right} is too large")
        return super().call_binop(context, operator, left, right)


def _to_json(value: object, indent: int | None = None) -> str:
    """A value as JSON for a model to read: unlike Jinja2's own, it escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, default=str)


_JINJA = _Templates(undefined=StrictUndefined, finalize=lambda value: "" if value is None else value)
_JINJA.filters["tojson"] = _to_json


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template of one conversation.

    Attributes:
        name: Unique in an experiment.
        sections: `(role, template)` in order, segment marks included.
        version: Six hex digits of the content hash.
        path: Where it was read.
    """

    name: str
    sections: tuple[tuple[Section, str], ...]
    path: Path
    description: str = ""
    version: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps(self.sections, ensure_ascii=False)
        object.__setattr__(self, "version", hashlib.sha256(content.encode()).hexdigest()[:6])

    @property
    def id(self) -> str:
        """Name and version: `terse@3f9a1c`."""
        return f"{self.name}@{self.version}"

    @property
    def text(self) -> str:
        """All sections as one readable text."""
        return "\n\n".join(f"# {role}\n{template}" for role, template in self.sections)

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the marked parts, in order."""
        return tuple(MARK.findall(self.text))

    @property
    def variables(self) -> frozenset[str]:
        """Names that its templates use.

        Raises:
            TemplateSyntaxError: Of a prompt that was not read from a file, but cut out of one.
        """
        return frozenset[str]().union(*map(_variables, (template for _, template in self.sections)))

    def check(self, variables: Iterable[str]) -> None:
        """Make sure that the template uses only these variables.

        Raises:
            SpecError: It uses another, with its line and the nearest known one.
        """
        known = frozenset(variables)
        for _, template in self.sections:
            for name in sorted(n for n in _variables(template) if comparable(n) not in known):
                raise SpecError(f"the template uses {name!r}, which the dataset does not offer.",
                                fix=suggest(name, known), file=self.path, line=self._line_of(name))  # fmt: skip

    def _line_of(self, variable: str) -> int | None:
        pattern = re.compile(rf"\{{[{{%][^}}]*\b{re.escape(variable)}\b")
        lines = read_text(self.path).split("\n")
        return next((number for number, line in enumerate(lines, start=1) if pattern.search(line)), None)

    def render(self, values: Mapping[str, object]) -> tuple[Message, ...]:
        """The conversation for one sample.

        Raises:
            SpecError: The template fails on these values.
        """
        values = {**values, **{n: values[comparable(n)] for n in self.variables if comparable(n) in values}}
        try:
            texts = [(role, _compile(template).render(values).strip()) for role, template in self.sections]
        except Exception as error:  # a template is a program: it can fail in any way
            raise SpecError(f"the template cannot be rendered: {error}.", file=self.path) from error
        for _, text in texts:
            found = _ADDRESS.search(text) if " at 0x" in text else None
            if found and found[0] not in f"{self.text}{[*values.values()]}":
                raise SpecError(f"the template shows {found[0]}, which is no value of the sample.", fix="Call it, or "
                                "write VALUE['key'] for a key of this name.", file=self.path)  # fmt: skip
        return tuple(Message(role, well_formed(text)) for role, text in texts)


def _variables(template: str) -> set[str]:
    return meta.find_undeclared_variables(_JINJA.parse(MARK.sub("", template)))


@cache
def _compile(template: str) -> Template:
    return _JINJA.from_string(MARK.sub("", template))


def templates_of(text: str) -> list[tuple[Section, str]]:
    """The templates in a prompt's `text` with their roles, without the marks of segments."""
    parts = _SECTION.split(MARK.sub("", text))[1:]
    roles = cast("list[Section]", parts[::2])
    return [(role, template.strip()) for role, template in zip(roles, parts[1::2], strict=True)]


def load_prompts(paths: Iterable[Path]) -> tuple[Prompt, ...]:
    """Read prompt files, and all `.md` files of folders.

    Raises:
        SpecError: A file is missing or broken, or two prompts share a name.
    """
    prompts: dict[str, Prompt] = {}
    for path in paths:
        files = sorted(path.glob("*.md")) if path.is_dir() else [path]
        if not files:
            raise SpecError("the folder holds no prompt.", fix="Prompts are .md files.", file=path)
        for file in files:
            prompt = _read_prompt(file)
            if prompt.name in prompts:
                raise SpecError(f"two prompts are named {prompt.name!r}: here and in {prompts[prompt.name].path}.",
                                fix="Give one of them another `name:`.", file=file)  # fmt: skip
            prompts[prompt.name] = prompt
    return tuple(prompts.values())


def _read_prompt(path: Path) -> Prompt:
    if not path.is_file():
        raise SpecError("the prompt does not exist.", fix="Paths are relative to the spec.", file=path)
    text = read_text(path)
    front, body = _split_front_matter(text, path)
    n_front_lines = text[: len(text) - len(body)].count("\n")
    parts = _SECTION.split(body)
    if len(parts) == 1:
        if (like := _HEADING.search(body)) is not None:
            raise SpecError(f"{like[0].strip()!r} begins no section.", fix=f"Write `# {like[1].lower()}`.", file=path,
                            line=n_front_lines + body[: like.start()].count("\n") + 1)  # fmt: skip
        if body.startswith("---\n"):
            raise SpecError("the front matter has no end.", fix="Write `---` on a line of its own below it.", file=path,
                            line=1)  # fmt: skip
        parts = ["", "user", body] if body.strip() else [""]
    if parts[0].strip():
        raise SpecError("text stands before the first section.", fix="Begin with `# system` or `# user`.", file=path,
                        line=n_front_lines + body[: body.index(parts[0].strip())].count("\n") + 1)  # fmt: skip
    sections = tuple(
        (cast("Section", role), template.strip()) for role, template in zip(parts[1::2], parts[2::2], strict=True)
    )
    if not any(role == "user" for role, _ in sections):
        raise SpecError("the prompt has no `# user` section.", file=path)
    for _, template in sections:
        try:
            _JINJA.compile(template)
        except TemplateSyntaxError as error:
            line = n_front_lines + body[: body.index(template)].count("\n") + error.lineno
            raise SpecError(f"template syntax: {error.message}.", file=path, line=line) from error
        except Exception as error:  # constants are worked out here
            raise SpecError(f"the template cannot be compiled: {error}.", file=path) from error
    name = well_formed(str(front.get("name") or path.stem))
    if "@" in name or "|" in name:
        raise SpecError(f"a prompt cannot be named {name!r}.", fix="Leave out `@` and `|`.", file=path)
    return Prompt(name, sections, path, well_formed(str(front.get("description") or "")))


def _split_front_matter(text: str, path: Path) -> tuple[Mapping[str, object], str]:
    match = re.match(r"---\n(.*?)^---\n", text, re.DOTALL | re.MULTILINE)
    if match is None:
        return {}, text
    try:
        front = YAML(typ="safe", pure=True).load(match[1]) or {}
    except MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 2
        raise SpecError(f"broken front matter: {error.problem}.", file=path, line=line) from error
    except (YAMLError, ValueError) as error:
        raise SpecError(f"broken front matter: {str(error).splitlines()[0]}.", file=path) from error
    if not isinstance(front, dict):
        raise SpecError("the front matter is not a mapping.", file=path, line=2)
    for key in front:
        if key not in _FRONT_KEYS:
            raise SpecError(f"unknown key {key!r} in the front matter.", fix=suggest(str(key), _FRONT_KEYS), file=path,
                            line=_line_of_key(str(key), match[1]))  # fmt: skip
    return front, text[match.end() :]


def _line_of_key(key: str, front: str) -> int | None:
    pattern = re.compile(rf"""["']?{re.escape(key)}["']?\s*:""")
    return next((number for number, line in enumerate(front.splitlines(), start=2) if pattern.match(line)), None)
