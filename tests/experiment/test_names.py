"""Names of a spec: what would hide a record's own column or another name is refused, and all else keeps its own key."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.analysis.log_columns import CHOICES, COLUMNS
from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.names import MOST_CHARS, OF_RECORDS, key_of
from paretoken.experiment.api import plan, run
from paretoken.experiment.archive import export_run, open_log
from paretoken.experiment.resolve import load_design

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Lab

SCORERS = "scorers:\n  - contains: free\n"


def recorded(lab: Lab, *columns: str) -> None:
    """The lab with scores recorded in columns of these names."""
    rows = [json.loads(line) for line in (lab.folder / "data.jsonl").read_text().splitlines()]
    lab.write("data.jsonl", "".join(json.dumps(row | dict.fromkeys(columns, 0.5)) + "\n" for row in rows))
    entries = "".join(f"  - {{column: {json.dumps(name)}, range: [0, 1]}}\n" for name in columns)
    lab.edit(SCORERS, SCORERS + entries)


@pytest.mark.parametrize("name", ["answer", "n", "error_rate", "latency_s.p95", "label", "from_cache", "latency_s.own"])
def test_a_metric_may_not_be_a_column_of_every_record(lab: Lab, name: str) -> None:
    recorded(lab, name)
    with pytest.raises(SpecError, match=re.escape(repr(name))) as caught:
        plan(lab.folder)
    assert caught.value.line == lab.line("range")


@pytest.mark.parametrize(
    "names",
    [
        ("good", "good_low"),
        ("top@3", "top_at_3"),
        ("Fit", "fit"),
        ("own", "own.failed"),
        ("max_tokens",),
        ("usd_per_1k_calls",),
    ],
)
def test_names_that_would_become_one_are_refused(lab: Lab, names: tuple[str, ...]) -> None:
    recorded(lab, *names)
    with pytest.raises(SpecError, match=r"told apart|as well as a parameter"):
        load_design(lab.folder, SystemClock())


@pytest.mark.parametrize("space", ["sample: 1", "answer: x", "n_samples: 3", '"stop@": 1, "stop_at_": 2'])
def test_parameters_are_checked_too(lab: Lab, space: str) -> None:
    lab.edit("space:\n  temperature: 0.0\n  max_tokens: 24\n", f"space: {{temperature: 0.0, {space}}}\n")
    with pytest.raises(SpecError):
        load_design(lab.folder, SystemClock())


@pytest.mark.parametrize("tags", ["{mlflow.user: x}", "{'a=b': x, a_eq_b: y}", "{'': x}"])
def test_tags_are_checked_too(lab: Lab, tags: str) -> None:
    lab.write("spec.yaml", (lab.folder / "spec.yaml").read_text() + f"tags: {tags}\n")
    with pytest.raises(SpecError, match="tag"):
        load_design(lab.folder, SystemClock())


def test_other_names_have_every_column_they_need(lab: Lab) -> None:
    names = ("judge.score", "hits@1", "hits:1", "p<0.05", "精度 %")
    recorded(lab, *names)
    lab.edit("maximize: [contains]", 'maximize: ["judge.score", "hits@1"]')
    results = run(lab.folder).results
    assert {*names} <= {*results.frame().columns}
    for summary in results.summaries:
        assert [summary.value(name) for name in names] == [0.5] * len(names)


def test_records_have_no_other_columns(lab: Lab) -> None:
    results = run(lab.folder).results
    assert {*results.frame().columns} - {*results.metrics, "temperature", "max_tokens"} <= OF_RECORDS
    assert {*COLUMNS} - {*CHOICES} <= OF_RECORDS


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_keys_are_what_mlflow_allows(one: str, other: str) -> None:
    for name in (one, other):
        assert re.fullmatch(r"[\w.\- :]+", key_of(name))
        assert len(key_of(name)) <= MOST_CHARS
        assert key_of(name) == key_of(name)
    plain = re.sub(r"\W", "x", one)[:MOST_CHARS]
    assert key_of(plain) == plain


@pytest.mark.parametrize("choices", ['[true, "auto"]', '[0.5, "half"]', "[true, 3]", '[7, "seven", false, null]'])
def test_a_parameter_of_several_kinds_is_a_column_of_texts(lab: Lab, tmp_path: Path, choices: str) -> None:
    lab.edit("  max_tokens: 24\n", f"  max_tokens: 24\n  mode: {{choices: {choices}}}\n")
    lab.edit("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n", "plan: grid\n")
    results = run(lab.folder).results
    assert export_run(results.run.id, tmp_path / "x.parquet") == len(results.records)
    wanted = {None if v is None else v if isinstance(v, str) else json.dumps(v) for v in json.loads(choices)}
    found = pd.read_parquet(tmp_path / "x.parquet")["mode"]
    assert {None if pd.isna(v) else v for v in found} == wanted
    with open_log(results.run.id) as log:
        assert len(log.cost_by("mode")) == len(wanted)
