"""The verb `costs` on runs, and on what they export."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd

from paretoken.analysis.log_columns import build_log
from paretoken.experiment.api import run
from paretoken.report.costs import cost_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Lab


def test_a_run_its_export_and_the_budget_agree(lab: Lab, cli: Callable) -> None:
    lab.edit('budget: {usd: "1.00"}', 'budget: {usd: "1.00"}\ntags: {department: 内容部, label: spring}')
    results = run(lab.folder).results
    exported = cli("runs", "export", "last", "--to", "logs.parquet", "--json").json
    of_run = cli("costs", "last", "--by", "prompt", "--json").json
    of_file = cli("costs", "logs.parquet", "--by", "prompt", "--json").json
    assert of_run["log"] == results.run.id
    assert of_run["rows"] == of_file["rows"]
    assert exported["rows"] == of_run["total"]["calls"] == 24
    billed = {row["scope"]: row["billed"] for row in cli("budget", "--json").json}
    assert Decimal(of_run["total"]["billed_usd"]) == Decimal(billed[results.run.scope]) > 0
    by_variant = {s.label: s.list_usd_total for s in results.summaries}
    by_prompt = {row["prompt"].partition("@")[0]: Decimal(row["list_usd"]) for row in of_run["rows"]}
    assert by_prompt == by_variant
    tags = cli("costs", "last", "--by", "department", "--by", "tag: label", "--by", "day", "--json").json["rows"]
    days = {record.call.at.astimezone(UTC).date().isoformat() for record in results.records}
    assert {(row["department"], row["tag: label"]) for row in tags} == {("内容部", "spring")}
    assert {row["day"] for row in tags} == days


def test_an_export_keeps_every_pico_dollar_beside_a_gap(lab: Lab) -> None:
    results = run(lab.folder).results
    first, second, *others = results.records
    exact = Decimal("9007.199254740993")  # of which a float keeps one digit less
    dear = replace(first.call, response=replace(first.call.response, list_usd=exact), billed_usd=exact)
    records = [replace(first, call=dear), replace(second, call=replace(second.call, response=None)), *others]
    log = build_log(results.frame(), records, results.run, {})
    assert log["list_pico"].isna().tolist() == [False, True, *[False] * len(others)]
    assert (log.loc[0, "list_pico"], log.loc[0, "billed_pico"]) == (9007199254740993, 9007199254740993)


def test_the_front_of_a_log_is_that_of_the_run(lab: Lab, cli: Callable) -> None:
    results = run(lab.folder).results
    body = cli("costs", "last", "--maximize", "contains", "--json").json
    of_run = {(s.summary.label, s.on_front, s.summary.value("list_usd")) for s in results.standings}
    assert {(v["variant"], v["on_front"], v["list_usd"]) for v in body["front"]} == of_run
    said = cli("costs", "last", "--maximize", "contains")
    assert said.code == 0
    assert "24 calls" in said.out
    assert "terse" in said.out
    assert "front" in said.out


def test_several_runs_are_one_log(lab: Lab, cli: Callable) -> None:
    run(lab.folder)
    cli("runs", "export", "last", "--to", "a.parquet")
    lab.edit("  - max_chars: 90", "  - chrf")
    run(lab.folder)
    cli("runs", "export", "last", "--to", "b.parquet")
    body = cli("costs", "?.parquet", "--by", "run", "--json").json
    assert (body["files"], body["total"]["calls"], len(body["rows"])) == (2, 48, 2)


def test_a_run_whose_calls_all_failed_is_a_log(lab: Lab, cli: Callable, monkeypatch) -> None:
    async def down(*_: object) -> None:
        from paretoken.core.errors import Refused

        raise Refused("no such model")

    monkeypatch.setattr("paretoken.models.echo.Echo.generate", down)
    cli("run", lab.folder)
    body = cli("costs", "last", "--json").json
    assert (body["total"]["error_rate"], body["total"]["list_usd"], body["total"]["unpriced"]) == (1.0, "0", 0)
    assert body["total"]["latency_s_p95"] is None


def test_drivers_of_a_log(lab: Lab, cli: Callable, monkeypatch) -> None:
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 3)
    run(lab.folder)
    cli("runs", "export", "last", "--to", "a.parquet")
    said = cli("costs", "a.parquet", "--drivers")
    assert said.code == 0
    assert "prompt drives" in said.out
    assert "of the differences in list_usd" in said.out


def test_tags_of_the_data_set_are_columns_and_drivers(lab: Lab, cli: Callable, monkeypatch) -> None:
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 3)
    rows = [json.loads(line) for line in (lab.folder / "data.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows):
        row |= {"dept": "内容部" if i % 2 else "ops", "urgent": i < 6, "Model": "ab"[i % 2], "stop": "ab"[i % 2]}
        row |= {"day": "Monday" if i % 3 else "Friday"} if i else {}
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    results = run(lab.folder).results
    assert cli("runs", "export", "last", "--to", "a.parquet").code == 0
    for log in ("last", "a.parquet"):
        found = cli("costs", log, "--by", "dept", "--json").json["rows"]
        assert {row["dept"]: row["calls"] for row in found} == {"内容部": 12, "ops": 12}
        of_ops = sum(
            record.call.response.list_usd for record in results.records
            if results.samples[record.sample]["fields"]["dept"] == "ops"
        )  # fmt: skip
        assert {Decimal(row["list_usd"]) for row in found if row["dept"] == "ops"} == {of_ops}
        days = cli("costs", log, "--by", "tag: day", "--by", "urgent", "--json").json["rows"]
        assert {(row["tag: day"], row["urgent"]): row["calls"] for row in days} == {
            ("Friday", "True"): 2, ("Friday", "False"): 4, ("Monday", "True"): 8, ("Monday", "False"): 8,
            (None, "True"): 2,
        }  # fmt: skip
    exported = pd.read_parquet("a.parquet")
    assert not {"Model", "stop"} & set(exported)  # names that a log gives another meaning
    shares = cli("costs", "a.parquet", "--drivers", "--json").json["shares"]
    of_run = cli("drivers", "last", "--json").json["shares"]
    inputs = {share["driver"] for share in of_run} - {"tag: Model", "tag: stop"}
    assert {share["driver"] for share in shares} == inputs >= {"prompt", "tag: dept", "tag: urgent", "tag: day"}


def test_a_tag_named_like_a_column_of_the_table(lab: Lab, cli: Callable) -> None:
    lab.edit('budget: {usd: "1.00"}', 'budget: {usd: "1.00"}\ntags: {share: a, calls: b, MODEL: c, cached_tokens: d}')
    run(lab.folder)
    names = ("share", "tag: calls", "tag: MODEL", "tag: cached_tokens")
    by = [word for name in names for word in ("--by", name)]
    (row,) = cli("costs", "last", *by, "--json").json["rows"]
    assert [row[name] for name in names] == ["a", "b", "c", "d"]
    said = cli("costs", "last", *by)
    assert said.code == 0
    assert "100.0%" in said.out
    (shown,) = cost_rows(pd.DataFrame([row | {"list_usd": Decimal(1), "billed_usd": Decimal(1)}]), Decimal(1))
    assert (shown["tag: share"], shown["share"]) == ("a", "100.0%")


def test_effects_in_json_are_those_of_the_table(lab: Lab, cli: Callable, monkeypatch) -> None:
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 3)
    run(lab.folder)
    effects = cli("costs", "last", "--drivers", "--json").json["effects"]
    of_run = cli("drivers", "last", "--json").json["effects"]
    assert [effect.keys() for effect in effects] == [effect.keys() for effect in of_run]
    assert {(effect["driver"], effect["level"]) for effect in effects} == {
        (effect["driver"], effect["level"]) for effect in of_run
    }
    said = cli("costs", "last", "--drivers").out
    assert all(effect["level"] in said and f"{effect['effect']:+.3g}" in said for effect in effects)


def test_an_export_is_called_parquet(lab: Lab, cli: Callable) -> None:
    run(lab.folder)
    for name, better in (("arena.csv", "arena.parquet"), ("arena", "arena.parquet"), ("a.v1", "a.parquet")):
        said = cli("runs", "export", "last", "--to", name)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert f"{name}: an export is a Parquet file. Name it {better}." in said.err
        assert not (lab.root / name).exists()


def test_mistakes_are_one_line(lab: Lab, cli: Callable) -> None:
    cases = [
        (("costs", "x.parquet"), "there is no such file"),
        (("costs", "lab/data.jsonl"), "is no Parquet file"),
        (("costs", "lab"), "there is no run yet"),
        (("costs", "last"), "there is no run yet"),
    ]
    for arguments, problem in cases:
        said = cli(*arguments)
        assert (said.code, said.out, said.err.count("error:"), said.err.count("\n")) == (2, "", 1, 1)
        assert problem in said.err
    run(lab.folder)
    pd.DataFrame({"model": ["a"]}).to_parquet("x.parquet")
    assert "lacks the columns 'at'" in cli("costs", "x.parquet").err
    said = cli("costs", "last", "--by", "promt")
    assert (said.code, said.out) == (2, "")
    assert "Did you mean 'prompt'?" in said.err
