"""Data files as no one would write them: right rows or an error, never a traceback, never a row that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weitiao.data.json_files import read_json

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
