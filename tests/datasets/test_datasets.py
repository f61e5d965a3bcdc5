from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from paretoken.core.errors import SpecError
from paretoken.datasets import Dataset, load_dataset

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {"id": "a1", "input": "电热水壶，三分钟烧开", "reference": "快。", "brand": "Tea & Co, Ltd"},
    {"id": "b2", "input": 'A "quoted" kettle\nin two lines', "reference": "Quoted.", "brand": "水"},
    {"id": "c3", "input": "🎉 A lamp", "reference": "Bright.", "brand": "x"},
]


def _write(path: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path, index=False)
    return path


def _lines(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def _refused(path: Path, **options: object) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_dataset(path, **options)
    assert str(caught.value.file) == str(path)
    return caught.value


def test_all_formats_read_alike(tmp_path: Path):
    read = [load_dataset(_write(tmp_path / f"data{suffix}")) for suffix in (".jsonl", ".csv", ".parquet")]
    for dataset in read:
        assert [(s.id, s.input, s.reference, dict(s.fields)) for s in dataset.samples] == [
            (row["id"], row["input"], row["reference"], row) for row in ROWS
        ]
        assert dataset.columns == ("id", "input", "reference", "brand")
    assert len({dataset.hash for dataset in read}) == 1


def test_windows_files_read_alike(tmp_path: Path):
    plain = _lines(tmp_path / "plain.csv", "id,input", "1,水壶", "2,b", "")
    windows = tmp_path / "windows.csv"
    windows.write_bytes("id,input\r\n1,水壶\r\n2,b\r\n".encode("utf-8-sig"))
    jsonl = tmp_path / "windows.jsonl"
    jsonl.write_bytes('{"id": "1", "input": "水壶"}\r\n\r\n{"id": "2", "input": "b"}\r\n'.encode("utf-8-sig"))
    assert len({load_dataset(path).hash for path in (plain, windows, jsonl)}) == 1


def test_columns_play_the_parts_they_are_given(tmp_path: Path):
    rows = [{"sku": 7, "features": "boils", "copy": "It boils.", "reference": "shown", "price": 1.5}]
    fields = {"id": "sku", "input": "features", "reference": "copy"}
    for suffix in (".jsonl", ".parquet"):
        dataset = load_dataset(_write(tmp_path / f"data{suffix}", rows), fields=fields, language="en")
        (sample,) = dataset.samples
        assert (sample.id, sample.input, sample.reference) == ("7", "boils", "It boils.")
        assert dataset.template_variables == {"sku", "features", "input", "reference", "price"}
        assert dataset.template_values(sample) == {
            "sku": 7, "features": "boils", "input": "boils", "reference": "shown", "price": 1.5
        }  # fmt: skip
        assert dataset.language == "en"


def test_templates_never_see_the_reference(tmp_path: Path):
    for path in (_write(tmp_path / "a.jsonl"), _write(tmp_path / "b.csv", [{"name": "x", "reference": "secret"}])):
        dataset = load_dataset(path)
        for sample in dataset.samples:
            values = dataset.template_values(sample)
            assert set(values) == dataset.template_variables
            assert "reference" not in values
            assert sample.reference not in values.values()
            assert sample.reference not in sample.input


class TestWithoutAnInputColumn:
    ROW: ClassVar = {"id": "1", "name": "kettle", "colour": None, "litres": 1.7, "score": 9, "reference": "R"}

    def _load(self, folder: Path, *named: str, **fields: str | None) -> Dataset:
        return load_dataset(_write(folder / "a.jsonl", [self.ROW]), fields=fields, named=named)

    def test_the_input_is_what_templates_name(self, tmp_path: Path):
        dataset = self._load(tmp_path, "litres", "name", "colour", "reference")
        assert dataset.samples[0].input == "name: kettle\nlitres: 1.7"
        assert dataset.shown == ("name", "colour", "litres")
        assert "input" not in dataset.template_variables
        assert "input" not in dataset.template_values(dataset.samples[0])
        assert self._load(tmp_path).samples[0].input == ""

    def test_it_stays_the_same_data_whatever_templates_name(self, tmp_path: Path):
        assert self._load(tmp_path).hash == self._load(tmp_path, "name").hash
        assert self._load(tmp_path).hash != self._load(tmp_path, input="name").hash

    def test_a_template_that_wants_the_input_is_refused(self, tmp_path: Path):
        error = _refused(_write(tmp_path / "a.jsonl", [self.ROW]), named={"input"})
        assert error.field == "dataset.fields.input"
        assert "name, colour" in error.fix
        assert self._load(tmp_path, "input", input="name").samples[0].input == "kettle"


@pytest.mark.parametrize(
    ("columns", "fix"),
    [
        (("question", "answer"), "fields: {input: question, reference: answer}"),
        (("Input", "Reference"), "fields: {input: Input, reference: Reference}"),
        (("user prompts", "gold-answers"), 'fields: {input: "user prompts", reference: gold-answers}'),
        (("sourceText", "expectedOutput"), "fields: {input: sourceText, reference: expectedOutput}"),
        (
            ("\u95ee\u9898", "\u6807\u51c6\u7b54\u6848"),
            "fields: {input: \u95ee\u9898, reference: \u6807\u51c6\u7b54\u6848}",
        ),
    ],
)
def test_columns_of_other_names_are_asked_about(tmp_path: Path, columns: tuple[str, str], fix: str):
    asked, wanted = columns
    path = _write(tmp_path / "a.jsonl", [{asked: "what?", wanted: "secret"}])
    assert _refused(path, named={"input"}).fix == f"Write {fix}."
    assert _refused(path).fix == f"Write {fix}, or fields: {{reference: null}} if it is none."
    told = load_dataset(path, fields={"input": asked, "reference": wanted}, named={"input"})
    assert "secret" not in told.template_values(told.samples[0]).values()
    untold = load_dataset(path, fields={"reference": None}, named={wanted})
    assert untold.reference_column is None
    assert untold.samples[0].input == f"{wanted}: secret"


@pytest.mark.parametrize(
    "column", ["answer_type", "target_audience", "output_tokens", "brand", "labelled", "text", "id"]
)
def test_other_columns_are_no_reference(tmp_path: Path, column: str):
    path = _write(tmp_path / "a.jsonl", [{"input": "x", column: "y"}])
    assert load_dataset(path).reference_column is None


def test_without_an_id_column_samples_are_numbered(tmp_path: Path):
    path = _lines(tmp_path / "a.jsonl", '{"input": "x"}', "", '{"input": "y"}')
    assert [(s.id, s.line) for s in load_dataset(path).samples] == [("1", 1), ("2", 3)]


def test_blank_references_are_missing(tmp_path: Path):
    path = _lines(tmp_path / "a.csv", "id,input,reference", "1,x,", "2,y,z")
    assert [s.reference for s in load_dataset(path).samples] == [None, "z"]


def test_missing_cells_of_parquet_are_none(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "input": ["x", "y"],
            "number": [1, None],
            "share": [0.5, float("nan")],
            "name": ["n", None],
            "flag": [True, None],
            "at": [datetime(2026, 1, 1), None],  # noqa: DTZ001 - a table without time zones
            "tags": [["a", "b"], None],
        }
    )
    parquet.write_table(table, path)
    full, empty = (dict(s.fields) for s in load_dataset(path).samples)
    assert (full["number"], full["share"], full["name"], full["flag"]) == (1, 0.5, "n", True)
    assert str(full["at"]) == "2026-01-01 00:00:00"
    assert full["tags"] == ["a", "b"]
    assert [type(full[name]) for name in ("number", "share", "flag", "tags")] == [int, float, bool, list]
    assert empty == {"input": "y"} | dict.fromkeys(("number", "share", "name", "flag", "at", "tags"))


