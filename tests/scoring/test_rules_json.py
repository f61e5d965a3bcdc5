"""What counts as JSON that a schema accepts, and which schemas are refused before anything is asked."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.errors import SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.rules import JsonSchema

OBJECT = {"type": "object", "required": ["k"]}


def accepts(schema: dict[str, object], answer: str) -> bool:
    ((one,),) = asyncio.run(JsonSchema(schema).score([ScoreItem(answer, "", None, {})]))
    return one.value == 1.0


@given(
    fence=st.sampled_from(["```", "`````", "~~~", "~~~~"]),
    language=st.sampled_from(["", "json", " json", "JSON5", "json title=x", "text"]),
    end=st.sampled_from(["\n", "\r\n"]),
    value=st.recursive(st.integers() | st.booleans() | st.none() | st.text(max_size=8), st.lists, max_leaves=4),
)
def test_any_fence_around_the_whole_answer_is_taken_off(fence: str, language: str, end: str, value: object) -> None:
    told = json.dumps(value, ensure_ascii=False)
    for answer in (f"{fence}{language}{end}{told}{end}{fence}", f"\ufeff {told} ", f" {fence}json {told}{fence}\n"):
        assert accepts({"const": value}, answer), answer
    assert not accepts({}, f"Here it is:{end}{fence}{language}{end}{told}{end}{fence}")
    assert not accepts({}, f"{fence}{language}{end}{{'single': quotes}}{end}{fence}")


@given(st.integers(-(10**6), 10**6), st.integers(0, 4), st.integers(1, 99))
def test_multiples_are_those_of_the_written_numbers(n: int, places: int, step: int) -> None:
    divisor = Decimal(step).scaleb(-places)
    schema: dict[str, object] = {"multipleOf": float(divisor)}
    assert accepts(schema, str(n * divisor))
    assert not accepts(schema, str(n * divisor + divisor / 3)) or not divisor % 3


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_to_nowhere_is_refused(keyword: str) -> None:
    for schema in ({"items": {keyword: "#gone"}}, {"properties": {"p": {keyword: "#/$defs/gone"}}}):
        with pytest.raises(SpecError, match="gone"):
            JsonSchema(schema)


def test_references_are_looked_up_from_where_they_stand() -> None:
    inner = {"$id": "https://example.org/inner", "$ref": "#/$defs/k", "$defs": {"k": OBJECT}}
    assert accepts({"$ref": "inner", "$id": "https://example.org/outer", "$defs": {"i": inner}}, '{"k": 1}')
    assert accepts({"$defs": {"d": {"$dynamicAnchor": "d", "type": "null"}}, "$dynamicRef": "#d"}, "null")
    assert accepts({"const": {"$ref": "#/only/data"}}, '{"$ref": "#/only/data"}')


def test_a_schema_without_an_end_is_refused() -> None:
    with pytest.raises(SpecError, match="without end"):
        JsonSchema({"$ref": "#"})
    assert accepts({"properties": {"next": {"$ref": "#"}}}, '{"next": {"next": {}}}')
