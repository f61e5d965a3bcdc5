from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretoken.core.errors import SpecError
from paretoken.core.tables import MAX_DEPTH, read_csv, read_jsonl
from paretoken.core.text import well_formed
from paretoken.datasets import read_rows

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(st.fixed_dictionaries({"id": TEXTS, "input": TEXTS, "copy": TEXTS}), min_size=1, max_size=6)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def _refused(path: Path) -> SpecError:
    with pytest.raises(SpecError) as caught:
        list(read_rows(path))
    assert str(caught.value.file) == str(path)
    return caught.value


@SHARED
@given(ROWS, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[dict[str, str]], delimiter: str, encoding: str):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path / "a.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    assert [row for _, row in read_csv(path)] == rows


@SHARED
@given(ROWS, st.booleans())
def test_what_json_writes_is_read_back(tmp_path: Path, rows: list[dict[str, str]], ascii_only: bool):
    path = tmp_path / "a.jsonl"
    path.write_bytes("".join(json.dumps(row, ensure_ascii=ascii_only) + "\r\n" for row in rows).encode())
    assert [row for _, row in read_jsonl(path)] == rows


@SHARED
@given(ROWS)
def test_what_pandas_writes_is_read_back(tmp_path: Path, rows: list[dict[str, str]]):
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.iloc[::-1].iloc[::-1].to_parquet(tmp_path / "b.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for name in ("a.parquet", "b.parquet", "a.jsonl"):
        assert [row for _, row in read_rows(tmp_path / name)] == rows


@SHARED
@given(st.text(st.characters(), max_size=20))
def test_every_text_that_json_can_carry_is_well_formed(tmp_path: Path, text: str):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": [{"b": text}], "c": text}), encoding="utf-8")
    assert [row for _, row in read_jsonl(path)] == [{"a": [{"b": well_formed(text)}], "c": well_formed(text)}]


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.tsv"])
@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("sku;features\n1;warm, soft\n2;red\n", {"sku": "1", "features": "warm, soft"}),
        ("sku;features, long\n1;warm\n2;red, big, new\n", {"sku": "1", "features, long": "warm"}),
        ("sep=|\nsku|features\n1|warm\n2|red", {"sku": "1", "features": "warm"}),
        ("sku\tfeatures\r1\twarm\r2\tred", {"sku": "1", "features": "warm"}),
        (' sku , "features"\n1, "warm, soft"\n2, red', {"sku": "1", "features": "warm, soft"}),
        ('\ufeff"sku","features"\n1,warm\n2,red', {"sku": "1", "features": "warm"}),
        ("sku,\u200bfeatures\u3000\n1,warm \n2,red", {"sku": "1", "features": "warm "}),
        ("features\nwarm; soft\nred", {"features": "warm; soft"}),
    ],
)
def test_delimiters_and_headers_of_all_sorts_are_read(tmp_path: Path, name: str, text: str, first: dict[str, str]):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert read_csv(path)[0][1] == first
    assert len(read_csv(path)) == 2


def test_a_delimiter_in_doubt_is_asked_about(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("sku,features;copy\n1,red;A red one.\n2,blue;A blue one.\n", encoding="utf-8")
    error = _refused(path)
    assert error.line == 1
    path.write_text(error.fix.partition("e.g. ")[2].removesuffix(".") + "\n" + path.read_text(), encoding="utf-8")
    assert [line for line, _ in read_csv(path)] == [3, 4]


def test_a_cell_may_be_long_and_the_limit_of_the_process_stays(tmp_path: Path):
    limit = csv.field_size_limit()
    path = tmp_path / "a.csv"
    path.write_text("id,input\n1," + "x" * (limit + 1), encoding="utf-8")
    assert len(str(read_csv(path)[0][1]["input"])) == limit + 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"input": "a", "input": "b"}', "'input' stands here twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' stands here twice"),
        ('{"caf\\u00e9": 1, "cafe\\u0301": 2}', "twice"),
        ('{"n": ' + "9" * 5000 + "}", "5000 digits"),
        ('{"n": -' + "9" * 30 + "}", "30 digits"),
        ('{"n": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"n": ' + '{"n": ' * MAX_DEPTH + "1" + "}" * MAX_DEPTH + "}", "nested too deeply"),
    ],
)
def test_json_that_no_table_holds_is_named_with_its_line(tmp_path: Path, line: str, problem: str):
    path = tmp_path / "a.jsonl"
    path.write_text('{"input": "fine"}\n' + line, encoding="utf-8")
    error = _refused(path)
    assert problem in error.problem
    assert error.line == 2


def test_numbers_up_to_64_bits_and_some_depth_are_kept(tmp_path: Path):
    row = {"low": -(2**63), "high": 2**64 - 1, "many": [[i] for i in range(200)]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [(1, row)]


def test_line_separators_inside_texts_part_no_lines(tmp_path: Path):
    rows = [{"input": "a\u2028b\u0085c\x0bd"}, {"input": "e"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows), encoding="utf-8")
    assert [line for line, _ in read_jsonl(tmp_path / "a.jsonl")] == [1, 2]


def test_parquet_of_odd_types_is_read(tmp_path: Path):
    frame = pd.DataFrame({"id": ["a", "b"], "at": pd.to_datetime(["2026-01-02 03:04:05.000000007", None]).astype(
        "datetime64[ns]"), "raw": [b"text", None], "kind": pd.Categorical(["x", None])})  # fmt: skip
    frame.set_index("id").to_parquet(tmp_path / "a.parquet")
    rows = [row for _, row in read_rows(tmp_path / "a.parquet")]
    assert str(rows[0].pop("at")) == "2026-01-02 03:04:05"
    assert rows[0] == {"id": "a", "raw": "text", "kind": "x"}
    assert rows[1] == {"id": "b"} | dict.fromkeys(("at", "raw", "kind"))
    pd.DataFrame({"raw": [b"\xff"]}).to_parquet(tmp_path / "b.parquet")
    assert "'raw'" in _refused(tmp_path / "b.parquet").problem
