"""Readers: from a file, a directory or a hub data set to rows, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.data.config import SourceConfig
from weitiao.data.csv_files import read_csv
from weitiao.data.hub import is_saved_dataset, read_hub, read_saved_dataset
from weitiao.data.json_files import read_json
from weitiao.data.paths import data_files
from weitiao.data.rows import Row, shown, unreadable
from weitiao.data.utf8 import text_lines
from weitiao.errors import DataError


@dataclass(frozen=True, slots=True)
class Table:
    """A file, or a hub data set, whose rows are read when they are asked for.

    Attributes:
        name: The absolute path, or the hub id.
        shown: The name as messages print it.
        kind: What the file turned out to be: `JSON`, `JSON Lines`, `CSV`, `Parquet`, `text lines`, `hub`.
        rows: The rows, once.
    """

    name: str
    shown: str
    kind: str
    rows: Iterator[Row]


def open_source(source: SourceConfig) -> Iterator[Table]:
    """Opens the tables of a source, one after the other.

    Args:
        source: The source, its path resolved (`resolve_paths`).

    Raises:
        DataError: There is no such data, or it cannot be read.
    """
    path = Path(source.path)
    if not path.is_absolute():
        yield Table(source.path, source.path, "hub", read_hub(source.path, source.subset, source.split))
        return
    if source.subset is not None:
        raise DataError(
            f"{shown(path)}: only a hub data set has subsets, but `subset: {source.subset}` is set.", "Remove `subset`."
        )
    if is_saved_dataset(path):
        yield Table(str(path), shown(path), "saved data set", read_saved_dataset(path, source.split))
        return
    for file in data_files(path, source.split):
        kind, rows = _read(file)
        yield Table(str(file), shown(file), kind, rows)


def _read(path: Path) -> tuple[str, Iterator[Row]]:
    match path.suffix.lower():
        case ".csv" | ".tsv":
            return "CSV", read_csv(path)
        case ".parquet":
            return "Parquet", _parquet(path)
        case ".txt":
            return "text lines", _text(path)
        case _:
            return read_json(path)


def _text(path: Path) -> Iterator[Row]:
    """One row per line that is not blank."""
    for number, (line, text, problem) in enumerate(text_lines(path), start=1):
        yield Row(number, line, text if problem else {"text": text}, problem)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                data: dict[str, Any]
                for data in batch.to_pylist():
                    number += 1
                    yield Row(number, None, data)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(path, error) from error
        # Arrow reports a damaged file as OSError without a number, and text that is not UTF-8 as Python does.
        said = " ".join(str(error).split())
        raise DataError(
            f"{shown(path)}, after row {number}: is no intact Parquet file: {said}", "Write or copy the file again."
        ) from error
