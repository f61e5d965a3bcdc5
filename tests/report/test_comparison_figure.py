from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report import fonts
from paretoken.report.comparison_figure import COLOURS, WITHIN, draw_comparison, save_comparison
from paretoken.report.verdicts import course_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

pytestmark = pytest.mark.slow


def told(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())


def load(path: Path) -> Results:
    with Database(path) as database:
        return Results.load(database, "last")


def place(axes: Axes, x: float) -> float:
    """Where a value lies in a row, from 0 at its left end to 1 at its right end."""
    return float(axes.transAxes.inverted().transform(axes.transData.transform((x, 0)))[0])


@pytest.fixture(scope="module")
def tested(
    tmp_path_factory: pytest.TempPathFactory, write_test: Callable[..., Results], arm: Callable[..., object]
) -> Results:
    arms = [arm("verbose", output_tokens=120), arm("terse"), arm("bullets", quality=0.6)]
    margin = {"bertscore_f1": 0.03, "latency_s.p95": 0.2, "list_usd": 1e-6}
    return write_test(tmp_path_factory.mktemp("figure") / "r.db", arms, n=200, margin=margin)


def test_the_title_is_the_verdict_in_words(tested: Results) -> None:
    for comparison in tested.comparisons:
        words = told(draw_comparison(tested, comparison))
        assert comparison.sentence[1:] in words
        assert comparison.verdict[1:] in words
        assert tested.run.id in words


def test_each_quantity_has_a_row_in_which_better_lies_to_the_right_of_the_same_zero(tested: Results) -> None:
    comparison = tested.comparisons[0]
    *rows, _ = draw_comparison(tested, comparison).axes
    assert len(rows) == len(comparison.judged) == 3
    assert {round(place(axes, 0), 6) for axes in rows} == {round(place(rows[0], 0), 6)}
    cost, quality, latency = rows
    assert place(cost, -50) > place(cost, 0) > place(cost, 5)
    assert place(quality, 0.01) > place(quality, 0)
    assert place(latency, -0.1) > place(latency, 0)


def test_whiskers_are_the_intervals_and_the_margin_is_shaded(tested: Results) -> None:
    comparison = tested.comparisons[0]
    cost, quality, _, _ = draw_comparison(tested, comparison).axes
    judged = comparison.quality[0]
    ends = [line.get_xdata() for line in quality.lines if to_hex(line.get_color()) == COLOURS["not worse"]]
    assert [judged.difference.low, judged.difference.high] in [pytest.approx(list(x)) for x in ends]
    shades = [p.get_extents().transformed(quality.transData.inverted()) for p in quality.patches
              if to_hex(p.get_facecolor()) == WITHIN]  # fmt: skip
    assert sorted((shades[0].x0, shades[0].x1)) == pytest.approx([-0.03, 0])
    shades = [p.get_extents().transformed(cost.transData.inverted()) for p in cost.patches]
    assert max(shades[0].x0, shades[0].x1) == pytest.approx(100 * 1e-6 / comparison.cost.difference.mean_a)


def test_the_shrinking_interval_is_the_confidence_sequence_and_better_lies_above(tested: Results) -> None:
    comparison = tested.comparisons[1]
    axes = draw_comparison(tested, comparison).axes[-1]
    points = course_of(tested, comparison).paths["bertscore_f1"]
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    n = [n for n, _ in points]
    assert (n, pytest.approx([d.low for _, d in points])) in lines
    assert (n, pytest.approx([d.high for _, d in points])) in lines
    assert axes.get_ylim()[0] < comparison.quality[0].difference.low
    assert axes.get_ylim()[1] > 0
    assert "ended after" not in told(axes.figure)


def test_of_cost_alone_less_lies_above(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object], lock_of_test: Callable[..., dict]
) -> None:
    arms = [arm("verbose", output_tokens=120), arm("terse")]
    lock = lock_of_test(arms, margin={}) | {"scorers": []}
    write(tmp_path / "r.db", arms, n=120, **lock)
    results = load(tmp_path / "r.db")
    row, axes = draw_comparison(results, results.comparisons[0]).axes
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.get_title(loc="left") == "list cost per call: how the interval shrank"
    assert place(row, -50) > place(row, 0)


@pytest.mark.parametrize(("status", "words"), [("stopped", "ended after 60 of 200"), ("running", "so far 60 of 200")])
def test_where_it_stopped_is_shown_against_what_was_planned(
    tested: Results, status: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "run", replace(tested.run, status=status))
    course = course_of(tested, tested.comparisons[0])
    stopped = replace(course, asked=60, paths={name: points[:10] for name, points in course.paths.items()})
    figure = draw_comparison(tested, tested.comparisons[0], stopped)
    assert words in told(figure)
    assert figure.axes[-1].get_xlim()[1] > 200


def test_what_cannot_be_told_says_why(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db", n=8)
    words = told(draw_comparison(results, results.comparisons[0]))
    assert words.count("only 8 common samples, at least 10 are needed") >= 3
    assert "too few samples to follow the interval" in words
    assert "Cannot tell" in words


def test_a_run_without_records_has_a_picture(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db", n=0)
    assert "no sample is answered by both" in told(draw_comparison(results, results.comparisons[0]))


def test_chinese_names_are_drawn_or_replaced(
    tmp_path: Path,
    write: Callable[..., None],
    arm: Callable[..., object],
    lock_of_test: Callable[..., dict[str, object]],
) -> None:
    arms = [arm("详细", output_tokens=120), arm("简洁")]
    write(tmp_path / "r.db", arms, n=60, metric="忠实度", **lock_of_test(arms, "忠实度"))
    results = load(tmp_path / "r.db")
    words = told(draw_comparison(results, results.comparisons[0]))
    save_comparison(results, results.comparisons[0], tmp_path / "c.png")
    drawn = fonts.can_draw("详细简洁忠实度", fonts.families_for(["详细简洁忠实度"]))
    assert all((label if drawn else id_) in words for id_, label in results.labels.items())
    assert f"{'忠实度' if drawn else 'metric 1'}: how the interval shrank" in words
    assert ("names that no installed font has are replaced" in words) == (not drawn)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("prompts", [("verbose", "terse"), ("a" * 90, "b " * 60)])
@pytest.mark.parametrize("mode", ["fixed", "continuous"])
@pytest.mark.parametrize("n", [12, 130])
def test_nothing_leaves_the_picture(
    prompts: tuple[str, str], mode: str, n: int, tmp_path: Path, write_test: Callable[..., Results],
    arm: Callable[..., object],
) -> None:  # fmt: skip
    margin = {"bertscore_f1": 0.01, "latency_s.p95": 0.2, "output_tokens": 5.0, "list_usd": 1e-7}
    arms = [arm(prompts[0], output_tokens=62), arm(prompts[1], quality=0.69)]
    results = write_test(tmp_path / "r.db", arms, n=n, mode=mode, margin=margin)
    figure = draw_comparison(results, results.comparisons[0])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    *rows, _ = (axes.get_tightbbox() for axes in figure.axes)
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(rows))


def test_a_confirmation_says_that_its_samples_were_held_out(
    tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    results = write_test(tmp_path / "r.db", [arm("verbose", output_tokens=120), arm("terse")], n=300, confirm=0.5)
    assert results.confirmation is not None
    figure = draw_comparison(results, results.confirmation)
    assert "Cheaper, not worse, on held-out samples" in told(figure)
    assert figure.axes[-1].get_xlim()[1] < 160
