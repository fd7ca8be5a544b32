"""Writers: what goes into a file comes out of it, or nothing is written."""

from __future__ import annotations

import csv
import datetime
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from weitiao.data.config import SourceConfig
from weitiao.data.reading.files import open_source
from weitiao.data.reading.rows import BadRow
from weitiao.data.writing.writing import row_writer
from weitiao.errors import DataError

NASTY = [
    'a "quoted" word',
    "line\nbreak",
    "cr\rlf\r\n",
    "a,b;c\td",
    " spaces ",
    "你好，世界 🙂",
    "\u2028",
    "",
    "null",
    "1",
]


def read(path: Path) -> list[Any]:
    return [row.data for table in open_source(SourceConfig(path=str(path))) for row in table.rows]


def write(path: Path, rows: list[dict[str, Any]], **settings: Any) -> Path:
    with row_writer(path, **settings) as write_row:
        for row in rows:
            write_row(row)
    return path


def texts(count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [{"id": f"row {i}", "one": draw.choice(NASTY), "two": "".join(draw.sample(NASTY, 3))} for i in range(count)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.csv", "a.tsv", "a.parquet"])
def test_text_comes_back_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = texts(3000)
    assert read(write(tmp_path / "new" / name, rows)) == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_typed_and_nested_values_come_back(tmp_path: Path, name: str) -> None:
    rows = [
        {"n": 1, "x": 0.5, "flag": True, "turns": [{"role": "user", "content": "a"}], "none": None},
        {"n": 2, "x": 3.0, "flag": False, "turns": [], "none": "late"},
    ] * 1000
    assert read(write(tmp_path / name, rows)) == rows


def test_python_reads_the_csv_and_pandas_the_parquet_file(tmp_path: Path) -> None:
    import pandas

    rows = texts(50)
    with write(tmp_path / "a.csv", rows).open(newline="", encoding="utf-8") as stream:
        assert list(csv.DictReader(stream)) == rows
    assert pandas.read_parquet(write(tmp_path / "a.parquet", rows)).to_dict("records") == rows


def test_rows_with_different_columns_get_all_of_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": "1"}, {"b": [1, {"c": None}], "a": None}, {"a": "3", "d": True}]
    assert read(write(tmp_path / "a.jsonl", rows)) == rows
    assert read(write(tmp_path / "a.csv", rows)) == [
        {"a": "1", "b": "", "d": ""},
        {"a": "", "b": '[1, {"c": null}]', "d": ""},
        {"a": "3", "b": "", "d": "true"},
    ]
    flat = [{"a": "1"}, {"b": 2, "a": None}]
    assert read(write(tmp_path / "a.parquet", flat)) == [{"a": "1", "b": None}, {"a": None, "b": 2}]


def test_dates_and_decimal_numbers_are_text_and_bytes_are_refused(tmp_path: Path) -> None:
    row = {"day": datetime.date(2026, 1, 2), "at": datetime.datetime(2026, 1, 2, 3, 4), "sum": Decimal("1.50")}
    said = {"day": "2026-01-02", "at": "2026-01-02T03:04:00", "sum": "1.50"}
    for name in ("a.jsonl", "a.json", "a.csv", "a.parquet"):
        assert read(write(tmp_path / name, [row])) == [said], name
        with pytest.raises(BadRow, match="bytes"):
            write(tmp_path / f"bad-{name}", [{"a": b"x"}])


def test_a_known_schema_keeps_its_types(tmp_path: Path) -> None:
    schema = pyarrow.schema({"at": pyarrow.timestamp("ms"), "n": pyarrow.int16(), "data": pyarrow.binary()})
    rows = [{"at": datetime.datetime(2026, 1, 2), "n": 3, "data": b"\x00"}, {"at": None, "n": None, "data": None}] * 700
    path = write(tmp_path / "a.parquet", rows, schema=schema)
    assert pyarrow.parquet.read_schema(path).equals(schema)
    assert read(path) == rows


def test_half_a_surrogate_pair_is_an_escape_in_json_and_refused_elsewhere(tmp_path: Path) -> None:
    rows = [{"a": "half \ud83d"}]
    assert read(write(tmp_path / "a.jsonl", rows)) == read(write(tmp_path / "a.json", rows)) == rows
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(BadRow, match=r"half of a surrogate pair, \\+ud83d"):
            write(tmp_path / name, rows)


def test_a_field_is_as_long_as_it_is(tmp_path: Path) -> None:
    rows = [{"a": "x" * 300_000}]
    assert read(write(tmp_path / "a.csv", rows)) == rows


def test_nan_is_refused_where_json_is_written_and_kept_where_the_file_has_it(tmp_path: Path) -> None:
    rows = [{"a": float("nan"), "b": "x"}]
    for name in ("a.jsonl", "a.json", "a.csv"):
        with pytest.raises(BadRow, match="holds NaN or Infinity"):
            write(tmp_path / name, rows)
    (row,) = read(write(tmp_path / "a.parquet", rows))
    assert row["a"] != row["a"]


def test_a_parquet_column_of_two_types_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRow, match="is a number, and text in a row before") as caught:
        write(tmp_path / "a.parquet", [{"a": None}, {"a": "x"}, {"a": 1}])
    assert caught.value.field == "a"
    with pytest.raises(DataError, match="the values of the column `a` have no common type"):
        write(tmp_path / "b.parquet", [{"a": [{"b": 1}]}, {"a": [{"b": "x"}]}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_a_file_is_replaced_whole_or_stays(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"a": "old"}])

    class StopError(Exception):
        pass

    with pytest.raises(StopError), row_writer(path) as write_row:
        for number in range(5000):
            write_row({"a": f"new {number}"})
        raise StopError
    assert read(path) == [{"a": "old"}]
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert read(write(path, [{"a": "new"}])) == [{"a": "new"}]


def test_no_rows_are_a_file_without_rows(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.json", "a.parquet"):
        assert read(write(tmp_path / name, [])) == [], name
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"b\.jsonl: cannot be written"):
        write(tmp_path / "file" / "b.jsonl", [])
    with pytest.raises(DataError, match=r"a\.xlsx: the ending does not say what to write") as caught:
        write(tmp_path / "a.xlsx", [])
    assert ".parquet" in caught.value.remedy
    assert read(write(tmp_path / "a.json", [{"a": "1"}], format="jsonl")) == [{"a": "1"}]
