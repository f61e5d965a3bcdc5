from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.offsetbox import AnnotationBbox, TextArea

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report import fonts
from paretoken.report.figures import draw_front, save_front

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from matplotlib.figure import Figure

TEAL = (0x0F, 0x76, 0x6E)


def names(figure: Figure) -> list[str]:
    boxes = [artist for artist in figure.axes[0].artists if isinstance(artist, AnnotationBbox)]
    return [area.get_text() for box in boxes for area in box.offsetbox.get_children()[:1] if isinstance(area, TextArea)]


def pixels(figure: Figure) -> np.ndarray:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def load(path: Path) -> Results:
    with Database(path) as database:
        return Results.load(database, "last")


def test_every_variant_is_named_and_the_front_is_drawn_strong(results: Results) -> None:
    figure = draw_front(results)
    assert sorted(names(figure)) == ["bullets", "chatty", "terse", "verbose"]
    assert (pixels(figure) == TEAL).all(axis=2).sum() > 200
    written = " ".join(text.get_text() for text in figure.texts)
    assert results.run.id in written
    assert "n = 24" in written
    assert " ".join(figure.texts[0].get_text().split()) == results.run.lock["question"]


def test_names_do_not_cover_each_other_or_leave_the_picture(results: Results) -> None:
    figure = draw_front(results)
    boxes = [artist.get_window_extent() for artist in figure.axes[0].artists]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= 1200 and box.y0 >= 0 and box.y1 <= 750 for box in boxes)
    assert all(figure.bbox.x1 >= text.get_window_extent().x1 for text in figure.texts)


def test_cost_is_per_1k_calls_and_logarithmic_over_a_wide_range(
    tmp_path: Path, results: Results, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    axes = draw_front(results).axes[0]
    assert axes.get_xscale() == "linear"
    cost = next(s for s in results.summaries if s.label == "terse").estimates["list_usd"].mean * 1000
    assert any(np.isclose(c.get_offsets()[0][0], cost) for c in axes.collections)
    write(tmp_path / "wide.db", [arm("a", rate="0.08"), arm("b", rate="10", quality=0.8)])
    assert draw_front(load(tmp_path / "wide.db")).axes[0].get_xscale() == "log"


def test_without_a_metric_the_height_is_latency(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    write(tmp_path / "r.db", [arm("a"), arm("b", output_tokens=90)], scored=False)
    assert draw_front(load(tmp_path / "r.db")).axes[0].get_title(loc="left") == "p95 latency [s]  (lower is better)"


def test_without_a_metric_or_latency_the_height_is_output_tokens(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    write(tmp_path / "r.db", [arm("a", latency_s=None), arm("b", output_tokens=90, latency_s=None)], scored=False)
    assert draw_front(load(tmp_path / "r.db")).axes[0].get_title(loc="left").startswith("output tokens per call")


def test_chinese_is_drawn_by_a_font_that_has_it_or_replaced_by_ids(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    question = "简洁的提示词能否在质量不下降的情况下把成本降低百分之三十以上？"
    write(tmp_path / "r.db", [arm("简洁", output_tokens=40), arm("详细", quality=0.73)], question=question)
    results = load(tmp_path / "r.db")
    figure = draw_front(results)
    save_front(results, tmp_path / "front.png")
    families = fonts.families_for([question, "简洁详细"])
    drawn = fonts.can_draw("简洁详细", families)
    assert sorted(names(figure)) == sorted(["简洁", "详细"] if drawn else results.labels)
    title = figure.texts[0].get_text().replace("\n", "")
    assert title == (question if fonts.can_draw(question, families) else results.run.id)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_font_serves_what_the_base_font_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = sorted(fonts._characters("STIXGeneral") - fonts._characters(fonts.BASE))
    monkeypatch.setattr(fonts, "_candidates", lambda: ("DejaVu Serif", "STIXGeneral"))
    families = fonts.families_for(["plain", lacking[0]])
    assert families[0] == fonts.BASE
    assert fonts.can_draw(f"a {lacking[0]}", families)
    assert not fonts.can_draw("\U0010fffd", families)
    assert fonts.drawable("ab\U0010fffdc", families) == "abc"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=120),
       st.integers(44, 140), st.integers(1, 4))  # fmt: skip
def test_lines_are_no_wider_than_asked_and_keep_every_word_that_fits(text: str, columns: int, most: int) -> None:
    found = fonts.lines(text, columns, most)
    assert 1 <= len(found) <= most
    assert all(fonts.columns_of(line) <= columns for line in found)
    kept = "".join("".join(found).split())
    whole = "".join(text.split())
    assert kept == whole or (found[-1].endswith(" …") and whole.startswith(kept.removesuffix("…")))


def test_many_variants_name_only_as_many_as_there_is_room_for(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    arms = [arm(f"p{i}", quality=0.6 + i / 100, output_tokens=40 + 20 * i, latency_s=None) for i in range(20)]
    write(tmp_path / "r.db", arms, n=4)
    figure = draw_front(load(tmp_path / "r.db"))
    assert 2 <= len(names(figure)) <= 14
    assert "of 20 variants named" in figure.texts[1].get_text().replace("\n", " ")


def test_a_run_without_records_has_a_picture(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "r.db", n=0, status="stopped")
    assert "no variant has both values yet" in [t.get_text() for t in draw_front(load(tmp_path / "r.db")).axes[0].texts]


def test_free_models_have_a_picture(tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]) -> None:
    write(tmp_path / "r.db", [arm("a", rate="0"), arm("b", rate="0", quality=0.8)])
    assert len(names(draw_front(load(tmp_path / "r.db")))) == 2
