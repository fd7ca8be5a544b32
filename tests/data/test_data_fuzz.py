"""Data files as no one would write them: right rows or an error, never a traceback, never a row that is not there."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.records import Input
from weitiao.data.load import load_data
from weitiao.data.reading.files import open_source
from weitiao.data.reading.json_files import read_json
from weitiao.data.writing.convert import convert_file
from weitiao.errors import DataError
from weitiao.quality.check import check
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
# A file with one object with one list is an object around its rows; `id` makes it a row.
ROWS = st.lists(
    st.dictionaries(st.text(max_size=5), VALUES, max_size=4).map(lambda row: {"id": 0, **row}), min_size=1, max_size=3
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(rows=ROWS, escaped=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_json_lines_are_read_as_they_were_written(folder: Path, rows: list, escaped: bool, end: str) -> None:
    path = folder / "rows.jsonl"
    text = end.join(json.dumps(row, ensure_ascii=escaped) for row in rows)
    path.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    assert [row.data for row in read_json(path)[1]] == rows


# Every text of these rows has a mark of its own, by which it is found again wherever it comes out.
TABLE = [{"prompt": f"«p{i}» \"x\", 'y'\n\ttwo; é 😀", "completion": f"«c{i}» z", "n": i} for i in range(4)]
TURNS = [
    {"conversations": [{"from": "human", "value": f"«p{i}»"}, {"from": "gpt", "value": f"«c{i}»"}], "tools": []}
    for i in range(3)
]


def _csv(delimiter: str) -> bytes:
    import csv
    import io

    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows([list(TABLE[0]), *(list(row.values()) for row in TABLE)])
    return stream.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


WHOLE: dict[str, bytes] = {
    "a.jsonl": _lines(TABLE),
    "b.jsonl": _lines(TURNS),
    "a.json": json.dumps(TABLE, indent=1).encode(),
    "b.json": json.dumps({"data": TURNS}).encode(),
    "a.csv": _csv(","),
    "b.csv": _csv(";"),
    "a.tsv": _csv("\t"),
    "a.txt": "\n".join(f"«p{i}» line" for i in range(5)).encode(),
    "a.parquet": _parquet(TABLE),
    "b.parquet": _parquet(TURNS),
    "a.jsonl.gz": gzip.compress(_lines(TABLE)),
    "a.csv.xz": lzma.compress(_csv(",")),
    "a.json.bz2": bz2.compress(json.dumps(TABLE).encode()),
    "a.jsonl.zst": pyarrow.compress(_lines(TABLE), codec="zstd", asbytes=True),
}
STRANGE = [
    b"", b"\0", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b";", b":", b"\t", b"\n", b"\r", b"\r\n", b"\xff",
    b"\xed\xa0\xbd", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xa8", b"\xc2\x85", b"NaN", b"-Infinity", b"1e999",
    b"9" * 5000, b"[" * 1500, b'{"a":' * 1500, b"null", b"true", b'"\\ud83d"', b'""', b"{}", b'[[["a"]]]',
    b'{"role": 1}',
]  # fmt: skip

# Where a change goes, what it puts there, and how much it takes away: bytes, or the value that begins there.
edits = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(STRANGE) | st.binary(max_size=4), st.integers(0, 30) | st.none()),
    min_size=1,
    max_size=3,
)
_BORDERS = re.compile(rb'(?<=[:,;\[{"\n\t])')
_VALUE = re.compile(rb'\s*("[^"]*"|[^,;:\t\n\]}]*)')
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030", "cp1252"]


def _edited(data: bytes, changes: list[tuple[float, bytes, int | None]]) -> bytes:
    for place, new, cut in changes:
        borders = [match.start() for match in _BORDERS.finditer(data)] or [0]
        at = int(place * len(data)) if cut is not None else borders[int(place * (len(borders) - 1))]
        value = _VALUE.match(data, at)
        end = at + cut if cut is not None else (value.end() if value else at)
        data = data[:at] + new + data[end:]
    return data


def _encoded(data: bytes, encoding: str) -> bytes:
    try:
        return data.decode("utf-8").encode(encoding, errors="replace")
    except UnicodeDecodeError:
        return data


def _try_everything(path: Path) -> None:
    """Everything that reads a file gives its rows, or one error; a usable row is in the file."""
    raw = _unpacked(path)
    for skip in ("skip", "error"):
        for source in ({}, {"prompt": "{{ prompt }}", "completion": "{{ n }}"}):
            try:
                config = DataConfig.model_validate({"train": {"path": str(path), **source}, "on_bad_rows": skip})
                data = load_data(config, rejected_path=path.parent / "rejected.jsonl")
            except DataError as error:
                assert error.what
                assert error.remedy
                continue
            if raw is not None:
                _in_file(
                    raw, [str(turn["content"]) for one in data.train for turn in one.messages] if not source else []
                )
    try:
        if path.suffix == ".json":
            list(read_json(path, past_damage=True, chunk_bytes=64)[1])
        check([Part("train", (SourceConfig(path=str(path)),))], CheckSettings())
        convert_file(Input(str(path)), path.parent / "out" / "out.jsonl", to="messages", skip_bad_rows=True)
    except DataError as error:
        assert error.remedy


def _unpacked(path: Path) -> str | None:
    """The text of a file as it is, without what quoting and escapes add; None where it is packed or binary."""
    if path.suffix not in (".jsonl", ".json", ".csv", ".tsv", ".txt"):
        return None
    return path.read_bytes().decode("utf-8", errors="replace")


def _in_file(raw: str, contents: list[str]) -> None:
    for content in contents:
        # Words hold nothing that a format writes in another way.
        for word in "".join(char if char.isascii() and char.isalnum() else " " for char in content).split():
            assert word in raw or "\\u" in raw, content


@given(name=st.sampled_from(list(WHOLE)), changes=edits, encoding=st.sampled_from(ENCODINGS))
def test_a_changed_file_gives_its_rows_or_one_error(
    folder: Path, name: str, changes: list[tuple[float, bytes, int | None]], encoding: str
) -> None:
    path = folder / name
    path.write_bytes(_edited(_encoded(WHOLE[name], encoding), changes))
    _try_everything(path)


@given(data=st.binary(max_size=200), name=st.sampled_from(list(WHOLE)))
def test_any_bytes_are_rows_or_one_error(folder: Path, data: bytes, name: str) -> None:
    path = folder / f"any-{name}"
    path.write_bytes(data)
    _try_everything(path)


# Values that only text can have; each stands for a marked one.
TOKENS = ["9" * 5000, "NaN", "-Infinity", "1e999", "[" * 300 + "]" * 300, '{"a": 1, "a": 2}', '"\\ud83d"', "1.0", "[]"]
MARKED = st.recursive(
    st.sampled_from([f"@{i}@" for i in range(len(TOKENS))]) | st.sampled_from(["user", "gpt", "x", "", None, 1]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "from", "content", "value", "parts", "text", "tool_calls"]), inner)
    ),
    max_leaves=6,
)


@given(
    rows=st.lists(VALUES | MARKED, min_size=1, max_size=4),
    wrap=st.sampled_from(["messages", "conversations", "prompt", "tools", ""]),
)
def test_any_json_is_rows_or_one_error(folder: Path, rows: list, wrap: str) -> None:
    path = folder / "json.jsonl"
    shaped = [{wrap: row, "completion": "x", "prompt": "y"} if wrap else row for row in rows]
    lines = "\n".join(map(json.dumps, shaped))
    for number, token in enumerate(TOKENS):
        lines = lines.replace(f'"@{number}@"', token)
    path.write_text(lines)
    _try_everything(path)


@pytest.mark.parametrize("name", [name for name in WHOLE if name.endswith(("csv", "tsv", "jsonl"))])
@given(lines=st.lists(st.text(st.sampled_from('ab",;\t\r x'), max_size=12), max_size=6), at=st.integers(0, 6))
def test_lines_among_the_rows_add_none_but_their_own(folder: Path, name: str, lines: list[str], at: int) -> None:
    """Of a table whose rows have marks, no row comes out that has a mark without being that row."""
    path = folder / f"lines-{name}"
    whole = WHOLE[name].decode().split("\n")
    path.write_text("\n".join([*whole[: at + 1], *lines, *whole[at + 1 :]]), newline="")
    (table,) = open_source(SourceConfig(path=str(path)))
    try:
        rows = [row for row in table.rows if not row.problem]
    except DataError:
        return
    for row in rows:
        text = json.dumps(row.data, ensure_ascii=False)
        assert text.count("«p") <= 1, row
