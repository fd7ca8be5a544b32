"""JSON that Python's decoder takes although it is none, or refuses with an exception of another kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weitiao.data.config import SourceConfig
from weitiao.data.formats.conversations import parsed_json
from weitiao.data.reading.files import open_source
from weitiao.data.reading.json_files import read_json
from weitiao.data.reading.rows import BadRow, Row
from weitiao.errors import DataError

GOOD = '{"prompt": "a", "completion": "b"}'
STRANGE = {
    "digits": ('{"id": ' + "9" * 5000 + "}", "more than 4,300 digits"),
    "nan": ('{"id": NaN}', "holds NaN"),
    "infinity": ('{"id": [-Infinity]}', "holds -Infinity"),
    "overflow": ('{"id": 1e999}', "holds the number 1e999"),
    "twice": ('{"id": {"a": 1, "a": 2}}', "has the key `a` twice"),
    "deep": ('{"id": ' + "[" * 300 + "]" * 300 + "}", "more than 200 lists"),
}


def rows_of(path: Path) -> list[Row]:
    (table,) = open_source(SourceConfig(path=str(path)))
    return list(table.rows)


@pytest.mark.parametrize("name", STRANGE)
def test_a_value_that_json_does_not_have_makes_a_bad_row_and_the_next_one_is_read(tmp_path: Path, name: str) -> None:
    strange, reason = STRANGE[name]
    texts = [GOOD, strange, GOOD]
    (tmp_path / "a.jsonl").write_text("\n".join(texts))
    (tmp_path / "a.json").write_text("[" + ",\n".join(texts) + "]")
    (tmp_path / "first.json").write_text("\n".join([strange, GOOD, GOOD]))
    for file, bad in (("a.jsonl", 2), ("a.json", 2), ("first.json", 1)):
        rows = rows_of(tmp_path / file)
        assert [row.data for row in rows if not row.problem] == [json.loads(GOOD)] * 2, file
        (problem,) = (row for row in rows if row.problem)
        assert (problem.number, problem.line, problem.data) == (bad, bad, strange), file
        assert reason in problem.problem, file
    _, in_pieces = read_json(tmp_path / "a.json", chunk_bytes=8)
    assert [reason in row.problem for row in in_pieces] == [False, True, False]
    with pytest.raises(BadRow, match=reason):
        parsed_json(strange, "tools")


def test_brackets_deeper_than_the_decoder_goes_are_named(tmp_path: Path) -> None:
    deep = '{"id": ' + "[" * 100_000
    (tmp_path / "a.jsonl").write_text("\n".join([deep, GOOD]))
    first, second = rows_of(tmp_path / "a.jsonl")
    assert "nested too deeply" in first.problem
    assert second.data == json.loads(GOOD)
    (tmp_path / "a.json").write_text("[" + deep)
    with pytest.raises(DataError, match=r"a\.json, line 1.*nested too deeply"):
        rows_of(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(deep)
    with pytest.raises(DataError, match=r"b\.json, line 1.*nested too deeply"):
        rows_of(tmp_path / "b.json")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.tsv", "a.txt"])
def test_wide_encodings_are_named_with_or_without_their_mark(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_text(GOOD + "\n", encoding=encoding)
    with pytest.raises(DataError, match=f"is {encoding.upper().replace('16-', '16')}, not UTF-8"):
        rows_of(tmp_path / name)
