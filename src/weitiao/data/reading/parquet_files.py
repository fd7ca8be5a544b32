"""Parquet files as rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weitiao.data.reading.notes import Notes
from weitiao.data.reading.opening import loaded_by, opened
from weitiao.data.reading.rows import Row, shown
from weitiao.data.reading.typed_rows import typed_rows
from weitiao.errors import DataError

_DAMAGED = "is no intact Parquet file, or holds a value that Python does not have"


def read_parquet(path: Path, notes: Notes) -> Iterator[Row]:
    """Reads the records of a file, some at a time.

    Args:
        path: The file.
        notes: See `typed_rows`.

    Raises:
        DataError: The file cannot be read, is damaged, or has two columns of one name.
    """
    import pyarrow.parquet

    with (
        opened(path) as stream,
        loaded_by("pyarrow", f"{shown(path)}: {_DAMAGED}", "Write or copy the file again."),
        pyarrow.parquet.ParquetFile(stream) as file,
    ):
        names = file.schema_arrow.names
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise DataError(f"{shown(path)}: two columns are named `{double}`.", "Rename one of them.")
        yield from typed_rows((record for batch in file.iter_batches(1024) for record in batch.to_pylist()), notes)