def test_nan_in_json_is_none(tmp_path: Path):
    (sample,) = load_dataset(_lines(tmp_path / "a.jsonl", '{"input": "x", "share": NaN}')).samples
    assert sample.fields["share"] is None


class TestTake:
    def _load(self, folder: Path, **options: object) -> Dataset:
        path = folder / "many.jsonl"
        _write(path, [{"id": str(i), "input": f"text {i}"} for i in range(50)])
        return load_dataset(path, **options)

    def test_is_seeded_and_keeps_file_order(self, tmp_path: Path):
        taken = self._load(tmp_path, take=10, seed=7)
        numbers = [int(s.id) for s in taken.samples]
        assert len(numbers) == 10
        assert numbers == sorted(set(numbers))
        assert self._load(tmp_path, take=10, seed=7) == taken
        others = [self._load(tmp_path, take=10, seed=seed) for seed in range(20)]
        assert len({dataset.hash for dataset in others}) == 20

    def test_is_the_same_everywhere(self, tmp_path: Path):
        assert [s.id for s in self._load(tmp_path, take=5, seed=0).samples] == ["9", "10", "14", "27", "33"]

    def test_more_than_there_is_takes_all(self, tmp_path: Path):
        assert self._load(tmp_path, take=51, seed=7) == self._load(tmp_path)

    def test_none_is_too_few(self, tmp_path: Path):
        with pytest.raises(SpecError, match="0 samples are too few"):
            self._load(tmp_path, take=0)

    def test_every_sample_can_be_taken(self, tmp_path: Path):
        seen = {s.id for seed in range(40) for s in self._load(tmp_path, take=10, seed=seed).samples}
        assert len(seen) == 50


