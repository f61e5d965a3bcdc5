"""The space of variants: sets, intervals and conditions; counting, listing, drawing, naming."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.errors import SpecError
from paretoken.core.trials import Variant, label_variants
from paretoken.experiment.source import Source
from paretoken.experiment.space import Dimension, Interval, Space, parse_space

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ["terse@3f9a1c", "long@000000"]
MODELS = ["openai/mini", "openai/big"]


@pytest.fixture
def parse(tmp_path: Path):
    def read(**space: object) -> Space:
        (tmp_path / "spec.yaml").write_text(json.dumps({"space": space}))
        source = Source(tmp_path / "spec.yaml")
        return parse_space(source.data["space"], PROMPTS, MODELS, source)

    return read


def test_plain_values_and_sets_are_listed_in_the_order_of_the_spec(parse):
    space = parse(temperature=0.0, max_tokens={"choices": [8, 16]})
    variants = space.enumerate()
    assert len(variants) == space.size == 8
    assert variants[0] == Variant(PROMPTS[0], MODELS[0], (("max_tokens", 8), ("temperature", 0.0)))
    assert [(v.prompt, v.model) for v in variants[::2]] == [(p, m) for p in PROMPTS for m in MODELS]
    assert space.varying == {"prompt", "model", "max_tokens"}


@pytest.mark.parametrize(
    ("written", "read", "size"),
    [
        ([1, 4], Interval(1, 4, 1), 4),
        ([0.5, 4], Interval(0.5, 4.0), None),
        ({"low": 8, "high": 24, "step": 8}, Interval(8, 24, 8), 3),
        ({"low": 8, "high": 512, "log": True}, Interval(8, 512, 1, log=True), 505),
        ({"low": 0.1, "high": 0.7, "step": 0.1}, Interval(0.1, 0.7, 0.1), 7),
        ({"low": 0.01, "high": 2, "log": True}, Interval(0.01, 2.0, log=True), None),
    ],
)
def test_an_interval_is_of_whole_numbers_if_it_is_written_so(parse, written, read, size):
    dimension = parse(top_k=written).dimensions[-1]
    assert dimension.values == read
    assert type(dimension.values.low) is type(read.low)
    assert dimension.size == size


def test_what_has_fractions_by_nature_has_them_between_whole_numbers(parse):
    assert parse(temperature=[0, 1]).endless == ("temperature",)
    assert parse(seed=[0, 1]).size == 8


def test_steps_are_free_of_binary_noise(parse):
    space = parse(top_p={"low": 0.1, "high": 0.7, "step": 0.1})
    assert [dict(v.params)["top_p"] for v in list(space.points())[:7]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@given(st.floats(-5, 5), st.floats(1e-3, 10), st.floats(0, 1))
def test_a_value_of_an_interval_lies_in_it_and_is_short(low, width, place):
    interval = Interval(low, low + width)
    value = interval.snap(low + place * width)
    assert interval.low <= value <= interval.high
    assert abs(value - (low + place * width)) <= width / 200
    assert interval.snap(value) == value


def test_plans_that_try_everything_refuse_intervals(parse):
    with pytest.raises(SpecError, match="an interval cannot be enumerated") as refusal:
        parse(top_k=[1, 4]).enumerate()
    assert refusal.value.field == "top_k"
    assert refusal.value.fix == "Write {choices: [1, 4]} for a set of values."
    parse(top_k=[1, 4]).refuse_endless()
    with pytest.raises(SpecError, match="no end where 'temperature' is an interval"):
        parse(temperature=[0, 1]).refuse_endless()


def test_a_parameter_exists_only_where_its_condition_holds(parse):
    space = parse(
        reasoning_effort={"choices": ["low", "high"], "when": {"model": "openai/big", "prompt": ["terse"]}},
        budget={"low": 1, "high": 3, "when": {"reasoning_effort": ["high"]}},
        echo={"choices": [True], "when": {"budget_kind": "a"}},
        budget_kind={"choices": ["a", "b"]},
    )
    assert [d.name for d in space.dimensions] == [
        "prompt", "model", "budget_kind", "echo", "reasoning_effort", "budget",
    ]  # fmt: skip
    variants = list(space.points())
    assert len({v.id for v in variants}) == len(variants) == space.size == 2 * (3 + 1 + 3)
    for variant in variants:
        params = dict(variant.params)
        assert ("reasoning_effort" in params) == (variant.model == "openai/big" and variant.prompt_name == "terse")
        assert ("budget" in params) == (params.get("reasoning_effort") == "high")
        assert ("echo" in params) == (params["budget_kind"] == "a")
    assert {"reasoning_effort", "budget", "echo"} <= space.varying


def test_a_variant_is_built_again_from_what_was_chosen(parse):
    space = parse(
        max_tokens=24,
        temperature=[0, 1],
        top_k={"choices": [1, 2], "when": {"model": ["openai/big"]}},
    )
    for variant in space.draw(random.Random(1), 50):
        chosen = space.chosen(variant)
        assert "max_tokens" not in chosen
        assert space.build(lambda d, chosen=chosen: chosen[d.name]) == variant


def test_a_draw_gives_different_variants_and_begins_alike(parse):
    finite, endless = parse(top_k=[1, 10]), parse(temperature=[0, 1])
    for space in (finite, endless):
        few, more = (space.draw(random.Random(3), n) for n in (5, 30))
        assert more[:5] == few
        assert len({v.id for v in more}) == 30
        rest = space.draw(random.Random(3), 5, but={v.id for v in few})
        assert not {v.id for v in rest} & {v.id for v in few}
    assert len(finite.draw(random.Random(3), 100)) == finite.size == 40


def test_a_vast_space_is_counted_and_drawn_from_without_a_list(parse):
    space = parse(seed=[0, 10**9], max_tokens=[1, 10**6], top_k={"choices": [1], "when": {"model": MODELS[0]}})
    assert space.size == 4 * (10**9 + 1) * 10**6
    assert len(space.draw(random.Random(0), 20)) == 20


def test_the_label_of_one_variant_is_that_among_all(parse):
    space = parse(max_tokens={"choices": [8, 16]}, top_k={"choices": [1, 2], "when": {"model": ["openai/big"]}})
    variants = space.enumerate()
    assert {v.id: space.label(v) for v in variants} == label_variants(variants)
    short = Space((Dimension("prompt", ("a@1",)), Dimension("model", ("x/mini", "y/mini", "y/big"))))
    assert [short.label(v) for v in short.enumerate()] == ["x/mini", "y/mini", "big"]


def test_a_label_holds_a_value_of_an_interval_exactly(parse):
    space = parse(temperature=[0, 1])
    labels = {space.label(v) for v in space.draw(random.Random(0), 200)}
    assert len(labels) == 200
    assert max(map(len, labels)) <= len("terse|mini|temperature=0.123")
