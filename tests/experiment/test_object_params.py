"""Parameters that are objects or lists: said as they are, sent as they are, kept as one text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.calls import Message, Request
from paretoken.core.errors import Refused, SpecError
from paretoken.core.params import as_param, sent_value
from paretoken.experiment.source import Source
from paretoken.experiment.space import Space, parse_space
from paretoken.models.chat_format import write_body

if TYPE_CHECKING:
    from pathlib import Path

ASK = Request("vllm/m", (Message("user", "hello"),), 9)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def parse(tmp_path: Path):
    def read(space: dict[str, object], models: list[dict[str, object]] | None = None) -> Space:
        models = models or [{"id": "vllm/a"}, {"id": "vllm/b"}]
        (tmp_path / "spec.yaml").write_text(json.dumps({"models": models, "space": space}))
        source = Source(tmp_path / "spec.yaml")
        own = {str(model["id"]): model["params"] for model in source.data["models"] if "params" in model}
        return parse_space(source.data["space"], ["p@000000"], [str(m["id"]) for m in models], source, own)

    return read


@given(st.lists(json_values, max_size=3) | st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_an_object_is_sent_as_it_was_said_and_has_one_identity(value: object):
    kept = as_param(value)
    assert isinstance(kept, str)
    assert sent_value(kept) == value
    assert as_param(json.loads(json.dumps(value))) == kept
    assert write_body(replace(ASK, params=(("thinking", kept),)))["thinking"] == value


@given(st.text(max_size=9) | st.integers() | st.booleans() | st.none())
def test_other_values_are_kept_and_sent_as_they_are(value):
    assert as_param(value) == value
    if not isinstance(value, str) or not isinstance(sent_value(value), dict | list):
        assert sent_value(value) == value


@pytest.mark.parametrize(
    ("name", "written", "choices"),
    [
        ("thinking", {"type": "disabled"}, [{"type": "disabled"}]),
        ("thinking", {"choices": [{"type": "on"}, {"type": "off"}]}, [{"type": "on"}, {"type": "off"}]),
        ("chat_template_kwargs", {"enable_thinking": False}, [{"enable_thinking": False}]),
        ("stop", ["END", "\n"], [["END", "\n"]]),
        ("stop", {"choices": [["END"], ["STOP", "."], "x"]}, [["END"], ["STOP", "."], "x"]),
        ("reasoning", {"effort": "low", "exclude": True}, [{"effort": "low", "exclude": True}]),
        ("extra_body", {"top_k": 20, "thinking": {"type": "off"}}, [{"top_k": 20, "thinking": {"type": "off"}}]),
    ],
)
def test_objects_and_lists_can_be_given_as_they_are(parse, name, written, choices):
    space = parse({name: written})
    assert [sent_value(v) for v in space.choices(name)] == choices
    assert len({v.id for v in space.points()}) == 2 * len(choices)


def test_the_order_of_keys_makes_no_other_variant(parse):
    one, two = (parse({"thinking": dict(pairs)}) for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
    assert [v.id for v in one.points()] == [v.id for v in two.points()]


def test_a_condition_may_rest_on_an_object(parse):
    space = parse({
        "thinking": {"choices": [{"type": "on"}, {"type": "off"}]},
        "reasoning_effort": {"choices": ["low", "high"], "when": {"thinking": [{"type": "on"}]}},
    })  # fmt: skip
    assert len(space.enumerate()) == space.size == 2 * 3


def test_a_model_may_have_parameters_of_its_own(parse):
    params = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 0.5}
    space = parse({"max_tokens": {"choices": [8, 16]}}, [{"id": "vllm/a", "params": params}, {"id": "vllm/b"}])
    of_a, of_b = ([dict(v.params) for v in space.points() if v.model == model] for model in ("vllm/a", "vllm/b"))
    kept = as_param(params["chat_template_kwargs"])
    assert of_a == [{"chat_template_kwargs": kept, "max_tokens": n, "top_p": 0.5} for n in (8, 16)]
    assert of_b == [{"max_tokens": 8}, {"max_tokens": 16}]
    for variant in space.points():
        chosen = space.chosen(variant)
        assert space.build(lambda d, chosen=chosen: chosen[d.name]) == variant


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"thinking": '{"type": "off"}'}, "space.thinking: this is text that reads like an object"),
        ({"stop": {"choices": ["[1]", "b"]}}, "space.stop: this is text that reads like an object"),
        ({"thinking": {"choice": ["a"]}}, "unknown key 'choice'"),
        ({"top_p": {"type": "off"}}, "unknown key 'type'"),
        ({"temperature": {"choices": [[0.1], 1]}}, "neither a value"),
        ({"extra_body": {"n": 5}}, "'n' cannot be set in extra_body"),
        ({"extra_body": {"choices": [{"a": 1}, {"max_tokens": 9}]}}, "'max_tokens' cannot be set in extra_body"),
        ({"extra_body": 7}, "extra_body must be an object"),
        ({"models": ["a", "b"]}, "'models' cannot be chosen"),
        ({"thinking": {"choices": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}}, "stands twice"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(parse, space, said):
    with pytest.raises(SpecError, match=said) as caught:
        parse(space)
    assert caught.value.line is not None


@pytest.mark.parametrize(
    ("params", "space", "said"),
    [
        ({"top_p": 0.5}, {"top_p": 0.1}, "'top_p' is chosen under `space`, too"),
        ({"max_tokens": 5}, {}, "'max_tokens' is no parameter of a model"),
        ({"n": 5}, {}, "'n' is no parameter of a model"),
        ({"tempreature": 1}, {}, "unknown parameter 'tempreature'"),
        ({"temperature": 3}, {}, "temperature must be a number from 0 to 2"),
        ({"extra_body": {"n": 2}}, {}, "'n' cannot be set in extra_body"),
    ],
)
def test_parameters_of_a_model_are_checked_too(parse, params, space, said):
    with pytest.raises(SpecError, match=said) as caught:
        parse(space, [{"id": "vllm/x"}, {"id": "vllm/a", "params": params}])
    assert caught.value.field.startswith("models[1].params.")


def test_what_breaks_the_bound_is_refused_once_more_before_it_is_sent():
    with pytest.raises(Refused, match="'n'"):
        write_body(replace(ASK, params=(("extra_body", as_param({"n": 9})),)))
    body = write_body(replace(ASK, params=(("extra_body", as_param({"top_k": 3})),)))
    assert body["top_k"] == 3
    assert "extra_body" not in body
