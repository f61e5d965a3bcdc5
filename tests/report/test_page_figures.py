"""Where the marks of a page's figures lie."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.analysis.difference import PairedDifference
from paretoken.analysis.verdict import Judgement
from paretoken.report.page_figures import draw_bar, draw_picture, floating
from paretoken.report.page_sections import contrast

money = st.floats(0.01, 100)


@given(money, st.lists(st.floats(-5, 5), max_size=6))
def test_a_waterfall_floats_from_where_the_step_before_ended(first, changes):
    last = first + sum(changes)
    spans = floating([first, *changes, last])
    reach = max(s.left + s.width for s in spans)
    least = min(s.left for s in spans)
    if least >= 0 and last > 0:
        assert reach == pytest.approx(100, abs=0.05)
        assert spans[0].left == spans[-1].left == 0
        for before, after in pairwise(spans[:-1]):
            ends = {before.left, round(before.left + before.width, 2)}
            joints = (after.left, after.left + after.width)
            assert any(abs(end - joint) < 0.05 for end in ends for joint in joints)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([None, 0.05, 0.4]), st.booleans())
def test_better_lies_to_the_right_whatever_the_quantity(middle, below, above, margin, cost):
    name, ends = "output_tokens" if cost else "chrf", (middle - below, middle + above)
    d = PairedDifference(name, 0.95, 30, None, None, middle, *ends, None, None, None, None)
    bar = draw_bar(Judgement(d, "undecided", margin))
    gain = -middle if cost else middle
    assert (bar.middle - bar.zero) * gain >= 0
    assert 0 <= bar.interval.left <= bar.middle + 0.01
    assert bar.middle <= bar.interval.left + bar.interval.width + 0.02 <= 100.02
    if margin is None:
        assert bar.within is None
    else:
        assert bar.within.left + bar.within.width == pytest.approx(bar.zero, abs=0.02)


def test_nothing_is_drawn_of_what_cannot_be_told():
    d = PairedDifference("chrf", 0.95, 3, 0.1, 0.2, 0.1, None, None, None, None, None, None, "too few")
    assert draw_bar(Judgement(d, "cannot tell", None)) is None


@pytest.mark.parametrize(("width", "height"), [(760, 430), (360, 330)])
def test_points_lie_where_their_numbers_say_and_names_within_the_picture(results, width, height):
    numbers = {id_: i for i, id_ in enumerate(results.labels, 1)}
    picture = draw_picture(results, width, height, numbers)
    left, right, top, foot = picture.ends
    costs = [s.summary.value("list_usd") for s in results.standings]
    scores = [s.summary.value("bertscore_f1") for s in results.standings]
    order = sorted(range(len(costs)), key=costs.__getitem__)
    assert sorted(range(len(costs)), key=lambda i: picture.dots[i].x) == order
    assert sorted(range(len(costs)), key=lambda i: -picture.dots[i].y) == sorted(
        range(len(costs)), key=scores.__getitem__
    )
    for dot in picture.dots:
        assert left <= dot.left <= dot.x <= dot.right <= right
        assert top <= dot.high <= dot.y <= dot.low <= foot
    wide = set(results.labels.values())
    assert {name.text for name in picture.names} == (wide if width > 480 else set(map(str, numbers.values())))
    assert all(0 <= name.x < width and 0 < name.y < height for name in picture.names)
    assert top < picture.limit < foot
    shown = {tick.text for tick in picture.x_ticks}
    assert all(float(text) >= 0 for text in shown)


def test_numbers_stand_for_long_names(tmp_path, write_race, arm):
    results = write_race(tmp_path / "p.db", (arm("a" * 40, asked=120), arm("b", asked=120)))
    numbers = {id_: i for i, id_ in enumerate(results.labels, 7)}
    assert {name.text for name in draw_picture(results, 760, 430, numbers).names} == {"7", "8"}


def test_the_page_explains_the_control_and_the_best_treatment(tmp_path, write, write_race, write_test, arm, results):
    assert [results.labels[id_] for id_ in contrast(results)] == ["verbose", "terse"]
    raced = write_race(tmp_path / "race.db")
    dearest, best = (raced.labels[id_] for id_ in contrast(raced))
    assert (dearest, best) == ("chatty", "verbose")
    arms = (arm("a", quality=0.7, output_tokens=90), arm("b", quality=0.72, output_tokens=80),
            arm("c", quality=0.3, output_tokens=20))  # fmt: skip
    won = write_test(tmp_path / "won.db", arms, n=60)
    assert [won.labels[id_] for id_ in contrast(won)] == ["a", "b"]
