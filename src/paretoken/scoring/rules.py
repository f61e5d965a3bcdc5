"""Rules that an answer keeps (1.0) or breaks (0.0)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from paretoken.core.errors import SpecError
from paretoken.core.protocols import Scored, ScoreItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL | re.IGNORECASE)


class Contains:
    """The answer contains a text, or the value of a column of its sample.

    Args:
        text: The text to look for.
        field: The column whose value to look for; give this or `text`.
        ignore_case: Treat upper and lower case alike.

    Raises:
        SpecError: Not exactly one of `text` and `field` is given, or it is not a text.
    """

    name = "contains"
    metrics = ("contains",)
    needs_reference = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"contains": (0.0, 1.0)}

    def __init__(self, text: str | None = None, *, field: str | None = None, ignore_case: bool = False) -> None:
        if (text is None) == (field is None):
            raise SpecError(
                "contains needs a text or a field, not both.",
                fix="E.g. {contains: free} or {contains: {field: label}}.",
            )
        wanted = field if text is None else text
        if not isinstance(wanted, str) or not wanted:
            raise SpecError(f"contains is given {wanted!r}.", fix="Give a text that is not empty, in quotes.")
        if not isinstance(ignore_case, bool):
            raise SpecError(f"contains' ignore_case is {ignore_case!r}.", fix="Give true or false.")
        self._text, self._field, self._ignore_case = text, field, ignore_case

    @property
    def provenance(self) -> str:
        """The rule."""
        wanted = f"field={self._field!r}" if self._text is None else repr(self._text)
        return f"contains({wanted}{', ignore_case' if self._ignore_case else ''})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[self._check(item)] for item in items]

    def _check(self, item: ScoreItem) -> Scored:
        if self._field is None:
            wanted = self._text or ""
        elif (value := item.fields.get(self._field)) is None or value != value or value == "":
            return Scored("contains", None, f"the sample has nothing in column {self._field!r}")
        else:
            wanted = str(value)
        if self._ignore_case:
            return Scored("contains", float(wanted.casefold() in item.answer.casefold()))
        return Scored("contains", float(wanted in item.answer))


class Regex:
    """A regular expression matches somewhere in the answer.

    Args:
        pattern: In the syntax of Python's `re`, flags inline: `(?i)free`.

    Raises:
        SpecError: The pattern does not compile.
    """

    name = "regex"
    metrics = ("regex",)
    needs_reference = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"regex": (0.0, 1.0)}

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise SpecError(f"regex is given {pattern!r}.", fix="Give a pattern in quotes.")
        try:
            self._pattern = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise SpecError(
                f"regex {pattern!r} does not compile: {error}.", fix="Python's `re` says what it may hold."
            ) from error

    @property
    def provenance(self) -> str:
        """The rule."""
        return f"regex({self._pattern.pattern!r})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("regex", float(self._pattern.search(item.answer) is not None))] for item in items]


class JsonSchema:
    """The answer is JSON that a schema accepts; a code fence around the whole answer is taken off first.

    Args:
        schema: A JSON Schema; the 2020-12 draft unless its `$schema` says otherwise. References stay inside it:
            nothing is fetched.

    Raises:
        SpecError: The schema is not one, or refers to something outside it.
    """

    name = "json_schema"
    metrics = ("json_schema",)
    needs_reference = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"json_schema": (0.0, 1.0)}

    def __init__(self, schema: Mapping[str, object]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry, Resource
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT202012

        if not isinstance(schema, Mapping):
            raise SpecError(
                f"json_schema is given {schema!r}.", fix="Give a schema, e.g. {json_schema: {type: object}}."
            )
        kind = validator_for(schema, default=Draft202012Validator)
        resource = Resource.from_contents(schema, default_specification=DRAFT202012)
        resolver = Registry().with_resource(resource.id() or "", resource).crawl().resolver(resource.id() or "")
        try:
            kind.check_schema(dict(schema))
            for reference in _references(schema):
                resolver.lookup(reference)
        except SchemaError as error:
            raise SpecError(
                f"json_schema is not a JSON Schema: {error.message} at {error.json_path}.", fix="Correct the schema."
            ) from error
        except Unresolvable as error:
            raise SpecError(
                f"json_schema refers to {error.ref!r}, which is not in it.", fix="Put the definition under $defs."
            ) from error
        self._validator = kind(dict(schema), registry=Registry())
        self._text = json.dumps(schema, ensure_ascii=False, sort_keys=True, default=str)

    @property
    def provenance(self) -> str:
        """The schema."""
        return f"json_schema({self._text})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("json_schema", float(self._accepts(item.answer)))] for item in items]

    def _accepts(self, answer: str) -> bool:
        fenced = _FENCED.fullmatch(answer)
        try:
            value = json.loads(fenced[1] if fenced else answer, parse_constant=_refuse)
            return self._validator.is_valid(value)
        except (ValueError, RecursionError):
            return False


class MaxChars:
    """The answer has at most so many characters, Chinese ones counting like any other.

    Args:
        limit: Code points, white space at both ends not counted.

    Raises:
        SpecError: The limit is not a whole number from 1.
    """

    name = "max_chars"
    metrics = ("max_chars",)
    needs_reference = False
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"max_chars": (0.0, 1.0)}

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise SpecError(f"max_chars is {limit!r}.", fix="Give a whole number from 1, e.g. {max_chars: 400}.")
        self._limit = limit

    @property
    def provenance(self) -> str:
        """The rule."""
        return f"max_chars({self._limit})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("max_chars", float(len(item.answer.strip()) <= self._limit))] for item in items]


def _references(schema: object) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
