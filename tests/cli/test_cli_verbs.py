"""Every verb on a small experiment, from an empty folder to the export."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paretoken.core.clock import SystemClock
from paretoken.experiment.resolve import load_design

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab

COMMAND = (sys.executable, "-m", "paretoken")


def entries(lab: Lab, kind: str) -> int:
    connection = sqlite3.connect(lab.database)
    try:
        return int(connection.execute("SELECT count(*) FROM entries WHERE kind = ?", (kind,)).fetchone()[0])
    finally:
        connection.close()


def test_init_writes_a_spec_that_resolves(lab: Lab, cli: Callable) -> None:
    before = lab.files()
    said = cli("init", "mine", "--json")
    written = said.json["written"]
    assert said.code == 0
    assert said.err == ""
    assert {path: content for path, content in lab.files().items() if path not in written} == before
    design = load_design(Path("mine"), SystemClock())
    assert design.n_calls == len(design.variants) * len(design.samples) > 0
    assert design.plan["kind"] == "abtest"
    assert design.spec.budget is not None
    assert design.spec.track
    assert not (lab.root / ".paretoken").exists()
    assert "paretoken run elsewhere" in cli("init", "elsewhere").out


def test_plan_writes_nothing(lab: Lab, cli: Callable) -> None:
    before = lab.files()
    said = cli("plan", "lab")
    assert (said.code, said.err) == (0, "")
    assert "Is the terse prompt cheaper?" in said.out
    assert "calls: 24 (24 to send), 12 samples" in said.out
    assert "fits the budget of $1.00" in said.out
    assert "(estimated)" not in said.out
    body = cli("plan", "lab", "--limit", "5", "--json").json
    assert (body["calls"], body["cached"], body["exact"]) == (10, 0, True)
    assert {variant["label"] for variant in body["variants"]} == {"long", "terse"}
    assert lab.files() == before
    assert not (lab.root / ".paretoken").exists()


def test_plan_with_a_pilot_says_what_it_spent_and_predicts_the_rest(lab: Lab, cli: Callable) -> None:
    before = cli("plan", "lab")
    assert "no 90 % interval: 2 of 2 variants have fewer than 10 recorded samples" in before.out
    assert "--pilot 10" in before.out
    body = cli("plan", "lab", "--pilot", "10", "--json").json
    assert (body["pilot"]["sent"], body["calls"], body["to_send"], body["recorded"]) == (20, 24, 4, 20)
    assert float(body["spent_usd"]) == float(body["pilot"]["billed_usd"]) > 0
    assert all(variant["predicted"]["n"] == variant["recorded"] == 10 for variant in body["variants"])
    ends = [float(body["low_usd"]), *(body["predicted"][k] for k in ("low_usd", "usd", "high_usd"))]
    assert ends == sorted(ends)
    said = cli("plan", "lab")
    assert f"spent so far: ${body['spent_usd']}" in said.out
    assert "(from 20 recorded calls); never above $" in said.out
    assert [line.split()[0] for line in said.out.splitlines() if " to $" in line][:3] == ["long", "terse", "total"]
    done = cli("run", "lab")
    assert "now: 4 sent, 0 cached" in done.err
    assert "inside the 90 % interval" in cli("show").out
    after = cli("plan", "lab")
    assert (after.code, "(0 to send)" in after.out, "cost:" in after.out) == (0, True, False)


def test_a_pilot_that_reaches_the_budget_exits_3(lab: Lab, cli: Callable) -> None:
    lab.edit('budget: {usd: "1.00"}', 'budget: {usd: "0.0008"}')
    said = cli("plan", "lab", "--pilot", "12", "--json")
    assert (said.code, said.json["pilot"]["sent"] > 0) == (3, True)
    assert "error:" in said.err
    assert said.json["verdict"].startswith(("may reach", "expected to reach", "cannot finish"))


def test_rerun_prints_the_same_and_calls_nothing(lab: Lab, cli: Callable) -> None:
    first = cli("run", "lab")
    assert first.code == 0
    assert "24 sent, 0 cached" in first.err
    attempts, calls = entries(lab, "attempt"), entries(lab, "call")
    assert (attempts, calls) == (24, 24)
    (run,) = cli("runs", "--json").json
    again = cli("run", "lab")
    assert (again.code, again.out) == (0, first.out)
    assert "0 sent, 0 cached" in again.err
    assert (entries(lab, "attempt"), entries(lab, "call")) == (attempts, calls)
    assert cli("runs", "--json").json == [run]
    assert "answered before" in cli("plan", "lab").out
    assert cli("plan", "lab", "--json").json["cached"] == 24


def test_fresh_pays_nothing_twice(lab: Lab, cli: Callable) -> None:
    first, fresh = cli("run", "lab", "--json"), cli("run", "lab", "--fresh", "--json")
    assert "0 sent, 24 cached, $0 billed" in fresh.err
    assert entries(lab, "attempt") == 24
    assert first.json["run"] != fresh.json["run"]
    assert first.json["front"] == fresh.json["front"], "a cached answer changes no number"
    assert first.json["verdicts"] == fresh.json["verdicts"]


def test_front_says_what_is_cheaper_and_how_good(lab: Lab, cli: Callable) -> None:
    cli("run", "lab")
    body = cli("front", "--json").json
    rows = {row["variant"]: row for row in body["front"]}
    assert set(rows) == {"long", "terse"}
    assert rows["terse"]["standing"] == "front"
    assert rows["long"]["n"] == rows["terse"]["n"] == 12
    assert rows["terse"]["contains"] == pytest.approx(8 / 12, abs=1e-3)
    # "Sell kettle: small, new, number 0" has 6 words for $1 and as many answered for $4 a million
    assert rows["terse"]["list_usd_per_1k_calls"] == pytest.approx(1000 * (6 * 1 + 6 * 4) / 1e6)
    assert rows["terse"]["saving_percent"] > 50
    assert "undecided on contains" in body["verdicts"][0]
    assert cli("front").out.count("terse") >= 2


def test_compare(lab: Lab, cli: Callable) -> None:
    cli("run", "lab")
    (declared,) = cli("compare", "--json").json
    (named,) = cli("compare", "last", "long", "terse", "--json").json
    (reverse,) = cli("compare", "lab", "terse", "long", "--json").json
    assert declared == named
    assert declared["cost"]["difference"]["difference"] == pytest.approx(-reverse["cost"]["difference"]["difference"])
    assert declared["sentence"] in cli("compare").out


def test_show(lab: Lab, cli: Callable) -> None:
    lab.edit('"product": "mug"', '"product": "mug [/b] :car: [red]"', "data.jsonl")
    cli("run", "lab")
    body = cli("show", "--json").json
    assert body["budget"] == "1.00"
    assert not body["failures"]
    calls = body["estimate against actual"][0]
    assert (calls["estimate"], calls["actual"]) == ("24", "24")
    rows = {row["variant"]: row for row in cli("show", "--sample", "s4", "--json").json}
    assert rows["terse"]["answer"] == "Sell mug [/b] :car: [red]: small, free, number 4"
    assert rows["terse"]["prompt"].startswith("[user] Sell mug")
    assert rows["terse"]["contains"] == 1.0
    text = cli("show", "last", "--sample", "s4")
    assert text.code == 0
    assert "[/b] :car: [red]" in text.out.replace("\n", "")
    assert "A small mug, made with care." in text.out
    assert cli("show").code == 0


def test_report(lab: Lab, cli: Callable) -> None:
    cli("run", "lab")
    text, body = cli("report").out, cli("report", "--json").json
    assert text.startswith("# copy")
    assert body["findings"].strip() == text.strip()
    untracked = cli("report", "--mlflow")
    assert (untracked.code, untracked.out) == (2, "")
    assert "track:" in untracked.err


def test_prompts_prices_and_doctor(lab: Lab, cli: Callable) -> None:
    rows = cli("prompts", "lab/prompts", "--json").json
    assert [row["prompt"].partition("@")[0] for row in rows] == ["long", "terse"]
    assert "terse@" in cli("prompts", "lab/prompts/terse.md").out
    priced = cli("prices", "gpt-4o-mini", "--json").json
    assert "openai/gpt-4o-mini" in {row["model"] for row in priced}
    assert "gpt-4o-mini" in cli("prices", "gpt-4o-mini").out
    assert "no priced model" in cli("prices", "no-such-model").out
    state = {row["what"]: row["state"] for row in cli("doctor", "--json").json}
    assert "made by the first run" in state["records"]
    assert "weights smollm2-135m" in state
    assert state["key OPENAI_API_KEY"] in ("set", "not set")
    assert "echo" in state["providers"]
    assert cli("doctor").code == 0
    missing = cli("prompts", "nowhere")
    assert (missing.code, missing.out, missing.err.count("error:")) == (2, "", 1)
    assert not (lab.root / ".paretoken").exists()


def test_runs_export_and_rm(lab: Lab, cli: Callable) -> None:
    import pandas as pd

    assert "no runs yet" in cli("runs").out
    assert cli("runs", "--json").json == []
    run = cli("run", "lab", "--json").json["run"]
    assert run in cli("runs").out
    body = cli("runs", "export", run, "--to", "x.parquet", "--json").json
    frame = pd.read_parquet(body["file"])
    assert body["rows"] == len(frame) == 24
    assert set(frame["label"]) == {"long", "terse"}
    assert frame["list_usd"].sum() > 0
    assert cli("runs", "rm", "lab", "--json").json == {"removed": run}
    assert cli("runs", "--json").json == []
    again = cli("run", "lab", "--json")
    assert "0 sent, 24 cached" in again.err
    assert again.json["run"] == run


def test_a_number_is_free_again_only_when_its_run_is_gone(lab: Lab, cli: Callable) -> None:
    first = cli("run", "lab", "--json").json["run"]
    second = cli("run", "lab", "--fresh", "--json").json["run"]
    assert second == f"{first}-2"
    assert cli("runs", "rm", first).code == 0
    third = cli("run", "lab", "--fresh")
    assert third.code == 0, third.err
    assert len(cli("runs", "--json").json) == 2


def test_a_spec_outside_of_a_project_uses_the_working_folder(
    lab: Lab, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.root / "pyproject.toml").unlink()
    assert cli("run", "lab").code == 0
    assert lab.database.is_file()
    assert not (lab.folder / ".paretoken").exists()
    run = cli("front", "--json").json["run"]
    assert cli("front", "lab", "--json").json["run"] == run
    assert cli("front", "lab/spec.yaml", "--json").json["run"] == run
    monkeypatch.chdir(lab.folder)
    assert cli("front", ".", "--json").json["run"] == run
    assert cli("run", "spec.yaml").err.startswith(f"{run}: finished, 24 of 24 calls done; now: 0 sent")
    assert set(lab.files()) - {".paretoken"} == set(lab.files())


def test_a_spec_elsewhere_leaves_no_records_in_the_working_folder(
    lab: Lab, cli: Callable, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.root / "pyproject.toml").unlink()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    run = cli("run", lab.folder, "--json").json["run"]
    assert not list(Path().iterdir())
    assert (lab.folder / ".paretoken" / "paretoken.db").is_file()
    assert cli("front", lab.folder, "--json").json["run"] == run


def test_a_project_in_the_folder_of_the_spec(lab: Lab, cli: Callable) -> None:
    (lab.folder / "pyproject.toml").touch()
    run = cli("run", "lab", "--json").json["run"]
    assert (lab.folder / ".paretoken" / "paretoken.db").is_file()
    assert cli("front", "lab", "--json").json["run"] == run
    assert cli("front", "lab/spec.yaml", "--json").json["run"] == run


def test_limit_is_a_run_of_its_own(lab: Lab, cli: Callable) -> None:
    small = cli("run", "lab", "--limit", "3", "--json")
    assert "6 sent" in small.err
    whole = cli("run", "lab", "--json")
    assert "18 sent, 6 cached" in whole.err
    assert small.json["run"] != whole.json["run"]


def test_the_picture_is_made(lab: Lab, cli: Callable) -> None:
    picture = Path(cli("run", "lab", "--json").json["picture"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_single_variant_has_nothing_to_be_compared_with(lab: Lab, cli: Callable) -> None:
    lab.edit("prompts: [prompts/long.md, prompts/terse.md]", "prompts: [prompts/terse.md]")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    assert cli("run", "lab").code == 0
    assert cli("compare", "--json").json == []
    assert "nothing to compare" in cli("compare").out
    assert cli("report").code == 0


def test_compare_without_pairs_says_why_and_what_to_do(lab: Lab, cli: Callable) -> None:
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "")
    lab.edit("maximize: [contains]", "maximize: [max_chars]")
    assert cli("run", "lab").code == 0
    said = cli("compare", "last")
    assert said.out.startswith('only "terse" is on the front: name two variants, paretoken compare last A B\n')
    assert 'against "long"' in cli("compare", "last", "long", "terse").out
    lab.edit("maximize: [max_chars]", "maximize: [max_chars]\nsubject_to: {contains: '>= 2'}")
    assert cli("run", "lab").code == 0
    assert cli("compare", "last").out.startswith("no variant is on the front: name two variants")


def test_mlflow_follows_the_run(lab: Lab, cli: Callable) -> None:
    lab.edit("plan:\n", 'track: {mlflow: "sqlite:///mlruns/mlflow.db"}\nplan:\n')
    said = cli("run", "lab", "--limit", "2")
    assert said.code == 0, said.err
    assert "mlflow ui --backend-store-uri" in said.out
    assert (lab.root / "mlruns" / "mlflow.db").is_file()
    store = sqlite3.connect(lab.root / "mlruns" / "mlflow.db")
    count = "SELECT count(*) FROM runs WHERE lifecycle_stage = 'active'"
    assert store.execute(count).fetchone() == (3,)
    assert cli("run", "lab", "--limit", "2").out == said.out
    assert store.execute(count).fetchone() == (3,), "a rerun makes no new MLflow run"
    store.close()


def test_only_the_answer_is_on_stdout(lab: Lab) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], cwd=lab.root, capture_output=True, text=True, check=False)

    done = call("run", "lab", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "finished"
    assert done.stderr.splitlines() == [line for line in done.stderr.splitlines() if "24 of 24 calls done" in line]
    lab.edit("seed: 7", "sede: 7")
    bad = call("run", "lab", "--json")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == ("error: lab/spec.yaml:3: sede: unknown key 'sede'. Did you mean 'seed'?\n")
    usage = call("run")
    assert (usage.returncode, usage.stdout) == (2, "")


def test_a_defect_is_shown_whole_and_exits_5(lab: Lab, cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr("paretoken.experiment.api.load_design", broken)
    said = cli("run", "lab")
    assert (said.code, said.out) == (5, "")
    assert "Traceback" in said.err


def test_interrupt_keeps_what_was_answered(lab: Lab, cli: Callable) -> None:
    lab.edit("  - id: echo/a", "  - id: echo/a\n    latency_s: 0.2\n    limits: {concurrency: 2}")
    process = subprocess.Popen(
        [*COMMAND, "run", "lab"],
        cwd=lab.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    wait_for_answers(lab, process, 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert out == b""
    assert b"the same command goes on" in err
    assert b"Traceback" not in err
    (run,) = cli("runs", "--json").json
    assert run["status"] == "stopped"
    kept = lab.answered()
    assert 4 <= len(kept) < 24
    done = cli("run", "lab")
    assert done.code == 0
    assert f"now: {24 - len(kept)} sent" in done.err
    assert "booked for calls" not in done.err, "the interrupted process settled its own money"
    assert len(lab.answered()) == len(set(lab.answered())) == 24


def wait_for_answers(lab: Lab, process: subprocess.Popen[bytes], n: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if lab.database.is_file() and len(lab.answered()) >= n:
            return
        time.sleep(0.01)
    pytest.fail(f"the run did not get to {n} answers: {process.communicate()}")


def test_killed_at_any_moment_it_goes_on(lab: Lab, cli: Callable, tmp_path_factory: pytest.TempPathFactory) -> None:
    lab.edit("  - id: echo/a", "  - id: echo/a\n    latency_s: 0.05\n    limits: {concurrency: 3}")
    lab.edit("minimize: [list_usd]", "minimize: [list_usd]\nrepeats: 2")
    for n in (1, 7, 20, 33):
        process = subprocess.Popen([*COMMAND, "run", "lab"], cwd=lab.root, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)  # fmt: skip
        wait_for_answers(lab, process, n)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    before = len(lab.answered())
    done = cli("run", "lab")
    assert done.code == 0, done.err
    assert len(lab.answered()) == len(set(lab.answered())) == 48, "no answer was paid twice"
    assert f"now: {48 - before} sent" in done.err
    interrupted = cli("front", "--json").json

    other = type(lab)(tmp_path_factory.mktemp("uninterrupted"))
    for name in ("spec.yaml",):
        other.write(name, (lab.folder / name).read_text())
    (other.root / "pyproject.toml").touch()
    assert cli("run", other.folder).code == 0
    whole = cli("front", other.folder, "--json").json
    for body in (interrupted, whole):
        for row in body["front"]:
            row.pop("latency_s_p95")  # the echo's own clock
    assert interrupted == whole


def test_help_and_import_stay_light() -> None:
    heavy = {"torch", "mlflow", "optuna", "shap", "pandas", "sklearn", "matplotlib", "sqlalchemy", "aiohttp", "numpy",
             "pydantic", "xllamacpp", "transformers", "pyarrow", "bert_score", "sacrebleu", "duckdb"}  # fmt: skip
    code = (
        "import sys; import paretoken; assert paretoken.__all__; from paretoken.cli.app import run_command; "
        f"code = run_command(['--help']); print(code, sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "0 []\n"
    assert "compare" in done.stdout
