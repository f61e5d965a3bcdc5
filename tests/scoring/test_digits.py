"""Numbers mean the same however their characters are chosen, and different numbers stay different."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.digits import spell_numbers
from paretoken.scoring.facts import Facts

WHOLE = st.integers(1, 999)


def facts(answer: str, reference: str) -> float | None:
    return asyncio.run(Facts().score([ScoreItem(answer, "", reference, {})]))[0][0].value


@given(WHOLE, st.sampled_from([("¼", "25"), ("½", "5"), ("¾", "75"), ("⅛", "125")]))
def test_a_mixed_fraction_is_a_whole_and_a_part(n: int, part: tuple[str, str]) -> None:
    sign, decimals = part
    assert facts(f"{n}{sign} kg", f"{n}.{decimals} kg") == 1.0
    assert facts(f"{n} {sign} kg", f"{n}.{decimals} kg") == 1.0
    assert facts(f"{n}{sign} kg", f"{n + 1}.{decimals} kg") == 0.0


@given(st.integers(2, 12), st.integers(2, 6))
def test_a_power_is_no_digit(base: int, exponent: int) -> None:
    raised = str(exponent).translate(str.maketrans("23456", "²³⁴⁵⁶"))
    assert facts(f"{base}{raised} W", f"{base**exponent} W") == 1.0
    assert facts(f"{base}{raised} W", f"{base}{exponent} W") == float(base**exponent == int(f"{base}{exponent}"))


@given(WHOLE, WHOLE, st.sampled_from("\u00a0\u202f\u2009'’"))
def test_groups_of_digits_are_one_number(n: int, rest: int, between: str) -> None:
    assert facts(f"{n}{between}{rest:03d} W", f"{n * 1000 + rest} W") == 1.0
    assert facts(f"{n} 000 {rest:03d} W", f"{n * 10**6 + rest} W") == 1.0


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ('a 27" screen', "a 27 inch screen"),
        ("a 27″ screen", "a 27 inch screen"),
        ("a 9' pole", "a 9 foot pole"),
        ("a 9’ x 7’ rug", "a 9 ft x 7 ft rug"),
        ("outside it has –12 °C", "outside it has -12 °C"),
        ("outside it has −12 °C", "outside it has minus 12 °C"),
    ],
)
def test_marks_and_signs_are_read(text: str, means: str) -> None:
    assert facts(text, means) == 1.0


@pytest.mark.parametrize(
    "text",
    ['the "Type 27" lamp', "the ‘Type 27’ lamp", "the “Type 27” lamp", "from 3–5 kg", "45° 30′ north",
     "2 500 ml bottles",
     "rock 'n' roll since the '90s", "it's 5 o'clock", "a list – 5 lamps"],
)  # fmt: skip
def test_quotations_ranges_and_angles_stay(text: str) -> None:
    assert spell_numbers(text) == text


@given(st.text(st.sampled_from("0123456789 \u00a0.,'\"’″′–-½²x°\n"), max_size=40))
def test_any_row_of_signs_is_read(text: str) -> None:
    assert facts(text + " a", text + " a") == 1.0
