"""Logs of calls beside the same counts made in plain Python and in pandas."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretoken.analysis.call_log import CallLog
from paretoken.core.errors import SpecError
from paretoken.core.usage import from_pico

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 3, 1, 22, tzinfo=UTC)
MODELS = {"vendor/small": (1_000_000, 4_000_000), "vendor/large": (5_000_000, 20_000_000)}


def make(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Calls with Chinese tags, failures and gaps; one every 10 minutes."""
    rng = np.random.default_rng(seed)
    model = rng.choice(list(MODELS), n)
    prompt = rng.choice(["terse", "verbose"], n)
    tokens_in = rng.integers(10, 500, n) + 300 * (prompt == "verbose")
    tokens_out = rng.integers(1, 300, n)
    list_pico = [i * MODELS[m][0] + o * MODELS[m][1] for m, i, o in zip(model, tokens_in, tokens_out, strict=True)]
    frame = pd.DataFrame(
        {
            "at": [START + timedelta(minutes=10 * i) for i in range(n)],
            "model": model,
            "prompt": prompt,
            "department": rng.choice(["内容部", "客服部", "ops"], n),
            "input_chars": 4 * tokens_in,
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "list_pico": list_pico,
            "billed_pico": np.where(rng.random(n) < 0.2, 0, list_pico),
            "latency_s": 0.1 + tokens_out * rng.lognormal(-4, 0.3, n),
            "quality": 0.5 + 0.2 * (model == "vendor/large") + rng.normal(0, 0.05, n),
            "error": None,
        }
    ).convert_dtypes()
    frame["error"] = frame["error"].astype("string")
    failed = rng.random(n) < 0.05
    frame.loc[failed, ["input_tokens", "output_tokens", "list_pico", "latency_s", "quality"]] = pd.NA
    frame.loc[failed, "billed_pico"] = 0
    frame.loc[failed, "error"] = "timeout"
    frame.loc[rng.random(n) < 0.05, "department"] = pd.NA
    return frame


def saved(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def calls() -> pd.DataFrame:
    return make()


@pytest.fixture(scope="module")
def log(calls: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> CallLog:
    """The calls, in three files."""
    folder = tmp_path_factory.mktemp("log")
    for i, (start, end) in enumerate([(0, 150), (150, 151), (151, 400)]):
        saved(calls.iloc[start:end], folder / f"{i}.parquet")
    return CallLog(folder)


def counted(rows: pd.DataFrame) -> tuple[object, ...]:
    latencies = rows["latency_s"].dropna().to_numpy(float)
    return (
        len(rows), int(rows["input_tokens"].sum()), int(rows["output_tokens"].sum()),
        from_pico(sum(map(int, rows["list_pico"].dropna()))), from_pico(sum(map(int, rows["billed_pico"]))), 0,
        pytest.approx(rows["error"].notna().mean()), pytest.approx(np.quantile(latencies, 0.95), rel=1e-3),
    )  # fmt: skip


@pytest.mark.parametrize("names", [(), ("model",), ("department",), ("day",), ("department", "model", "prompt")])
def test_every_group_is_counted_as_pandas_counts_it(log: CallLog, calls: pd.DataFrame, names: tuple[str, ...]) -> None:
    keyed = calls.assign(day=calls["at"].dt.date)
    keys = [tuple(None if pd.isna(v) else v for v in row) for row in keyed[list(names)].itertuples(index=False)]
    if not names:
        keys = [()] * len(calls)
    expected = {key: counted(calls[[k == key for k in keys]]) for key in set(keys)}
    found = log.cost_by(*names)
    rows = {tuple(row[: len(names)]): tuple(row[len(names) :]) for row in found.itertuples(index=False)}
    assert rows == expected
    groups = list(rows)
    assert groups == sorted(groups, key=lambda key: [(value is None, value) for value in key])


def test_missing_tags_come_last_as_none(log: CallLog) -> None:
    assert log.cost_by("department")["department"].tolist() == ["ops", "内容部", "客服部", None]


def test_days_begin_where_it_is_said(calls: pd.DataFrame, tmp_path: Path) -> None:
    path = saved(calls.iloc[:12], tmp_path / "x.parquet")  # 22:00 to 23:50 in London
    assert CallLog(path).cost_by("day")["day"].tolist() == [date(2026, 3, 1)]
    assert CallLog(path, timezone="Asia/Shanghai").cost_by("day")["day"].tolist() == [date(2026, 3, 2)]
    bare = calls.iloc[:12].assign(at=calls["at"].dt.tz_localize(None))
    named = CallLog(saved(bare, tmp_path / "bare.parquet"), timezone="Asia/Shanghai")
    assert named.cost_by("day")["day"].tolist() == [date(2026, 3, 1)]
    with pytest.raises(SpecError, match="unknown time zone 'Asia/Shangai'"):
        CallLog(path, timezone="Asia/Shangai")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=40))
