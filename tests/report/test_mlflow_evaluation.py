"""What MLflow's own tools find of a run: traces with scores, prompts with aliases, models with their data."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException

from mlflow_rig import URI, artifacts, project, read, runs_of
from paretoken.analysis.results import Results
from paretoken.records import Database
from paretoken.report.mlflow_registry import PromptBook, plain_name
from paretoken.report.mlflow_tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Trace

pytestmark = pytest.mark.slow

PRICE = {"row": "spec", "source": "the spec", "checked": "2026-01-05", "currency": "USD", "usd_rate": "1",
         "rates": {"input_per_mtok": "0", "output_per_mtok": "0.08"}, "tiers": []}  # fmt: skip


@pytest.fixture(scope="module")
def projected(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> tuple[MlflowClient, Results]:
    """A test whose control is dear and no better; one answer is missing."""
    root = tmp_path_factory.mktemp("projected")
    (root / "mlruns").mkdir()
    shutil.copy(empty_store, root / "mlruns" / "mlflow.db")
    arms = [arm("verbose", output_tokens=120), arm("terse"), arm("mute", quality=0.5, failures=24)]
    return project(root, write, arms=arms, models={arms[0].model: {"price": PRICE, "recorded": False, "base_url": ""}})


def traces_of(client: MlflowClient, run: Any) -> list[Trace]:
    return list(client.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id))


def test_the_same_samples_of_every_variant_are_traces(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    _, children = runs_of(client)
    found = {label: traces_of(client, run) for label, run in children.items()}
    samples = set(results.panel.samples[:5])
    assert {label: {t.info.client_request_id for t in traces} for label, traces in found.items()} == {
        "verbose": samples, "terse": samples, "mute": samples,
    }  # fmt: skip
    assert {t.info.state.value for t in found["mute"]} == {"ERROR"}
    trace = next(t for t in found["terse"] if t.info.client_request_id == results.panel.samples[0])
    record = next(
        r for r in results.records if results.labels[r.variant] == "terse" and r.sample == trace.info.tags["sample"]
    )
    assert record.call.response is not None
    assert json.loads(trace.data.response) == record.call.response.text
    usage = record.call.response.usage
    assert trace.info.token_usage == {"input_tokens": 40, "output_tokens": usage.output_tokens,
                                      "total_tokens": 40 + usage.output_tokens}  # fmt: skip
    assert trace.info.execution_duration == int(1000 * (record.call.response.latency_s or 0))
    cell, call = trace.data.spans
    assert (cell.span_type, call.span_type) == ("CHAIN", "CHAT_MODEL")
    assert call.parent_id == cell.span_id
    assert call.inputs["messages"] == [{"role": "user", "content": record.call.request.messages[0].content}]


def test_scores_are_assessments_and_references_expectations(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    _, children = runs_of(client)
    scores = {r.sample: r.scores for r in results.records if results.labels[r.variant] == "terse"}
    for trace in traces_of(client, children["terse"]):
        sample = str(trace.info.client_request_id)
        by_name = {a.name: a for a in trace.info.assessments}
        assert by_name["bertscore_f1"].feedback.value == pytest.approx(scores[sample]["bertscore_f1"].value)
        assert by_name["bertscore_f1"].source.source_type == "CODE"
        assert by_name["expected_response"].expectation.value == f"reference {sample[1:]}"
    assert not any(a.feedback for t in traces_of(client, children["mute"]) for a in t.info.assessments)


def test_prompts_are_versions_of_one_and_the_winner_is_the_champion(projected: tuple[MlflowClient, Results]) -> None:
    client, results = projected
    assert [results.labels[id_] for id_ in results.chosen] == ["terse"]
    champion = client.load_prompt("prompts:/product-copy@champion")
    assert champion.template == [{"role": "user", "content": "Be terse."}]
    assert champion.version == client.load_prompt("prompts:/product-copy@terse").version
    assert len(client.search_prompt_versions("product-copy")) == 3
    _, children = runs_of(client)
    linked = json.loads(children["terse"].data.tags["mlflow.linkedPrompts"])
    assert linked == [{"name": "product-copy", "version": str(champion.version)}]


def champion(client: MlflowClient) -> str:
    return str(client.load_prompt("prompts:/product-copy@champion").commit_message)


def test_only_a_winner_is_crowned_and_no_earlier_run_takes_the_crown_back(
    tmp_path: Path, empty_store: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    dear, cheap, bad = arm("verbose", output_tokens=120), arm("terse"), arm("mute", quality=0.5)
    client, _ = project(tmp_path, write, arms=[dear, bad, arm("champion", output_tokens=130)])
    with pytest.raises(MlflowException, match="champion"):
        champion(client)
    database = tmp_path / ".paretoken" / "paretoken.db"
    database.unlink()
    client, _ = project(tmp_path, write, arms=[dear, cheap], run="product-copy-2")
    assert champion(client) == "terse@3f9a1c"
    database.unlink()
    project(tmp_path, write, arms=[dear, bad], run="product-copy-3")
    assert champion(client) == "terse@3f9a1c"
    PromptBook(client, "product-copy", "1", "").crown("verbose@3f9a1c", "2020-01-01T00:00:00+00:00")
    assert champion(client) == "terse@3f9a1c"
    PromptBook(client, "product-copy", "1", "").crown("verbose@3f9a1c", "2050-01-01T00:00:00+00:00")
    assert champion(client) == "verbose@3f9a1c"


def test_what_has_the_form_of_a_key_does_not_reach_mlflow(
    tmp_path: Path, empty_store: Path, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret answer 1")  # what an answer says
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    project(tmp_path, write)
    files = [path for path in (tmp_path / "mlruns").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if b"secret answer 1" in path.read_bytes()]
    assert [path for path in files if b"secret answer 2" in path.read_bytes()]


def test_a_variant_is_a_model_whose_metrics_name_the_data(projected: tuple[MlflowClient, Results]) -> None:
    client, _ = projected
    _, children = runs_of(client)
    run = client.get_run(children["terse"].info.run_id)
    (used,) = run.inputs.model_inputs
    model = client.get_logged_model(used.model_id)
    assert (model.name, model.status.value) == ("terse", "READY")
    assert model.params["prompt"] == "terse@3f9a1c"
    metrics = {m.key: m for m in model.metrics}
    assert metrics["bertscore_f1"].value == pytest.approx(run.data.metrics["bertscore_f1"])
    assert (metrics["usd_per_1k_calls"].dataset_name, metrics["usd_per_1k_calls"].dataset_digest) == (
        "products.jsonl",
        "d" * 12,
    )


def test_the_run_table_sorts_and_filters_by_place(projected: tuple[MlflowClient, Results]) -> None:
    client, _ = projected
    parent, children = runs_of(client)
    place = {
        label: (run.data.metrics["x/dominated"], run.data.metrics.get("x/rank")) for label, run in children.items()
    }
    assert place["terse"] == (0, 0)
    assert place["verbose"] == (1, 1)
    experiment = parent.info.experiment_id
    ordered = client.search_runs([experiment], "tags.dominated = 'false' and metrics.`x/rank` >= 0")
    assert [run.info.run_name for run in ordered] == ["terse"]
    assert 0 < children["terse"].data.metrics["x/hypervolume_added"] <= parent.data.metrics["hypervolume"] <= 1


def test_the_parent_has_drivers_waterfalls_and_a_page_that_needs_no_network(
    projected: tuple[MlflowClient, Results],
) -> None:
    client, results = projected
    parent, _ = runs_of(client)
    assert {"drivers.png", "beeswarm.png", "waterfall-terse.png", "front.html", "selection.png"} <= artifacts(
        client, parent
    )
    assert parent.data.tags["drivers"].startswith("prompt drives")
    assert parent.data.metrics["drivers/prompt"] > 0.9
    table = json.loads(read(client, parent, "comparisons.json"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    cost = next(r for r in rows if r["treatment"] == "terse" and r["quantity"] == "list_usd")
    assert cost["difference"] == pytest.approx(results.comparisons[0].cost.difference.difference)
    page = read(client, parent, "front.html")
    assert 'src="http' not in page
    assert "terse" in page
    for path in json.loads(parent.data.tags["mlflow.loggedArtifacts"]):
        assert json.loads(read(client, parent, path["path"]))["data"]


def test_projecting_again_leaves_nothing_twice(
    tmp_path: Path, empty_store: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    client, _ = project(tmp_path, write, arms=[arm("verbose", output_tokens=120), arm("terse")])
    project(tmp_path)
    parent, _ = runs_of(client)
    experiment = [parent.info.experiment_id]
    assert len(client.search_traces(locations=experiment, max_results=100)) == 10
    assert len(client.search_logged_models(experiment)) == 2
    assert len(client.search_prompt_versions("product-copy")) == 2
    assert len(list((tmp_path / "mlruns" / "artifacts").rglob("front.html"))) == 1


@pytest.mark.parametrize("content", ["hash", "none"])
def test_texts_that_are_not_kept_are_no_traces(
    tmp_path: Path, empty_store: Path, write: Callable[..., None], content: str
) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    client, _ = project(tmp_path, write, content=content)
    parent, _ = runs_of(client)
    assert not client.search_traces(locations=[parent.info.experiment_id])


def test_as_many_traces_as_asked(
    tmp_path: Path, empty_store: Path, write: Callable[..., None], arm: Callable[..., Any]
) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    path = tmp_path / ".paretoken" / "paretoken.db"
    write(path, arms=[arm("verbose", output_tokens=120), arm("terse")])
    with Database(path) as database:
        results = Results.load(database, "last")
    tracker = MlflowTracker(URI, tmp_path, path, traces=2)
    tracker.on_run(results.run)
    client = tracker.client
    parent, _ = runs_of(client)
    assert len(client.search_traces(locations=[parent.info.experiment_id])) == 4


def test_names_that_mlflow_does_not_take_stay_apart() -> None:
    assert plain_name("product-copy") == "product-copy"
    assert plain_name("产品") != plain_name("文案")
