"""Compressed data files, and what lies beside the files of a directory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.load import load_data
from weitiao.data.reading.files import open_source
from weitiao.errors import DataError

ROWS = [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(40)]


def _zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": _zstd,
}
FILES = {
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "rows.json": json.dumps(ROWS, indent=1),
    "rows.csv": "prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in ROWS),
    "rows.tsv": "prompt\tcompletion\n" + "".join(f"{row['prompt']}\t{row['completion']}\n" for row in ROWS),
}


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_have_the_same_rows(tmp_path: Path, ending: str) -> None:
    for name, text in FILES.items():
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(PACKERS[ending](text.encode()))
        for past_damage in (False, True):
            (table,) = open_source(SourceConfig(path=str(path)), past_damage=past_damage)
            assert [row.data for row in table.rows] == ROWS, path.name


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_packed_file_is_named(tmp_path: Path, ending: str) -> None:
    packed = PACKERS[ending](FILES["rows.jsonl"].encode())
    for number, data in enumerate((packed[:-15], b"no such thing" + packed, packed[:20] + b"\0\0\0\0" + packed[24:])):
        path = tmp_path / f"{number}.jsonl{ending}"
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"{number}\.jsonl\{ending}: is no intact \{ending} file"):
            load_data(DataConfig.model_validate({"train": str(path)}))


def test_what_lies_beside_the_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(FILES["rows.jsonl"])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(FILES["rows.jsonl"].encode()))
    (tmp_path / "more.jsonl").mkdir()
    for name in ("table.xlsx", ".hidden"):
        (tmp_path / name).write_text("x")
    data = load_data(DataConfig.model_validate({"train": str(tmp_path)}))
    assert len(data.train) == 80
    assert "files that are not read: more.jsonl/, table.xlsx" in str(data.summaries[0])
