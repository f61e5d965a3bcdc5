from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from paretoken.analysis.results import Results
from paretoken.core.errors import SpecError
from paretoken.records import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_an_ab_test_compares_each_treatment_with_the_control(results: Results) -> None:
    assert [(c.control, c.treatment) for c in results.comparisons] == [
        ("verbose", "terse"),
        ("verbose", "bullets"),
        ("verbose", "chatty"),
    ]
    judged = [j for c in results.comparisons for j in c.judged]
    assert [j.finding for j in judged].count("undecided") == 1
    assert all(j.difference.level == pytest.approx(0.95) for j in judged)  # only one question of six is left open


def test_a_notebook_shows_verdicts_and_the_table(results: Results) -> None:
    assert repr(results).splitlines() == [f"{results.run.id} (finished)", *results.verdicts]
    page = results._repr_html_()
    assert page.count("<tr") == 1 + 1 + len(results.labels)
    assert "treatment &quot;terse&quot;" in page


def test_what_is_chosen_is_the_winner_or_the_front(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> None:
    def chosen(**facts: Any) -> list[str]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        write(path, **facts)
        with Database(path) as database:
            found = Results.load(database, "last")
        return [found.labels[id_] for id_ in found.chosen]

    dear, cheap, bad = arm("verbose", output_tokens=120), arm("terse"), arm("mute", quality=0.5)
    assert chosen(arms=[dear, cheap, bad]) == ["terse"]
    assert chosen(arms=[dear, bad]) == []
    assert chosen(arms=[dear, cheap], status="stopped") == []
    assert chosen(arms=[dear, cheap, bad], plan={"kind": "grid"}) == ["terse"]


def test_the_hypervolume_is_shared_out_by_what_each_adds(results: Results) -> None:
    volume = results.front_volume
    assert volume is not None
    assert 0 < volume.hypervolume <= 1
    on_front = {s.summary.variant for s in results.standings if s.on_front}
    assert {id_ for id_, added in volume.added.items() if added > 0} <= on_front
    assert all(0 <= added <= volume.hypervolume for added in volume.added.values())


def test_a_grid_compares_the_front_with_its_best_variant(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "r.db", plan={"kind": "grid"})
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    front = [standing.summary for standing in results.standings if standing.on_front]
    best = max(front, key=lambda summary: summary.value("bertscore_f1") or 0.0)
    assert {c.control for c in results.comparisons} == {best.label}
    assert {c.treatment for c in results.comparisons} == {s.label for s in front} - {best.label}
    (comparison,) = results.comparisons
    assert comparison.verdict == "cheaper, undecided"
    open_questions = 1 + 2 * 2  # cost and quality of the two variants that are not on the front count as open
    assert comparison.quality[0].difference.level == pytest.approx(1 - 0.05 / open_questions)


def test_a_stopped_grid_is_judged_on_the_samples_that_all_have_answered(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> None:
    first = arm("verbose", quality=0.71, asked=24)
    second = arm("terse", quality=0.706, output_tokens=80, latency_s=0.9, asked=16)
    write(tmp_path / "r.db", (first, second), n=54, plan={"kind": "grid"}, status="stopped")
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    assert [s.summary.n for s in results.standings] == [24, 16], "what is shown are all answers"
    by_all = [s.value("bertscore_f1") or 0.0 for s in results.summaries]
    assert by_all[1] > by_all[0], "the samples that one of them lacks are hard"
    assert [s.on_front for s in results.standings] == [True, False]


def test_variants_are_found_by_label_or_id(results: Results) -> None:
    id_ = results.variant_id("terse")
    assert results.variant_id(id_) == id_
    with pytest.raises(SpecError, match="Did you mean 'terse'"):
        results.variant_id("ters")


def test_frames_have_a_row_per_record_and_per_variant(results: Results) -> None:
    frame, summary = results.frame(), results.summary_frame()
    assert len(frame) == len(results.records) == 96
    failed = frame[frame["error"].notna()]
    assert len(failed) == 1
    assert failed["answer"].isna().all()
    assert list(summary.index) == list(results.labels.values())
    estimate = results.summaries[1].estimates["bertscore_f1"]
    assert (summary.loc["terse", "bertscore_f1"], summary.loc["terse", "bertscore_f1_low"]) == (
        estimate.mean,
        estimate.low,
    )
