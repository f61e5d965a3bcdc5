from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report.comparison_figure import draw_comparison
from paretoken.report.estimate import cost_estimate
from paretoken.report.overview import describe_run
from paretoken.report.tables import findings, front_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_front_comes_first_and_from_cheap_to_dear(results: Results) -> None:
    rows = front_rows(results)
    assert [row["variant"] for row in rows] == ["terse", "verbose", "bullets", "chatty"]
    assert [row["standing"] for row in rows][:3] == ["front", "front", "dominated by terse"]
    assert str(rows[3]["standing"]).startswith("dominated by verbose and ")


def test_saving_is_against_the_dearest(results: Results) -> None:
    rows = {str(row["variant"]): row for row in front_rows(results)}
    cost = {name: float(row["list_usd_per_1k_calls"] or 0) for name, row in rows.items()}
    assert rows["chatty"]["saving_percent"] == 0
    assert rows["terse"]["saving_percent"] == round(100 * (1 - cost["terse"] / cost["chatty"]), 1)


def test_half_width_is_rounded_for_reading(results: Results) -> None:
    row = front_rows(results)[0]
    summary = next(s for s in results.summaries if s.label == row["variant"])
    estimate = summary.estimates["bertscore_f1"]
    assert row["bertscore_f1"] == float(f"{estimate.mean:.4g}")
    assert row["bertscore_f1_plus_minus"] == float(f"{(estimate.high or 0) - estimate.mean:.2g}")
    assert row["error_rate"] == 0


def test_error_rate_counts_failed_records(results: Results) -> None:
    assert {row["variant"]: row["error_rate"] for row in front_rows(results)}["bullets"] == float(f"{1 / 24:.3g}")


def test_broken_and_unknown_variants_say_why(tmp_path: Path, write: Callable[..., None]) -> None:
    objectives = {
        "minimize": ["list_usd"],
        "maximize": ["bertscore_f1"],
        "subject_to": {"bertscore_f1": [">=", "0.65"]},
    }
    write(tmp_path / "r.db", objectives=objectives)
    with Database(tmp_path / "r.db") as database:
        standing = {row["variant"]: str(row["standing"]) for row in front_rows(Results.load(database, "last"))}
    assert standing["chatty"].startswith("breaks bertscore_f1 0.")
    assert standing["chatty"].endswith("wanted >= 0.65")


def test_latency_unknown_is_none(tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]) -> None:
    write(tmp_path / "r.db", [arm("a", latency_s=None), arm("b", latency_s=None)],
          dropped={"latency_s.p95": "the recording has no latency"})  # fmt: skip
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    assert [row["latency_s_p95"] for row in front_rows(results)] == [None, None]
    assert "`latency_s.p95` was dropped: the recording has no latency" in findings(results)


def test_findings_answer_the_question(results: Results) -> None:
    text = findings(results)
    for comparison in results.comparisons:
        assert comparison.sentence in text
    facts = [
        str(results.run.lock["question"]),
        results.run.id,
        "| estimated | 0.0005 to 0.0011 |",
        "| expected | 0.000700 to 0.000900 |",
        "input_per_mtok 0.02; above 200000 input tokens input_per_mtok 0.04 (row `spec`, the spec, checked 2026-01-05)",
        "all-MiniLM-L6-v2, layer 6",
        "paretoken run experiments/product-copy/spec.yaml",
        "| terse |",
        "**front**",
    ]
    assert [fact for fact in facts if fact not in text] == []
    assert text == findings(results)


@pytest.mark.parametrize(
    ("predicted", "status", "outcome"),
    [
        ((0.0001, 0.9), "finished", "inside the 90 % interval"),
        ((0.0001, 0.0002), "finished", "above the 90 % interval"),
        ((0.8, 0.9), "finished", "below the 90 % interval"),
        ((0.0001, 0.9), "stopped", "so far"),
        (None, "finished", "above the estimated range"),
    ],
)
def test_the_bill_is_judged_by_the_interval(
    predicted: tuple[float, float] | None, status: str, outcome: str, tmp_path: Path, write: Callable[..., None]
) -> None:
    known = predicted and {"usd": 0.5, "low_usd": predicted[0], "high_usd": predicted[1], "n": 24}
    estimate = {"calls": 96, "cached": 0, "input_tokens": 1, "output_tokens_max": 1, "low_usd": "0.00001",
                "high_usd": "0.00002", "predicted": known}  # fmt: skip
    write(tmp_path / "r.db", status=status, estimate=estimate)
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    assert cost_estimate(results).outcome == outcome
    assert f"| {outcome} |" in findings(results)
    rows = describe_run(results)["estimate against actual"]
    assert any(row["actual"].endswith(outcome) for row in rows) == (predicted is not None)


