import asyncio

import pytest

from paretoken.core.errors import SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.core.registry import load
from paretoken.scoring.rules import Contains, JsonSchema, MaxChars, Regex
from paretoken.testing.scorers import ScorerSuite

PERSON = {
    "type": "object",
    "properties": {"name": {"$ref": "#/$defs/text"}, "age": {"type": "integer"}},
    "required": ["name"],
    "$defs": {"text": {"type": "string", "minLength": 1}},
}


def scored(scorer, answer: str, fields: dict[str, object] | None = None):
    ((one,),) = asyncio.run(scorer.score([ScoreItem(answer, "", None, fields or {})]))
    return one


class TestContains(ScorerSuite):
    def make_scorer(self):
        return Contains("a", ignore_case=True)


class TestRegex(ScorerSuite):
    def make_scorer(self):
        return Regex(r"\bwater\b")


class TestJsonSchema(ScorerSuite):
    def make_scorer(self):
        return JsonSchema(PERSON)


class TestMaxChars(ScorerSuite):
    def make_scorer(self):
        return MaxChars(40)


def test_contains_text():
    assert scored(Contains("free"), "It is free.").value == 1.0
    assert scored(Contains("free"), "It is Free.").value == 0.0
    assert scored(Contains("STRASSE", ignore_case=True), "Lange Straße").value == 1.0
    assert scored(Contains("三分钟"), "只要三分钟就好").value == 1.0


def test_contains_column():
    rule = Contains(field="label")
    assert scored(rule, "The answer is 42.", {"label": 42}).value == 1.0
    assert scored(rule, "positive", {"label": "negative"}).value == 0.0
    assert scored(rule, "The answer is 0.", {"label": 0}).value == 1.0
    for fields in ({}, {"label": None}, {"label": ""}, {"label": float("nan")}):
        missing = scored(rule, "anything", fields)
        assert missing.value is None
        assert "'label'" in missing.reason


@pytest.mark.parametrize(
    "arguments",
    [{}, {"text": "a", "field": "b"}, {"text": ""}, {"text": 42}, {"field": 7}, {"text": "a", "ignore_case": "yes"}],
)
def test_contains_refuses(arguments):
    with pytest.raises(SpecError, match="contains"):
        Contains(**arguments)


def test_regex_searches():
    assert scored(Regex(r"\d+ (min|minutes)"), "It takes 3 minutes.").value == 1.0
    assert scored(Regex(r"(?i)^FREE"), "free of charge").value == 1.0
    assert scored(Regex(r"^\d+$"), "about 3").value == 0.0


@pytest.mark.parametrize("pattern", ["(open", "*", 42, None])
def test_regex_refuses(pattern):
    with pytest.raises(SpecError, match="regex"):
        Regex(pattern)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ('{"name": "Mei", "age": 30}', 1.0),
        ('```json\n{"name": "Mei"}\n```', 1.0),
        ('\n```\n{"name": "美"}\n```\n', 1.0),
        ('```JSON\n{\n  "name": "Mei"\n}```', 1.0),
        ('Here you are: {"name": "Mei"}', 0.0),
        ('{"name": ""}', 0.0),
        ('{"name": "Mei", "age": "30"}', 0.0),
        ('{"name": "Mei", "age": NaN}', 0.0),
        ('{"age": 30}', 0.0),
        ('{"name": "Mei"', 0.0),
        ("[" * 100_000, 0.0),
        ("9" * 5000, 0.0),
        ("", 0.0),
    ],
)
def test_json_schema(answer, value):
    assert scored(JsonSchema(PERSON), answer).value == value


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("object", "is given 'object'"),
        ({"type": "objekt"}, r"'objekt' is not valid .* at \$\.type"),
        ({"required": "name"}, "not a JSON Schema"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "missing"),
        ({"$ref": "https://example.org/person.json"}, "example.org"),
        ({"anyOf": [{"$ref": "other.json"}]}, "other.json"),
    ],
)
def test_json_schema_refuses(schema, message):
    with pytest.raises(SpecError, match=message):
        JsonSchema(schema)


def test_json_schema_of_an_older_draft_and_with_an_id():
    draft7 = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"type": "number"}}}
    rule = JsonSchema(draft7 | {"$id": "https://example.org/n.json", "$ref": "#/definitions/n"})
    assert scored(rule, "3.5").value == 1.0
    assert scored(rule, '"3.5"').value == 0.0


def test_json_schema_may_refer_to_itself():
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    assert scored(JsonSchema(tree), '{"next": {"next": {}}}').value == 1.0
    assert scored(JsonSchema(tree), '{"next": {"last": {}}}').value == 0.0


def test_max_chars_counts_characters():
    assert scored(MaxChars(5), "五个汉字呀").value == 1.0
    assert scored(MaxChars(5), " 12345\n").value == 1.0
    assert scored(MaxChars(5), "123456").value == 0.0
    assert scored(MaxChars(5), "").value == 1.0


@pytest.mark.parametrize("limit", [0, -1, 2.5, "400", True, None])
def test_max_chars_refuses(limit):
    with pytest.raises(SpecError, match="max_chars"):
        MaxChars(limit)


def test_rules_say_in_their_provenance_what_they_check():
    assert Contains("free").provenance != Contains(field="free").provenance != Contains("free", ignore_case=True)
    assert MaxChars(3).provenance == "max_chars 2(3)"
    assert Regex("a+").provenance == "regex 2('a+')"
    assert '"minLength": 1' in JsonSchema(PERSON).provenance


@pytest.mark.parametrize(
    "name", ["bertscore", "chrf", "column", "contains", "json_schema", "max_chars", "regex", "rouge_l"]
)
def test_names_in_a_spec_resolve(name):
    assert load("paretoken.scorers", name).name == name