def test_money_is_summed_exactly_whatever_the_amounts(tmp_path: Path, amounts: list[int]) -> None:
    rows = make(len(amounts)).assign(error=pd.NA, billed_pico=amounts, list_pico=[amount // 3 for amount in amounts])
    (found,) = CallLog(saved(rows, tmp_path / "x.parquet")).cost_by().itertuples()
    assert found.billed_usd == from_pico(sum(amounts))  # beyond 2**63 as well
    assert found.list_usd == from_pico(sum(amount // 3 for amount in amounts))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=40))
def test_dollars_as_floats_are_taken_by_the_pico_dollar(tmp_path: Path, amounts: list[int]) -> None:
    """Up to 10 dollars a call, where a float still tells pico-dollars apart."""
    rows = make(len(amounts)).drop(columns=["list_pico", "billed_pico"])
    rows = rows.assign(
        list_usd=[amount / 1e12 for amount in amounts], billed_usd=[Decimal(a) / 10**12 for a in amounts]
    )
    (found,) = CallLog(saved(rows, tmp_path / "x.parquet")).cost_by().itertuples()
    assert found.list_usd == found.billed_usd == from_pico(sum(amounts))


def test_what_has_no_price_is_told_and_not_free(calls: pd.DataFrame, tmp_path: Path) -> None:
    rows = calls.assign(list_usd=calls["list_pico"].astype("Float64") / 1e12).drop(columns="list_pico")
    rows.loc[rows.index[rows["error"].isna()][:7], "list_usd"] = float("nan")
    (found,) = CallLog(saved(rows, tmp_path / "x.parquet")).cost_by().itertuples()
    assert found.unpriced == 7
    assert found.list_usd < from_pico(sum(map(int, calls["list_pico"].dropna())))


def test_files_may_differ_in_their_tags(calls: pd.DataFrame, tmp_path: Path) -> None:
    saved(calls.iloc[:100].assign(team="红队"), tmp_path / "2[1].parquet")
    (tmp_path / "project=spring").mkdir()
    saved(calls.iloc[100:].drop(columns="department"), tmp_path / "project=spring" / "1.parquet")
    log = CallLog(tmp_path / "*.parquet")
    assert (len(log), len(log.files), len(log.sample(100))) == (100, 1, 100)
    both = CallLog(tmp_path / "2[1].parquet").cost_by("team")
    assert both[["team", "calls"]].to_numpy().tolist() == [["红队", 100]]
    by_folder = CallLog(tmp_path / "project=spring").cost_by("project")
    assert by_folder[["project", "calls"]].to_numpy().tolist() == [["spring", 300]]


def test_the_front_is_that_of_the_means(log: CallLog, calls: pd.DataFrame) -> None:
    standings = log.front(["list_usd", "latency_s.p95"], ["quality"])
    assert len(standings) == 4
    answered = calls[calls["error"].isna()]
    for standing in standings:
        prompt, model = standing.summary.label.split("|")
        rows = answered[(answered["prompt"] == prompt) & (answered["model"] == f"vendor/{model}")]
        cost = standing.summary.estimates["list_usd"]
        usd = rows["list_pico"].to_numpy(float) / 1e12
        assert (cost.n, cost.mean) == (len(rows), pytest.approx(usd.mean()))
        half = 1.96 * usd.std(ddof=1) / len(usd) ** 0.5
        assert cost.high == pytest.approx(usd.mean() + half, rel=0.01)
        assert standing.summary.value("quality") == pytest.approx(rows["quality"].to_numpy(float).mean())
        p95 = np.quantile(rows["latency_s"].to_numpy(float), 0.95)
        assert standing.summary.value("latency_s.p95") == pytest.approx(p95, rel=1e-3)
    only_cost = [s.summary.label for s in log.front() if s.on_front]
    assert only_cost == ["terse|small"]
    with pytest.raises(SpecError, match="Did you mean 'quality'"):
        log.front(maximize=["qualty"])


def test_the_same_seed_draws_the_same_calls(log: CallLog, calls: pd.DataFrame) -> None:
    drawn = log.sample(60, seed=3)
    assert drawn["at"].is_monotonic_increasing
    assert drawn["at"].nunique() == 60
    pd.testing.assert_frame_equal(drawn, log.sample(60, seed=3))
    assert set(drawn["at"]) != set(log.sample(60, seed=4)["at"])
    whole = log.sample(10_000)
    assert whole["list_pico"].equals(calls["list_pico"])
    assert whole["department"].tolist() == calls["department"].where(calls["department"].notna(), pd.NA).tolist()


def test_every_call_is_as_likely_to_be_drawn(log: CallLog, calls: pd.DataFrame) -> None:
    counts = pd.concat(log.sample(40, seed=seed)["at"] for seed in range(12)).value_counts()
    counts = counts.reindex(calls["at"], fill_value=0).to_numpy()
    assert counts.sum() == 480
    assert ((counts - 1.2) ** 2 / (12 * 0.1 * 0.9)).mean() == pytest.approx(1, abs=0.25)  # binomial
    assert counts[:150].sum() / 480 == pytest.approx(150 / 400, abs=0.08)


def test_drivers_are_choices_and_inputs(log: CallLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 3)
    found = log.drivers(n=300)
    assert found.shares[0].driver == "model"
    assert {share.driver for share in found.shares} == {"model", "prompt", "input length", "tag: department"}
    assert found.kinds == {"model": "choice", "prompt": "choice", "input length": "input", "tag: department": "input"}
    assert "in 300 of 400 calls, drawn at random" in found.sentences
    assert any(note.endswith("calls without list_usd are left out") for note in found.notes)
    with pytest.raises(SpecError, match="have no 'input_tokens'"):
        log.drivers("input_tokens")


def test_lists_and_structures_are_levels_by_their_texts(
    calls: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 3)
    even = calls.index % 2 == 0
    rows = calls.assign(
        labels=[["a", "b"] if i else ["c"] for i in even],
        origin=[{"team": "x"} if i else None for i in even],
        stop=[["END"] if i else None for i in even],
        costs=[[Decimal("1.5")]] * len(calls),
    )
    log = CallLog(saved(rows, tmp_path / "x.parquet"))
    half = len(calls) // 2
    assert log.cost_by("labels")[["labels", "calls"]].to_numpy().tolist() == [["[a, b]", half], ["[c]", half]]
    assert log.cost_by("origin")["origin"].tolist() == ["{'team': x}", None]
    assert log.cost_by("labels")["latency_s_p95"].notna().all()
    assert {s.summary.label.count("[END]") for s in log.front()} == {0, 1}
    assert sum(s.summary.n for s in log.front()) == len(calls)
    assert {share.driver for share in log.drivers().shares} >= {"model", "stop"}
    assert log.metrics == ["quality"]


def test_columns_named_like_results_are_tags(calls: pd.DataFrame, tmp_path: Path) -> None:
    rows = calls.assign(day="Monday", calls="few", error_rate=0.5, unpriced=True)
    log = CallLog(saved(rows, tmp_path / "x.parquet"))
    found = log.cost_by("tag: day", "tag: calls", "tag: error_rate", "tag: unpriced")
    assert found.iloc[0, :5].tolist() == ["Monday", "few", 0.5, True, 400]
    assert log.cost_by("day")["day"].tolist() == [
        date(2026, 3, 1),
        date(2026, 3, 2),
        date(2026, 3, 3),
        date(2026, 3, 4),
    ]
    with pytest.raises(SpecError, match=r"cannot be grouped by 'calls'\. Did you mean 'tag: calls'"):
        log.cost_by("calls")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns=["at", "list_pico"]), "lacks the columns 'at', 'list_usd'"),
        (lambda rows: rows.drop(columns="error"), "lacks the column 'error'"),
        (lambda rows: rows.assign(at=7), "its column 'at' holds BIGINT, not times"),
        (lambda rows: rows.assign(latency_s="fast"), "its column 'latency_s' holds VARCHAR, not numbers"),
        (lambda rows: rows.assign(error=False), "its column 'error' holds BOOLEAN, not texts"),
        (lambda rows: rows.iloc[:0], "holds no calls"),
    ],
)
def test_what_is_no_log_is_refused(calls: pd.DataFrame, tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        CallLog(saved(change(calls), tmp_path / "x.parquet"))


def test_a_column_that_one_file_lacks_is_no_cost_of_nothing(calls: pd.DataFrame, tmp_path: Path) -> None:
    saved(calls, tmp_path / "a.parquet")
    saved(calls.drop(columns="list_pico"), tmp_path / "b.parquet")
    with pytest.raises(SpecError, match=r"a\.parquet: is no log of calls: it lacks the column 'list_usd'"):
        CallLog(tmp_path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        CallLog(tmp_path / "x.parquet")
    with pytest.raises(SpecError, match="no file is called so"):
        CallLog(tmp_path / "*.parquet")
    with pytest.raises(SpecError, match="has no Parquet files"):
        CallLog(tmp_path)
    (tmp_path / "x.parquet").write_text("at,model")
    with pytest.raises(SpecError, match="is no Parquet file"):
        CallLog(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SpecError, match="cannot be read: "):
        CallLog(tmp_path)


def test_an_unknown_group_names_the_nearest(log: CallLog) -> None:
    with pytest.raises(SpecError, match=r"cannot be grouped by 'departmen'\. Did you mean 'department'"):
        log.cost_by("departmen")
    with pytest.raises(SpecError, match="cannot be grouped by 'list_pico'"):
        log.cost_by("list_pico")


def test_what_does_not_fit_the_memory_is_told(log: CallLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paretoken.analysis.call_log.MEMORY", "1KB")
    with pytest.raises(SpecError, match="this takes more than 1KB of memory"):
        log.cost_by("model")


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_times_of_every_precision_are_times(
    calls: pd.DataFrame, tmp_path: Path, unit: str, zone: str | None, log: CallLog
) -> None:
    at = pd.to_datetime(calls["at"], utc=True)
    at = at.dt.tz_localize(None) if zone is None else at.dt.tz_convert(zone)
    kind = f"datetime64[{unit}]" if zone is None else f"datetime64[{unit}, {zone}]"
    path = saved(calls.assign(at=at.astype(kind)), tmp_path / "x.parquet")
    assert CallLog(path).cost_by("day").equals(log.cost_by("day"))


def test_links_are_followed_and_every_file_counts_once(calls: pd.DataFrame, tmp_path: Path) -> None:
    logs, store = tmp_path / "logs", tmp_path / "store"
    logs.mkdir()
    store.mkdir()
    saved(calls, logs / "a.parquet")
    saved(calls, store / "b.parquet")
    (logs / "june").symlink_to(store)
    (store / "again").symlink_to(logs)
    (logs / "copy.parquet").symlink_to(logs / "a.parquet")
    (logs / "gone.parquet").symlink_to(tmp_path / "gone.parquet")
    for source in (logs, f"{logs}/**/*.parquet"):
        assert len(CallLog(source)) == 2 * len(calls)


def test_hidden_files_are_no_data_unless_asked_for(calls: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("a", ".a", "_temporary/0/a", ".ipynb_checkpoints/a", "b/_c", "._a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        saved(calls, tmp_path / f"{name}.parquet")
    (tmp_path / "._a.parquet").write_bytes(b"\0\5\x16\7")
    for source in (tmp_path, f"{tmp_path}/**/*.parquet", f"{tmp_path}/*.parquet"):
        assert len(CallLog(source)) == len(calls)
    assert len(CallLog(tmp_path / "_temporary")) == len(calls)
    assert len(CallLog(f"{tmp_path}/_temporary/*/*.parquet")) == len(calls)
