from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mlflow_rig import URI, artifacts, project, read, runs_of
from paretoken.analysis.results import Results
from paretoken.core.errors import StoreError
from paretoken.core.registry import load
from paretoken.records import Database
from paretoken.report.estimate import cost_estimate
from paretoken.report.mlflow_links import hide_password, open_lines
from paretoken.report.mlflow_tracker import MlflowTracker
from paretoken.report.verdicts import course_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow import MlflowClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def projected(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, write: Callable[..., None]
) -> tuple[MlflowClient, Results]:
    root = tmp_path_factory.mktemp("projected")
    (root / "mlruns").mkdir()
    shutil.copy(empty_store, root / "mlruns" / "mlflow.db")
    return project(root, write)


def snapshot(client: MlflowClient) -> dict[str, Any]:
    parent, children = runs_of(client)
    return {
        run.info.run_name: (
            run.data.metrics,
            run.data.params,
            {k: v for k, v in run.data.tags.items() if k not in ("mlflow.parentRunId",)},
            (run.info.status, run.info.start_time, run.info.end_time),
            artifacts(client, run),
        )
        for run in (parent, *children.values())
    }


def test_registered_by_name() -> None:
    assert load("paretoken.trackers", "mlflow") is MlflowTracker


def test_one_nested_run_per_variant_with_the_numbers_of_the_records(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    parent, children = runs_of(client)
    assert parent.info.run_name == results.run.id
    assert set(children) == set(results.labels.values())
    for standing in results.standings:
        summary, metrics = standing.summary, children[standing.summary.label].data.metrics
        for name in ("bertscore_f1", "list_usd", "output_tokens"):
            estimate = summary.estimates[name]
            found = [metrics[f"x/{name}{end}"] for end in ("_low", "_high")]
            assert found == pytest.approx([estimate.low, estimate.high])
        assert {name for name in metrics if not name.startswith("x/")} == {
            "bertscore_f1",
            "usd_per_1k_calls",
            "latency_s.p95",
        }
        assert metrics["bertscore_f1"] == pytest.approx(summary.value("bertscore_f1"))
        assert metrics["usd_per_1k_calls"] == pytest.approx(1000 * summary.estimates["list_usd"].mean)
        assert metrics["x/list_usd"] == pytest.approx(summary.estimates["list_usd"].mean)
        for q in ("p50", "p95", "p99"):
            assert metrics[f"x/latency_s_{q}"] == pytest.approx(summary.latency_s[q])
        assert metrics["x/n"] == 24
        assert metrics["x/on_front"] == standing.on_front
        assert metrics["x/error_rate"] == pytest.approx(summary.error_rate)
        assert metrics["x/list_usd_total"] == pytest.approx(float(summary.list_usd_total))
        assert metrics["x/billed_usd_total"] == pytest.approx(float(summary.billed_usd_total))
        assert metrics["x/usd_per_1k_tokens"] == pytest.approx(summary.list_usd_per_1k_tokens)
    total = sum(float(s.billed_usd_total) for s in results.summaries)
    assert parent.data.metrics["billed_usd_total"] == pytest.approx(total)
    estimates = [parent.data.metrics[f"estimate_{end}usd"] for end in ("low_", "low90_", "", "high90_", "high_")]
    assert estimates == [0.0005, 0.0007, 0.0008, 0.0009, 0.0011]
    assert parent.data.tags["estimate"] == cost_estimate(results).outcome


def test_params_tags_and_times_come_from_the_records(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    parent, children = runs_of(client)
    terse = children["terse"]
    assert terse.data.params == {
        "prompt": "terse", "model": "smollm2-135m", "max_tokens": "96",
        "temperature": "0.0", "n_samples": "24", "seed": "7", "scorers": "bertscore",
    }  # fmt: skip
    expected = {"department": "content", "project": "spring", "api": "text", "paretoken.run": results.run.id,
                "question": results.run.lock["question"], "status": "finished"}  # fmt: skip
    assert expected.items() <= parent.data.tags.items()
    assert expected.items() <= terse.data.tags.items()
    assert terse.data.tags["prompt"] == "terse@3f9a1c"
    assert terse.data.tags["model"] == "local/smollm2-135m"
    sentence = next(c.sentence for c in results.comparisons if c.treatment == "terse")
    assert terse.data.tags["verdict"] == sentence
    calls = [r.call.at.timestamp() for r in results.records if results.labels[r.variant] == "terse"]
    assert terse.info.start_time == int(min(calls) * 1000)
    assert max(calls) * 1000 <= terse.info.end_time <= max(calls) * 1000 + 2000
    assert parent.info.status == "FINISHED"
    (dataset,) = terse.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("products.jsonl", "d" * 12)
    provenance = {f"scored_by.{m}": s["provenance"] for s in results.run.lock["scorers"] for m in s["metrics"]}
    assert provenance
    assert all(provenance.items() <= run.data.tags.items() for run in (parent, *children.values()))


def test_tables_texts_and_figure(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    parent, children = runs_of(client)
    assert artifacts(client, parent) == {
        "verdict.txt", "verdict.json", "FINDINGS.md", "lock.json", "spec.json", "front.png", "front.html",
        "variants.json", "comparisons.json", "drivers.json", "effects.json", "drivers.png", "beeswarm.png",
        "selection.json", "selection.png", "report.html",
        *(f"comparison-{name}.png" for name in ("terse", "bullets", "chatty")),
        *(f"prompts/{name}@3f9a1c.md" for name in results.labels.values()),
    }  # fmt: skip
    assert json.loads(read(client, parent, "lock.json")) == results.run.lock
    assert read(client, parent, "verdict.txt").splitlines() == results.verdicts
    assert json.loads(read(client, parent, "verdict.json"))["verdicts"] == results.verdicts
    assert read(client, children["terse"], "terse@3f9a1c.md") == "# user\nBe terse."
    table = json.loads(read(client, children["bullets"], "records.json"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == 24
    assert {row["label"] for row in rows} == {"bullets"}
    assert [row["error"] for row in rows if row["answer"] is None] == ["Timeout: no answer"]
    assert {"secret input 5", "secret answer 5"} <= {text for row in rows for text in (row["input"], row["answer"])}
    logged = json.loads(children["bullets"].data.tags["mlflow.loggedArtifacts"])
    assert logged == [{"path": "records.json", "type": "table"}]


@pytest.fixture(scope="module")
def tested(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, write: Callable[..., None],
    lock_of_test: Callable[..., dict[str, Any]], arm: Callable[..., Any],
) -> tuple[MlflowClient, Results]:  # fmt: skip
    """A test that has a winner, with labels and a metric that file names and MLflow's keys do not allow."""
    root = tmp_path_factory.mktemp("tested")
    (root / "mlruns").mkdir()
    shutil.copy(empty_store, root / "mlruns" / "mlflow.db")
    metric = "fluency (1/5)"
    arms = [arm("verbose", output_tokens=120), arm("简洁"), arm("a/b", quality=0.6), arm("a b", quality=0.6)]
    lock = lock_of_test(arms, metric, confirm=0.5, segments=["kind"], margin={metric: 0.05})
    return project(root, write, arms=arms, n=240, metric=metric, **lock)


def test_each_treatment_has_its_verdict_in_tags_and_the_parent_has_all(tested: tuple[MlflowClient, Results]) -> None:
    client, results = tested
    parent, children = runs_of(client)
    assert {c.verdict for c in results.comparisons} == {"cheaper, not worse", "worse"}
    for comparison in results.comparisons:
        tags = children[comparison.treatment].data.tags
        assert tags["verdict"] == comparison.sentence
        assert tags["verdict.short"] == comparison.verdict
        assert tags["verdict.list_usd"] == comparison.cost.finding
        assert tags["verdict.fluency _28_1_per_5_29_"] == comparison.quality[0].finding
    assert not any(key.startswith("verdict") for key in children["verbose"].data.tags)
    assert parent.data.tags["verdict"].splitlines() == results.verdicts
    assert len(results.verdicts) == 4
    assert results.confirmation is not None
    assert parent.data.tags["confirmed"] == results.confirmation.sentence
    assert parent.data.tags["confirmed.short"] == results.confirmation.verdict == "cheaper, not worse"


def test_final_intervals_are_metrics_of_the_treatment(tested: tuple[MlflowClient, Results]) -> None:
    client, results = tested
    _, children = runs_of(client)
    for comparison in results.comparisons:
        metrics = children[comparison.treatment].data.metrics
        for name, d in [
            ("list_usd", comparison.cost.difference),
            ("fluency _28_1_per_5_29_", comparison.quality[0].difference),
            *((j.difference.name, j.difference) for j in comparison.others),
        ]:
            found = {key: metrics.get(f"x/difference/{name}{key}") for key in ("", "_low", "_high")}
            assert found == {"": pytest.approx(d.difference), "_low": d.low, "_high": d.high}
        cost = comparison.cost.difference
        assert metrics["x/relative/list_usd_low"] == pytest.approx(cost.relative_low)
    assert not any(key.startswith(("x/difference/", "x/relative/")) for key in children["verbose"].data.metrics)


def test_the_shrinking_interval_is_a_chart_over_samples(tested: tuple[MlflowClient, Results]) -> None:
    client, results = tested
    _, children = runs_of(client)
    comparison = results.comparisons[0]
    run = children[comparison.treatment].info.run_id
    for name, points in course_of(results, comparison).paths.items():
        key = "x/path/" + name.replace("(1/5)", "_28_1_per_5_29_")
        for end, value in (("", "difference"), ("_low", "low"), ("_high", "high")):
            found = [(m.step, m.value) for m in client.get_metric_history(run, key + end)]
            wanted = [(n, x) for n, d in points if (x := getattr(d, value)) is not None]
            assert sorted(found) == [(n, pytest.approx(x)) for n, x in wanted]
            assert found
    assert max(n for n, _ in points) == 120


def test_each_comparison_has_a_picture_of_its_own_and_so_has_the_confirmation(
    tested: tuple[MlflowClient, Results],
) -> None:
    client, results = tested
    parent, _ = runs_of(client)
    ids = {label: id_ for id_, label in results.labels.items()}
    pictures = {
        name.removesuffix(".png") for name in artifacts(client, parent) if name.startswith("co") and "json" not in name
    }
    assert pictures == {
        "confirmation",
        "comparison-简洁",
        f"comparison-a_b-{ids['a/b']}",
        f"comparison-a_b-{ids['a b']}",
    }
    body = json.loads(read(client, parent, "verdict.json"))
    assert body["confirmation"]["sentence"] == parent.data.tags["confirmed"]
    assert len(body["segments"]) == 6


def test_a_path_longer_than_mlflow_takes_at_once_is_logged_in_parts(
    root: Path, write: Callable[..., None], lock_of_test: Callable[..., dict[str, Any]], arm: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("paretoken.report.mlflow_projection.BATCH", 50)
    arms = [arm("verbose"), arm("terse")]
    client, results = project(root, write, arms=arms, n=60, **lock_of_test(arms))
    _, children = runs_of(client)
    points = course_of(results, results.comparisons[0]).paths["bertscore_f1"]
    assert len(points) > 17
    found = client.get_metric_history(children["terse"].info.run_id, "x/path/bertscore_f1")
    assert len(found) == len(points)


def test_a_grid_has_verdicts_but_neither_paths_nor_pictures_of_every_pair(
    root: Path, write: Callable[..., None]
) -> None:
    client, results = project(root, write, plan={"kind": "grid"})
    parent, children = runs_of(client)
    (comparison,) = results.comparisons
    run = children[comparison.treatment].data
    assert run.tags["verdict.short"] == comparison.verdict
    assert "x/difference/list_usd" in run.metrics
    assert not any(key.startswith("x/path/") for key in run.metrics)
    assert not any(name.startswith("comparison-") for name in artifacts(client, parent))


@pytest.fixture(scope="module")
def raced(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, write_race: Callable[..., Results],
    racers: tuple[Any, ...],
) -> tuple[MlflowClient, Results]:  # fmt: skip
    root = tmp_path_factory.mktemp("raced")
    (root / "mlruns").mkdir()
    shutil.copy(empty_store, root / "mlruns" / "mlflow.db")
    arms = [replace(arm, asked=120 if arm.fate == "kept" else arm.asked) for arm in racers]
    write_race(root / ".paretoken" / "paretoken.db", arms, confirm=1 / 3)
    return project(root)


def test_variants_of_a_race_can_be_sorted_and_say_what_stopped_them(raced: tuple[MlflowClient, Results]) -> None:
    client, results = raced
    _, children = runs_of(client)
    tags = {label: run.data.tags for label, run in children.items()}
    assert {label: (t["fate"], t["stopped_by"]) for label, t in tags.items()} == {
        "verbose": ("kept", ""),
        "terse": ("kept", ""),
        "chatty": ("beaten", "verbose, terse"),
        "bullets": ("beaten", "terse"),
        "mute": ("infeasible", "bertscore_f1"),
    }
    metrics = {label: run.data.metrics for label, run in children.items()}
    assert {label: m["x/dominated"] for label, m in metrics.items()} == {
        "verbose": 0, "terse": 0, "chatty": 1, "bullets": 1, "mute": 0,
    }  # fmt: skip
    assert {label: m.get("x/rank") for label, m in metrics.items()} == {
        "verbose": 0, "terse": 0, "chatty": 2, "bullets": 1, "mute": None,
    }  # fmt: skip
    experiment = client.get_experiment_by_name("product-copy").experiment_id
    ordered = client.search_runs([experiment], "metrics.`x/dominated` = 1", order_by=["metrics.`x/rank` ASC"])
    assert [run.info.run_name for run in ordered] == ["bullets", "chatty"]
    assert results.race is not None


def test_the_parent_of_a_race_has_its_outcome_and_its_course_over_cells(raced: tuple[MlflowClient, Results]) -> None:
    client, results = raced
    parent, _ = runs_of(client)
    race, metrics = results.race, parent.data.metrics
    assert race is not None
    assert race.hypervolume is not None
    assert [metrics[f"hypervolume{end}"] for end in ("", "_low", "_high")] == pytest.approx(list(race.hypervolume))
    assert metrics["cells"] == 80 + 80 + 40 + 64 + 32
    assert metrics["saved_usd"] == pytest.approx(race.saving.saved_usd)
    assert (metrics["n_raced"], metrics["n_held_out"]) == (80, 40)
    assert len(results.race_course) > 30
    for name in ("hypervolume", "usd", "alive", "on_front"):
        found = [(m.step, m.value) for m in client.get_metric_history(parent.info.run_id, f"x/course/{name}")]
        assert sorted(found) == [(look.cells, pytest.approx(getattr(look, name))) for look in results.race_course]
    assert {"front.png", "course.png", "departures.png"} <= artifacts(client, parent)
    assert "![Who left after how many samples, and because of whom](departures.png)" in read(
        client, parent, "FINDINGS.md"
    )


def test_each_variant_of_a_race_has_its_course_over_samples(raced: tuple[MlflowClient, Results]) -> None:
    client, results = raced
    _, children = runs_of(client)
    ids = {label: id_ for id_, label in results.labels.items()}
    assert results.race is not None
    for label in ("verbose", "chatty"):
        run = children[label].info.run_id
        for name in ("bertscore_f1", "list_usd"):
            path = results.race.path(ids[label], name)
            for end, attribute in (("", "mean"), ("_low", "low"), ("_high", "high")):
                found = [(m.step, m.value) for m in client.get_metric_history(run, f"x/course/{name}{end}")]
                wanted = [(n, x) for n, e in path if (x := getattr(e, attribute)) is not None]
                assert sorted(found) == [(n, pytest.approx(x)) for n, x in wanted]
                assert 10 < len(found) <= 20
    assert max(m.step for m in client.get_metric_history(children["chatty"].info.run_id, "x/course/list_usd")) == 40


def test_other_plans_have_nothing_of_a_race(projected: tuple[MlflowClient, Results]) -> None:
    client, _ = projected
    parent, children = runs_of(client)
    for run in (parent, *children.values()):
        known = {*run.data.metrics, *run.data.tags}
        assert not known & {"stopped_by", "fate", "hypervolume_low", "saved_usd", "cells"}
        assert not any(name.startswith("x/course/") for name in known)


def test_a_deleted_store_comes_back(root: Path, empty_store: Path, write: Callable[..., None]) -> None:
    client, _ = project(root, write)
    first = snapshot(client)
    shutil.rmtree(root / "mlruns" / "artifacts")
    moved = root / "again"
    (moved / "mlruns").mkdir(parents=True)
    shutil.copy(empty_store, moved / "mlruns" / "mlflow.db")
    shutil.copytree(root / ".paretoken", moved / ".paretoken")
    client, _ = project(moved)
    assert snapshot(client) == first
    assert (moved / "mlruns" / "artifacts").is_dir()


def test_projecting_again_replaces_also_in_a_deleted_experiment(root: Path, write: Callable[..., None]) -> None:
    client, _ = project(root, write)
    first = snapshot(client)
    client, _ = project(root)
    assert snapshot(client) == first
    client.delete_experiment(client.get_experiment_by_name("product-copy").experiment_id)
    client, _ = project(root)
    assert snapshot(client) == first


@pytest.mark.parametrize("content", ["hash", "none"])
def test_texts_that_are_not_kept_do_not_reach_mlflow(root: Path, write: Callable[..., None], content: str) -> None:
    project(root, write, content=content)
    texts = [b"secret input 5", b"secret answer 5", b"reference 5"]
    files = [path for path in (root / "mlruns").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if any(text in path.read_bytes() for text in texts)]


@pytest.mark.parametrize(("status", "shown"), [("stopped", "KILLED"), ("failed", "FAILED")])
def test_a_run_that_did_not_finish_says_so(root: Path, write: Callable[..., None], status: str, shown: str) -> None:
    client, _ = project(root, write, status=status)
    parent, children = runs_of(client)
    assert {run.info.status for run in (parent, *children.values())} == {shown}


def test_a_run_without_records_is_a_parent_alone(root: Path, write: Callable[..., None]) -> None:
    client, _ = project(root, write, n=0, status="stopped")
    parent, children = runs_of(client)
    assert not children
    assert parent.data.metrics["n"] == 0


def test_global_state_is_left_alone(root: Path, write: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    import mlflow

    before = (mlflow.get_tracking_uri(), logging.getLogger("mlflow").level, mlflow.active_run())
    project(root, write)
    assert (mlflow.get_tracking_uri(), logging.getLogger("mlflow").level, mlflow.active_run()) == before
    assert capfd.readouterr() == ("", "")


def test_a_store_that_cannot_be_opened_is_named_without_its_password(root: Path, write: Callable[..., None]) -> None:
    path = root / ".paretoken" / "paretoken.db"
    write(path)
    with Database(path) as database:
        run = Results.load(database, "last").run
    with pytest.raises(
        StoreError, match=r"The records are whole.*paretoken report product-copy-3f9a1c --mlflow"
    ) as error:
        MlflowTracker("nonsense://me:hunter2@host/db", root, path).on_run(run)
    assert "hunter2" not in str(error.value)
    assert "nonsense://me:***@host/db" in str(error.value)


def test_passwords_are_hidden_in_what_is_shown_and_logged() -> None:
    uri = "postgresql://me:hunter2@host/db"
    lock = json.dumps({"track": {"mlflow": uri}})
    hidden = hide_password(lock, uri)
    assert json.loads(hidden) == {"track": {"mlflow": "postgresql://me:***@host/db"}}
    assert open_lines(uri, "") == ["mlflow ui --backend-store-uri 'postgresql://me:***@host/db'"]


def test_open_lines() -> None:
    page = "#/experiments/1/runs?viewStateShareKey=copy"
    assert open_lines(URI, page) == [f"mlflow ui --backend-store-uri {URI}", f"http://127.0.0.1:5000/{page}"]
    assert open_lines("http://host:5000/", page) == [f"http://host:5000/{page}"]


def test_a_view_lists_the_variants_from_cheap_to_dear_with_their_objectives(
    projected: tuple[MlflowClient, Results],
) -> None:
    client, results = projected
    parent, children = runs_of(client)
    view = json.loads(client.get_experiment(parent.info.experiment_id).tags[f"mlflow.sharedViewState.{results.run.id}"])
    state = json.loads(view["state"])
    order = ["metrics.`usd_per_1k_calls` ASC"]
    listed = client.search_runs([parent.info.experiment_id], state["searchFilter"], order_by=order)
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`usd_per_1k_calls`", True)
    costs = sorted(s.estimates["list_usd"].mean for s in results.summaries)
    assert [run.data.metrics["x/list_usd"] for run in listed] == pytest.approx(costs)
    assert {run.info.run_id for run in listed} == {run.info.run_id for run in children.values()}
    assert "metrics.`bertscore_f1`" in state["selectedColumns"]
