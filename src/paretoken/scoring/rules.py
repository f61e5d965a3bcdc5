"""Rules that an answer keeps (1.0) or breaks (0.0)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, cast

from paretoken.core.errors import SpecError
from paretoken.core.protocols import Scored, ScoreItem
from paretoken.core.text import comparable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Resource
    from referencing._core import Resolver

_FENCE = re.compile("`{3,}|~{3,}")
_LANGUAGE = re.compile(r"[^\S\r\n]*(?!(?:true|false|null)\b)[A-Za-z][\w+.-]*(?:[^\r\n{\[\"]*\r?\n)?")
"""What may stand after a fence: a language, and whatever else its line says."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Contains:
    """The answer contains a text, or the value of a column of its sample; of a list, every value.

    Numbers and bools are looked for as JSON writes them, whole numbers without a fraction: `5`, `true`.

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
        field = field and comparable(field)
        self._text, self._field, self._ignore_case = text, field, ignore_case
        self.reads = () if field is None else (field,)

    @property
    def provenance(self) -> str:
        """The rule."""
        wanted = f"field={self._field!r}" if self._text is None else repr(self._text)
        return f"contains 2({wanted}{', ignore_case' if self._ignore_case else ''})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[self._check(item)] for item in items]

    def _check(self, item: ScoreItem) -> Scored:
        wanted: object = self._text
        if self._field is None:
            pass
        elif (value := item.fields.get(self._field)) is None or value != value or value == "":
            return Scored("contains", None, f"the sample has nothing in column {self._field!r}")
        else:
            wanted = value
        texts = _texts(wanted)
        if not texts:
            return Scored("contains", None, f"column {self._field!r} holds {wanted!r}, in which there is no text")
        answer = self._form(item.answer)
        return Scored("contains", float(all(self._form(text) in answer for text in texts)))

    def _form(self, text: str) -> str:
        text = comparable(text)
        return comparable(text.casefold()) if self._ignore_case else text


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
            self._pattern = re.compile(comparable(pattern))
        except (re.error, OverflowError, RecursionError) as error:
            raise SpecError(
                f"regex {pattern!r} does not compile: {error}.", fix="Python's `re` says what it may hold."
            ) from error

    @property
    def provenance(self) -> str:
        """The rule."""
        return f"regex 2({self._pattern.pattern!r})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("regex", float(self._pattern.search(comparable(item.answer)) is not None))] for item in items]


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
        from jsonschema.validators import extend, validator_for
        from referencing import Registry, Resource
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
            _look_up(resource, resolver)
            self._text = json.dumps(schema, ensure_ascii=False, sort_keys=True)
            exact = cast("Any", extend)(kind, {"multipleOf": _multiple_of})
            self._validator: Validator = exact(dict(schema), registry=Registry())
            for text in ("null", "true", "0", '""', "[]", "{}"):
                self._validator.is_valid(json.loads(text))
        except SchemaError as error:
            raise SpecError(
                f"json_schema is not a JSON Schema: {error.message} at {error.json_path}.", fix="Correct the schema."
            ) from error
        except RecursionError as error:
            raise SpecError("json_schema refers to itself without end.", fix="Let every $ref lead further into the "
                            "answer, by properties or items.") from error  # fmt: skip
        except TypeError as error:
            raise SpecError(f"json_schema is not JSON: {error}.", fix="Put dates in quotes.") from error

    @property
    def provenance(self) -> str:
        """The schema."""
        return f"json_schema 2({self._text})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("json_schema", float(self._accepts(item.answer)))] for item in items]

    def _accepts(self, answer: str) -> bool:
        try:
            value = json.loads(_without_fence(answer), parse_constant=_refuse)
            return bool(self._validator.is_valid(value))
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
        return f"max_chars 2({self._limit})"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Check a batch, shape `(n, 1)`; 1 is kept."""
        return [[Scored("max_chars", float(len(comparable(item.answer.strip())) <= self._limit))] for item in items]


def _texts(value: object) -> list[str]:
    """What to look for in an answer for a value: of a list every part, of an object nothing."""
    if isinstance(value, list | tuple):
        parts = [_texts(part) for part in value]
        return [text for part in parts for text in part] if all(parts) else []
    if value is None or isinstance(value, Mapping):
        return []
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [str(value)]


def _without_fence(answer: str) -> str:
    text = answer.strip("\ufeff \t\r\n")
    fence = _FENCE.match(text)
    if fence is None or len(text) < 2 * fence.end() or not text.endswith(fence[0]):
        return text
    body = text[fence.end() :].rstrip(fence[0][0])
    language = _LANGUAGE.match(body)
    return body[language.end() :] if language else body


def _look_up(resource: Resource[Any], resolver: Resolver[Any]) -> None:
    """Make sure that every reference in a schema leads somewhere, each from where it stands."""
    from referencing.exceptions import Unresolvable

    resolver = resolver.in_subresource(resource)
    if isinstance(resource.contents, Mapping):
        for keyword in _REFERENCES:
            if isinstance(reference := resource.contents.get(keyword), str):
                try:
                    resolver.lookup(reference)
                except Unresolvable as error:
                    raise SpecError(
                        f"json_schema refers to {reference!r}, which is not in it.",
                        fix="Put the definition under $defs.",
                    ) from error
    for inner in resource.subresources():
        _look_up(inner, resolver)


def _multiple_of(validator: Validator, divisor: float, value: Any, _: object) -> Iterator[ValidationError]:
    """`multipleOf` of numbers as they are written: 19.99 is a multiple of 0.01, which no binary fraction is."""
    from jsonschema.exceptions import ValidationError

    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(divisor)):
        yield ValidationError(f"{value!r} is not a multiple of {divisor!r}")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