def test_a_bar_in_a_label_does_not_break_the_table(
    tmp_path: Path, write: Callable[..., None], arm: Callable[..., object]
) -> None:
    write(tmp_path / "r.db", [arm("a", model="x/one"), arm("b", model="x/two")])
    with Database(tmp_path / "r.db") as database:
        text = findings(Results.load(database, "last"))
    assert r"| a\|one |" in text


def test_a_run_without_records_has_findings(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "r.db", n=0, status="stopped")
    with Database(tmp_path / "r.db") as database:
        results = Results.load(database, "last")
    assert front_rows(results) == []
    assert "No records yet." in findings(results)
    assert results.summary_frame().empty


def section(text: str, head: str) -> str:
    return text.split(f"## {head}\n")[1].split("\n## ")[0]


def test_a_test_has_a_table_of_differences(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db", margin={"bertscore_f1": 0.03, "output_tokens": 5.0})
    text = section(findings(results), "Differences")
    for c in results.comparisons:
        assert f"`{c.treatment}` against `verbose` (n = {c.n} of 160): **{c.verdict}**" in text
    cost, quality, tokens, *others = [line for line in text.splitlines() if line.startswith("| ")][2:7]
    judged = results.comparisons[0].judged
    assert cost.startswith(f"| list_usd | {judged[0].difference.mean_a:.4g} | {judged[0].difference.mean_b:.4g} | ")
    assert f"[{judged[0].difference.low:+.3g}, {judged[0].difference.high:+.3g}]" in cost
    assert f"{100 * judged[0].difference.relative:+.3g} % [" in cost
    assert cost.endswith("| **better** |")
    assert quality.endswith("| **undecided** (margin 0.03) |")
    assert tokens.endswith("| **better** (margin 5) |")
    assert [line.split(" | ")[0] for line in others] == ["| input_tokens", "| latency_s"]
    assert all("**" not in line and ", for information" in line for line in others)


def test_a_grid_has_no_table_of_differences(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "r.db", plan={"kind": "grid"})
    with Database(tmp_path / "r.db") as database:
        text = findings(Results.load(database, "last"))
    assert "## Differences" not in text
    assert "## Segments" not in text


def test_segments_are_shown_for_exploring(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "r.db", segments=["kind"])
    text = section(findings(results), "Segments")
    assert "no claim is made" in text
    rows = [line for line in text.splitlines() if line.startswith("| kind = ")]
    assert [row.split(" | ")[:3] for row in rows] == [
        [f"| kind = {value}", treatment, str(c.n)]
        for (_, value, c), treatment in zip(results.segments(), ["terse", "bullets"] * 2, strict=True)
    ]
    assert all(row.endswith(f"| {c.verdict} |") for row, (_, _, c) in zip(rows, results.segments(), strict=True))


def test_confirmation_and_warnings_are_in_the_findings(
    tmp_path: Path, write_test: Callable[..., Results], arm: Callable[..., object]
) -> None:
    arms = [arm("verbose", output_tokens=120), arm("terse")]
    text = findings(write_test(tmp_path / "a.db", arms, n=300, confirm=0.5))
    assert "- confirmed on held-out samples: " in section(text, "Verdict")
    assert "(n = 150 of 150, held out): **cheaper, not worse**" in section(text, "Differences")
    results = write_test(tmp_path / "b.db", arms, n=120, sequence="asymptotic")
    (warning, *_) = results.comparisons[0].warnings
    assert f"Mind:\n\n- {warning}" in section(findings(results), "Differences")


def test_a_metric_without_a_single_value_is_told_as_such(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "a.db", metric="another")
    with Database(tmp_path / "a.db") as database:
        results = Results.load(database, "last")
    text = section(findings(results), "Differences")
    assert "| bertscore_f1 | – | – | – | – | – | **cannot tell** (margin 0.01): 24 of 24 samples lack a value |" in text
    assert results.comparisons[0].verdict == "cheaper, cannot tell"
    draw_comparison(results, results.comparisons[0])


def test_an_interval_that_leans_is_shown_by_its_longer_side(tmp_path: Path, write_test: Callable[..., Results]) -> None:
    results = write_test(tmp_path / "records.db", n=40)
    summary = results.summaries[0]
    estimate = summary.estimates["bertscore_f1"]
    assert estimate.low is not None
    assert estimate.high is not None
    row = next(row for row in front_rows(results) if row["id"] == summary.variant)
    longer = max(estimate.mean - estimate.low, estimate.high - estimate.mean)
    assert row["bertscore_f1_plus_minus"] == pytest.approx(longer, rel=0.05)
