"""Readers: the same rows from every kind of file, and what is damaged named by file, line and byte."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from weitiao.data.config import SourceConfig
from weitiao.data.reading.files import open_source
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

ROWS: list[dict[str, Any]] = [
    {"prompt": 'Say "hi", please', "completion": "line one\nline two"},
    {"prompt": "你好 🙂", "completion": "], {\u2028}"},
    {"prompt": "a;b\tc", "completion": "4"},
]


def read(path: Path) -> tuple[str, list[Row]]:
    (table,) = open_source(SourceConfig(path=str(path)))
    return table.kind, list(table.rows)


def write_csv(path: Path, rows: list[dict[str, Any]], *, bom: bool = False, **dialect: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), **dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_each_kind(folder: Path) -> dict[str, Path]:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    files = {
        "array.json": json.dumps(ROWS, indent=2),
        "one_line.json": json.dumps(ROWS, ensure_ascii=False),
        "bom.json": "\ufeff" + json.dumps(ROWS),
        "nested.json": json.dumps({"rows": ROWS}, indent=1),
        "nested_line.json": json.dumps({"rows": ROWS}) + "\n",
        "lines.json": lines,
        "lines.jsonl": "\ufeff" + lines.replace("\n", "\r\n"),
        "gaps.ndjson": "\n" + lines.replace("\n", "\n\n"),
        "array.jsonl": json.dumps(ROWS, indent=2),
    }
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    write_csv(folder / "crlf.csv", ROWS, lineterminator="\r\n", bom=True)
    write_csv(folder / "semicolon.csv", ROWS, delimiter=";", lineterminator="\n")
    write_csv(folder / "tabs.tsv", ROWS, delimiter="\t")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet")
    return {path.name: path for path in folder.iterdir()}


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    kinds = {}
    for name, path in write_each_kind(tmp_path).items():
        kinds[name], rows = read(path)
        assert [row.data for row in rows] == ROWS, name
        assert [row.number for row in rows] == [1, 2, 3], name
        assert not any(row.problem for row in rows), name
    assert kinds["lines.json"] == kinds["lines.jsonl"] == "JSON Lines"
    assert kinds["array.json"] == kinds["array.jsonl"] == kinds["nested_line.json"] == "JSON"
    assert kinds["crlf.csv"] == kinds["tabs.tsv"] == "CSV"
    assert kinds["rows.parquet"] == "Parquet"


def test_lines_are_those_on_which_the_rows_start(tmp_path: Path) -> None:
    files = write_each_kind(tmp_path)
    for name in ("array.json", "nested.json", "gaps.ndjson", "crlf.csv", "lines.json"):
        text = files[name].read_bytes().decode("utf-8-sig")
        # The third row is the only one that holds `a;b`; within JSON it starts before its first key.
        key_offset = 1 if name in ("array.json", "nested.json") else 0
        expected = 1 + text[: text.index("a;b")].count("\n") - key_offset
        assert read(files[name])[1][2].line == expected, name


def test_a_text_file_has_one_row_per_line_that_is_not_blank(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("first\r\n\n   \nthird\u2028still third\nlast".encode())
    rows = read(tmp_path / "a.txt")[1]
    assert [(row.number, row.line, row.data["text"]) for row in rows] == [
        (1, 1, "first"),
        (2, 4, "third\u2028still third"),
        (3, 5, "last"),
    ]


def test_a_single_conversation_in_a_line_is_a_row_and_no_wrapper_around_rows(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "one.json").write_text(json.dumps(row))
    kind, rows = read(tmp_path / "one.json")
    assert (kind, [r.data for r in rows]) == ("JSON Lines", [row])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[\n{"a": 1},\n{"a": "cut', r"line 3, column 7.*too early"),
        ('[\n{"a": 1},\n', r"line 2, column 10.*|line 3, column 1.*too early"),
        ('[\n{"a": 1}\n{"a": 2}\n]', r"line 3, column 1.*comma"),
        ('[{"a": 1}, {"a" 2}]', r"line 1, column 17.*':'"),
        ('[{"a": 1},]', r"line 1, column 11"),
        ('[{"a": 1}]\n[]', r"line 2, column 1.*more follows"),
        ('{\n "rows": [{"a": 1}],\n "more": 1}', r"line 2, column 20.*more follows"),
        ('{\n"a": 1,\n"b": 2}', r"holds an object, not a list of rows"),
        ("nonsense", r"line 1, column 1"),
    ],
)
def test_json_that_cannot_be_read_on_is_an_error_with_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=rf"bad\.json.*({place})"):
        read(tmp_path / "bad.json")


def test_a_bad_line_of_json_lines_is_one_bad_row_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n{"a": \n{"a": "caf\xe9"}\n[1]\n{"a": 5}')
    rows = read(tmp_path / "a.jsonl")[1]
    assert [row.data for row in rows if not row.problem] == [{"a": 1}, [1], {"a": 5}]
    broken, latin = rows[1], rows[2]
    assert (broken.number, broken.line, broken.data) == (2, 3, '{"a": ')
    assert "Expecting value at column 7" in broken.problem
    assert (latin.number, latin.line, latin.data) == (3, 4, r'{"a": "caf\xe9"}')
    byte = (tmp_path / "a.jsonl").read_bytes().index(b"\xe9")
    assert f"e9 22 7d at byte {byte} of the file" in latin.problem


def test_json_array_that_is_not_utf8_names_byte_and_line(tmp_path: Path) -> None:
    half_pair = b"\xed\xa0\xbd"
    data = b"\xef\xbb\xbf" + b'[\n{"a": "\xe4\xbd\xa0"},\n{"a": "x ' + half_pair + b'"}\n]'
    (tmp_path / "bad.json").write_bytes(data)
    place = rf"bad\.json, line 3: is not UTF-8: the bytes ed a0 bd \(half.*at byte {data.index(half_pair)} of the file"
    with pytest.raises(DataError, match=place) as caught:
        read(tmp_path / "bad.json")
    assert "iconv" in caught.value.remedy


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt"])
def test_utf16_is_named_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\nhello,1\n", encoding="utf-16")
    with pytest.raises(DataError, match="is UTF-16, not UTF-8") as caught:
        read(tmp_path / name)
    assert f"iconv -f UTF-16 -t UTF-8 {name}" in caught.value.remedy


def test_csv_records_that_do_not_fit_are_bad_rows_with_their_text(tmp_path: Path) -> None:
    data = b'text,label\ngood,1\nonly one\n\n"two\nlines",2\n"a"b,3\ncaf' + b'\xe9,4\nlast,5\n"never closed,6\n'
    (tmp_path / "a.csv").write_bytes(data)
    rows = read(tmp_path / "a.csv")[1]
    assert [(r.number, r.line, r.data) for r in rows if not r.problem] == [
        (1, 2, {"text": "good", "label": "1"}),
        (3, 5, {"text": "two\nlines", "label": "2"}),
        (6, 9, {"text": "last", "label": "5"}),
    ]
    problems = {row.number: (row.line, row.data, row.problem) for row in rows if row.problem}
    assert problems[2] == (3, "only one\n", "has 1 fields where the header has 2")
    assert problems[4][:2] == (7, '"a"b,3\n') and "is not valid CSV" in problems[4][2]
    assert problems[5][:2] == (8, "caf\\xe9,4\n") and f"byte e9 at byte {data.index(0xE9)}" in problems[5][2]
    assert problems[7][:2] == (10, '"never closed,6\n')


def test_csv_header_with_a_double_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv, line 1: two columns are named `text`"):
        read(tmp_path / "a.csv")


def test_a_truncated_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = write_each_kind(tmp_path)["rows.parquet"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.parquet.*no intact Parquet file"):
        read(path)


def test_a_directory_gives_its_files_in_order_and_asks_for_the_split_when_there_are_several(tmp_path: Path) -> None:
    for name in ("train-2.jsonl", "train-1.jsonl", "test.jsonl"):
        (tmp_path / name).write_text(json.dumps({"text": name}))
    (tmp_path / "README.md").write_text("no data")
    with pytest.raises(DataError, match=r"files of several splits \(test, train\)"):
        list(open_source(SourceConfig(path=str(tmp_path))))
    tables = open_source(SourceConfig(path=str(tmp_path), split="train"))
    assert [row.data["text"] for table in tables for row in table.rows] == ["train-1.jsonl", "train-2.jsonl"]
    with pytest.raises(DataError, match="no data file whose name begins with `dev`"):
        list(open_source(SourceConfig(path=str(tmp_path), split="dev")))