def test_the_hash_knows_content_and_parts(tmp_path: Path):
    base = load_dataset(_write(tmp_path / "a.jsonl"))
    changes = [
        [{**ROWS[0], "brand": "other"}, *ROWS[1:]],
        [{**ROWS[0], "reference": "other"}, *ROWS[1:]],
        ROWS[::-1],
        ROWS[:2],
    ]
    hashes = {load_dataset(_write(tmp_path / f"{i}.jsonl", rows)).hash for i, rows in enumerate(changes)}
    hashes |= {load_dataset(tmp_path / "a.jsonl", fields=fields).hash
               for fields in ({"id": "brand"}, {"input": "brand"}, {"reference": "brand"})}  # fmt: skip
    assert len(hashes) == 7
    assert base.hash not in hashes
    assert load_dataset(_write(tmp_path / "elsewhere.jsonl")).hash == base.hash


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        (['{"input": "x"}', '{"input": "y"'], 2, "broken JSON"),
        (['{"input": "x"}', "", "input: y"], 3, "broken JSON"),
        (['{"input": "x"} {"input": "y"}'], 1, "broken JSON: Extra data at column 16"),
        (['{"input": "x"}', '["y"]'], 2, "not a JSON object"),
        (['{"input": "x"}', "null"], 2, "not a JSON object"),
        (
            ['{"id": 1, "input": "x"}', "", '{"id": "1", "input": "y"}'],
            3,
            "duplicate sample id '1', first used in line 1",
        ),
        (['{"id": 1, "input": "x"}', '{"input": "y"}'], 2, "no 'id'"),
        (['{"id": null, "input": "y"}'], 1, "no 'id'"),
        (['{"input": "x"}', '{"inptu": "y"}'], 2, "no 'input'"),
        (['{"input": null}'], 1, "no 'input'"),
    ],
)
def test_a_broken_line_of_jsonl_is_named(tmp_path: Path, lines: list[str], line: int, problem: str):
    path = _lines(tmp_path / "a.jsonl", *lines)
    error = _refused(path)
    assert problem in error.problem
    assert error.line == line
    assert str(error).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        (["id,input", "1,x", "2,y,z"], 3, "another number of fields"),
        (["id,input", "1"], 2, "another number of fields"),
        (["id,input", '1,"two', 'lines"', "1,y"], 4, "duplicate sample id"),
        (["id,input", '1,"never closed', "2,y"], 2, "broken CSV"),
        (["id,input", '1,"x"y'], 2, "broken CSV"),
        (["id,input,input", "1,x,y"], 1, "two columns have one name"),
    ],
)
def test_a_broken_line_of_csv_is_named(tmp_path: Path, lines: list[str], line: int, problem: str):
    error = _refused(_lines(tmp_path / "a.csv", *lines))
    assert problem in error.problem
    assert error.line == line


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, suffix: str):
    lines = ["id,input", "1,水壶"] if suffix == ".csv" else ['{"input": "x"}', '{"input": "水壶"}']
    error = _refused(_lines(tmp_path / f"a{suffix}", *lines, encoding="gb18030"))
    assert "UTF-8" in error.problem
    assert error.line == 2


def test_a_file_that_is_no_dataset_is_named(tmp_path: Path):
    assert "does not exist" in _refused(tmp_path / "missing.jsonl").problem
    assert "does not exist" in _refused(tmp_path).problem
    assert "'.xlsx'" in _refused(_lines(tmp_path / "a.xlsx", "x")).problem
    assert "no Parquet file" in _refused(_lines(tmp_path / "a.parquet", "id,input" * 100)).problem
    assert "no Parquet file" in _refused(_lines(tmp_path / "empty.parquet", "")).problem


def test_an_empty_dataset_is_refused(tmp_path: Path):
    for path in (
        _lines(tmp_path / "a.jsonl", "", "  "),
        _lines(tmp_path / "a.csv", "id,input"),
        _lines(tmp_path / "b.csv", ""),
        _write(tmp_path / "a.parquet", [{"id": "x"}]),
    ):
        if path.suffix == ".parquet":
            pd.DataFrame({"id": []}).to_parquet(path)
        assert "empty" in _refused(path).problem


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path):
    error = _refused(_write(tmp_path / "a.jsonl"), fields={"reference": "referense"})
    assert error.field == "dataset.fields.reference"
    assert error.fix == "Did you mean 'reference'?"


def test_a_list_of_references_is_kept(tmp_path):
    rows = [{"id": "a", "reference": ["one", "", "two"]}, {"id": "b", "reference": "one"}, {"id": "c", "reference": []}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second, third = load_dataset(tmp_path / "data.jsonl").samples
    assert (first.reference, first.further_references) == ("one", ("two",))
    assert (second.reference, second.further_references) == ("one", ())
    assert (third.reference, third.further_references) == (None, ())


def test_one_column_is_not_both_input_and_reference(tmp_path: Path):
    error = _refused(_write(tmp_path / "a.jsonl", [{"text": "x"}]), fields={"input": "text", "reference": "text"})
    assert "the input and the reference" in error.problem


def test_names_are_compared_in_one_form(tmp_path: Path):
    composed, parted = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    for column, said in ((composed, parted), (parted, composed)):
        path = _write(tmp_path / "a.jsonl", [{"id": "x", column: "5 l"}])
        dataset = load_dataset(path, fields={"input": said}, named={said})
        assert dataset.columns == ("id", composed)
        assert dataset.samples[0].input == "5 l"
    rows = [{"id": id_, "input": "x"} for id_ in ("caf\u00e9", "cafe\u0301")]
    assert "duplicate sample id" in _refused(_write(tmp_path / "b.jsonl", rows)).problem
