"""Values that a YAML file can hold and a spec cannot: refused with their line before anything is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.experiment.resolve import load_design
from paretoken.experiment.source import MOST
from paretoken.experiment.spec import is_number

if TYPE_CHECKING:
    from conftest import Lab


@pytest.mark.parametrize(
    "value",
    ["2031-05-17", "2031-05-17T08:00:00Z", "!!binary eA==", "!!set {p, q}", "!own x", ".inf", "-.inf", ".nan", "3e999",
     "{choices: [late, 2031-05-17]}", "{choices: [1, .nan]}", "9223372036854775808"],
)  # fmt: skip
def test_what_no_reader_takes_is_refused_with_its_line(lab: Lab, value: str) -> None:
    lab.edit("scorers:\n", f"scorers:\n  - json_schema: {{const: {value}}}\n")
    with pytest.raises(SpecError) as schema:
        load_design(lab.folder, SystemClock())
    lab.edit(f"  - json_schema: {{const: {value}}}\n", "")
    lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text() + f"tags: {{made: {value}}}\n")
    with pytest.raises(SpecError) as tag:
        load_design(lab.folder, SystemClock())
    for error in (schema.value, tag.value):
        assert "spec.yaml" in str(error)
    assert tag.value.line == lab.line("tags:")


def test_a_day_that_no_calendar_has_is_bad_yaml(lab: Lab) -> None:
    lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text() + "tags: {made: 2031-02-30}\n")
    with pytest.raises(SpecError, match="Put dates in quotes"):
        load_design(lab.folder, SystemClock())


def test_brackets_without_end_are_bad_yaml(lab: Lab) -> None:
    lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text() + f"tags: {'[' * 4000}{']' * 4000}\n")
    with pytest.raises(SpecError, match="not valid YAML"):
        load_design(lab.folder, SystemClock())


def test_a_price_that_makes_an_answer_dearer_than_the_ledger_holds(lab: Lab) -> None:
    lab.edit('output_per_mtok: "4.00"', 'output_per_mtok: "9000000"')
    lab.edit("max_tokens: 24", "max_tokens: {choices: [24, 2000000]}")
    with pytest.raises(SpecError, match="could cost more than") as caught:
        load_design(lab.folder, SystemClock())
    assert caught.value.line == lab.line("max_tokens")


@pytest.mark.parametrize("most", ["10000001", "{choices: [9, 10000001]}", "[9, 99999999]"])
def test_answers_that_no_model_writes_are_refused(lab: Lab, most: str) -> None:
    lab.edit("max_tokens: 24", f"max_tokens: {most}")
    with pytest.raises(SpecError, match="more than any model writes"):
        load_design(lab.folder, SystemClock())


@given(st.integers() | st.floats())
def test_numbers_of_any_size_are_told_from_what_is_none(value: float) -> None:
    assert is_number(value) == (value == value and abs(value) != float("inf"))
    assert is_number(MOST)
    assert not is_number(True)
    assert is_number(10**400)
