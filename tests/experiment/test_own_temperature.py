from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.core.errors import SpecError
from paretoken.experiment.own_temperature import fit_temperature
from paretoken.experiment.source import Source
from paretoken.experiment.space import parse_space

if TYPE_CHECKING:
    from pathlib import Path

FREE, FIXED = "openai/gpt-4o", "openai/o3"


@pytest.fixture
def fit(tmp_path: Path):
    def read(temperature: object, ids: tuple[str, ...] = (FREE, FIXED), own: dict[str, Any] | None = None):
        entries = [{"id": id_, **({"params": own[id_]} if own and id_ in own else {})} for id_ in ids]
        space = {} if temperature is None else {"temperature": temperature}
        (tmp_path / "spec.yaml").write_text(json.dumps({"models": entries, "space": space}))
        source = Source(tmp_path / "spec.yaml")
        models = {
            id_: SimpleNamespace(provider=SimpleNamespace(dialect=SimpleNamespace(one_temperature=id_ == FIXED)))
            for id_ in ids
        }
        return fit_temperature(parse_space(space, ["p@000000"], list(ids), source, own), models, source)

    return read


def test_a_temperature_is_left_out_where_it_cannot_be_had_and_that_is_told(fit):
    space, told = fit(0.0)
    assert {v.model: dict(v.params) for v in space.points()} == {FREE: {"temperature": 0.0}, FIXED: {}}
    assert len(told) == 1
    assert FIXED in told[0]
    space, told = fit(0.0, (FIXED,))
    assert [dict(v.params) for v in space.points()] == [{}]
    assert told


@pytest.mark.parametrize("temperature", [None, 1, 1.0, {"choices": [0.0, 1.0], "when": {"model": [FREE]}}])
def test_nothing_is_told_where_nothing_is_left_out(fit, temperature):
    space, told = fit(temperature)
    assert told == ()
    assert space == fit(temperature)[0]


@pytest.mark.parametrize("temperature", [{"choices": [0.0, 1.0]}, [0.0, 1.0]])
def test_variants_that_would_differ_in_name_only_are_refused_with_a_fix(fit, temperature):
    with pytest.raises(SpecError, match="differ in name only") as caught:
        fit(temperature)
    assert FREE in caught.value.fix
    with pytest.raises(SpecError, match="Leave it out"):
        fit(temperature, (FIXED,))


def test_a_models_own_temperature_is_checked_too(fit):
    with pytest.raises(SpecError, match="takes no temperature but its own") as caught:
        fit(None, own={FIXED: {"temperature": 0.2}})
    assert caught.value.field == "models[1].params.temperature"
    assert fit(None, own={FIXED: {"temperature": 1}, FREE: {"temperature": 0.2}})[1] == ()
