from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paretoken.core.calls import Message, Origin, Request, Response
from paretoken.core.clock import SystemClock
from paretoken.core.errors import Refused, SpecError
from paretoken.core.protocols import Provider, ProviderConfig
from paretoken.models.replay import make, replay_columns, replay_values
from paretoken.testing.models import ProviderSuite

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {"model": "small", "id": 1, "answer": "a red bike", "in": 12, "out": 3, "seconds": 0.5},
    {"model": "small", "id": 2, "answer": "a blue bike", "in": 13, "out": 4, "seconds": None},
    {"model": "large", "id": 1, "answer": "a fine red bike", "in": 12, "out": 5, "seconds": 1.5},
    {"model": "large", "id": 1, "answer": "a finer red bike", "in": 12, "out": 6, "seconds": 1.6},
    {"model": "large", "id": 2, "answer": None, "in": 12, "out": 0, "seconds": 1.0},
]


def write(folder: Path, kind: str) -> Path:
    file = folder / f"recorded.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    else:
        file.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    return file


def model(folder: Path, kind: str, value: str, **options: object) -> Provider:
    entry = {"file": f"recorded.{kind}", "by": "model", "value": value, "key": "id", "output": "answer"}
    config = ProviderConfig(id=f"replay/{value}", name=value, root=folder, options={**entry, **options})
    return make(config, SystemClock())


def ask(provider: Provider, sample: str, repeat: int = 0) -> Response:
    request = Request(model="m", messages=(Message("user", "eight ch"),), max_tokens=9, repeat=repeat)
    return asyncio.run(provider.generate(replace(request, origin=Origin(sample=sample))))


@pytest.fixture(params=["parquet", "jsonl"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write(tmp_path, request.param)
    return str(request.param)


class TestReplayKeepsThePromises(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _recording(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        rows = [{"model": "m", "id": str(n), "answer": f"answer {n}"} for n in range(8)]
        (tmp_path / "recorded.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    def make_provider(self) -> Provider:
        return model(self.folder, "jsonl", "m")


def test_the_fleet_is_what_the_column_says(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"recorded.{kind}"
    assert replay_values(file, "model") == ["large", "small"]
    assert replay_values(file, "id") == ["1", "2"]
    assert replay_columns(file) == ["model", "id", "answer", "in", "out", "seconds"]


def test_answers_usage_and_latency_are_the_recorded_ones(tmp_path: Path, kind: str) -> None:
    small = model(tmp_path, kind, "small", usage=["in", "out"], latency="seconds")
    first, second = ask(small, "1"), ask(small, "2")
    assert (first.text, first.latency_s, second.latency_s) == ("a red bike", 0.5, None)
    assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.estimated) == (12, 3, False)
    assert small.recorded


def test_without_recorded_usage_and_latency_one_is_estimated_and_the_other_missing(tmp_path: Path, kind: str) -> None:
    answer = ask(model(tmp_path, kind, "small", usage="estimate", latency="none"), "1")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (2, 3, True)
    assert answer.latency_s is None


def test_a_repeat_takes_the_row_of_its_number_or_the_first(tmp_path: Path, kind: str) -> None:
    large = model(tmp_path, kind, "large")
    assert [ask(large, "1", repeat).text for repeat in (0, 1, 2)] == [
        "a fine red bike",
        "a finer red bike",
        "a fine red bike",
    ]


@pytest.mark.parametrize("sample", ["2", "3", ""])
def test_what_was_not_recorded_is_refused(tmp_path: Path, kind: str, sample: str) -> None:
    with pytest.raises(Refused, match="no recorded answer of 'large'"):
        ask(model(tmp_path, kind, "large"), sample)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output": "anser"}, "Did you mean 'answer'"),
        ({"usage": ["in"]}, "names no two columns"),
        ({"usage": "guess"}, "names no two columns"),
        ({"usage": ["in", "put"]}, "no column 'put'"),
        ({"latency": "secs"}, "no column 'secs'"),
        ({"file": "else.jsonl"}, "no such file"),
        ({"lag": "x"}, "unknown option 'lag'"),
    ],
)
def test_wrong_entries_are_named_before_anything_runs(tmp_path: Path, options: dict[str, object], said: str) -> None:
    write(tmp_path, "jsonl")
    with pytest.raises(SpecError, match=said):
        model(tmp_path, "jsonl", "small", **options)


def test_broken_files_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl"
    file.write_text('{"model": "a"}\n{"model": \n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"recorded\.jsonl:2: broken JSON"):
        replay_values(file, "model")
    broken = tmp_path / "recorded.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(SpecError, match="no Parquet file"):
        replay_columns(broken)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path, "jsonl")
    assert replay_values(file, "model") == ["large", "small"]
    file.write_text('{"model": "other"}', encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert replay_values(file, "model") == ["other"]


def test_whole_numbers_read_as_floats_still_match_their_samples(tmp_path: Path) -> None:
    table = pa.table({"model": ["m", "m"], "id": pa.array([7.0, None]), "answer": ["yes", "no"]})
    pq.write_table(table, tmp_path / "recorded.parquet")
    assert ask(model(tmp_path, "parquet", "m"), "7").text == "yes"


def test_a_recording_is_read_as_datasets_are(tmp_path: Path) -> None:
    lines = "model;id;answer;in;out\nm;1.0;Grüße;5;2\nm;2.0;;5;2\n"
    (tmp_path / "recorded.csv").write_bytes(lines.encode("utf-16"))
    recorded = model(tmp_path, "csv", "m", usage=["in", "out"])
    answer = ask(recorded, "1")
    assert (answer.text, answer.usage.input_tokens, answer.usage.output_tokens) == ("Grüße", 5, 2)
    with pytest.raises(Refused):
        ask(recorded, "2")
    (tmp_path / "recorded.jsonl").write_text('{"model": "m", "id": "x", "answer": "yes"}', encoding="utf-8-sig")
    assert ask(model(tmp_path, "jsonl", "m"), "x").text == "yes"


@pytest.mark.parametrize(("written", "asked"), [(3.0, "3.0"), ("3.0", "3"), (3, "3.00"), ("e\u0301", "\u00e9")])
def test_ids_that_are_equal_find_each_other(tmp_path: Path, written: object, asked: str) -> None:
    row = {"model": "m", "id": written, "answer": "yes"}
    (tmp_path / "recorded.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert ask(model(tmp_path, "jsonl", "m"), asked).text == "yes"


def test_ids_that_are_texts_of_their_own_are_kept_apart(tmp_path: Path) -> None:
    rows = [{"model": "m", "id": id_, "answer": f"section {id_}"} for id_ in ("1.0", "1")]
    (tmp_path / "recorded.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert [ask(model(tmp_path, "jsonl", "m"), id_).text for id_ in ("1", "1.0")] == ["section 1", "section 1.0"]
