"""Rows in a temporary file, read again in any order; and Parquet, whose types are found from all of them."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.reading.rows import BadRow, kind_of
from weitiao.errors import DataError

if TYPE_CHECKING:
    import pyarrow


Write = Callable[[dict[str, Any]], None]
"""Takes a row; raises `BadRow` when the kind of file cannot hold a value of it, and has then written nothing of it."""


class Spool:
    """Values of JSON in the order in which they were added.

    Args:
        folder: Where the temporary file lies; it is gone when the spool is closed or the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`
        self._offsets = array("Q")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Any:
        self._stream.seek(self._offsets[index])
        return json.loads(self._stream.readline())

    def __iter__(self) -> Iterator[Any]:
        self._stream.seek(0)
        for line in self._stream:
            yield json.loads(line)

    def append(self, value: Any) -> str:
        """Adds a value; values are added before the first is read.

        Returns:
            Its JSON text.

        Raises:
            BadRow: It cannot be written as JSON.
        """
        text = to_json(value, strict=False)
        self._offsets.append(self._stream.tell())
        # Half a surrogate pair is written as the escape that JSON has for it.
        self._stream.write(text.encode("utf-8", errors="backslashreplace") + b"\n")
        return text


_NUM_ROWS_OF_BATCH = 1024


@contextmanager
def parquet_rows(path: Path, schema: pyarrow.Schema | None, waiting: Spool) -> Iterator[Write]:
    """Writes rows of known types, some at a time; else they wait until the types of their columns are known.

    Args:
        path: The file.
        schema: The columns and types of all rows; where they are found, dates and decimal numbers become text.
        waiting: Where rows wait.

    Yields:
        What takes a row, and raises `BadRow` for a value that cannot be written, or has another type than in the rows
        before.

    Raises:
        DataError: The rows have no common type for a column.
    """
    if schema is not None:
        with _typed(path, schema) as write:
            yield write
        return
    kinds: dict[str, str] = {}

    def keep(row: dict[str, Any]) -> None:
        found = {name: kind_of(value) for name, value in row.items()}
        for name, kind in found.items():
            before = kinds.get(name, kind)
            if before != kind and "null" not in (before, kind):
                raise BadRow(name, f"is {kind}, and {before} in a row before; a Parquet column has one type")
        check_utf8("", to_json(row, strict=False))
        waiting.append(row)
        kinds.update({name: kind for name, kind in found.items() if kinds.get(name, "null") == "null"})

    yield keep
    with _typed(path, _found(waiting, tuple(kinds))) as write:
        for row in waiting:
            write(row)


@contextmanager
def _typed(path: Path, schema: pyarrow.Schema) -> Iterator[Write]:
    """Writes rows of a schema."""
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    with pyarrow.parquet.ParquetWriter(path, schema) as file:

        def flush() -> None:
            if rows:
                arrays = [_array(rows, field.name, field.type) for field in schema]
                file.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
                rows.clear()

        def write(row: dict[str, Any]) -> None:
            if unknown := next((name for name in row if name not in schema.names), None):
                raise BadRow(unknown, "is not a column of the rows before")
            rows.append(row)
            if len(rows) == _NUM_ROWS_OF_BATCH:
                flush()

        yield write
        flush()


def _found(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> pyarrow.Schema:
    """The narrowest types that all rows fit, with null for what a row lacks."""
    import pyarrow

    found, waiting = [pyarrow.schema([])], iter(rows)
    while some := list(islice(waiting, _NUM_ROWS_OF_BATCH)):
        found.append(pyarrow.schema([(name, _array(some, name, None).type) for name in names]))
    return pyarrow.unify_schemas(found, promote_options="permissive")


def _array(rows: list[dict[str, Any]], name: str, type: pyarrow.DataType | None) -> pyarrow.Array:
    import pyarrow

    try:
        return pyarrow.array([row.get(name) for row in rows], type=type)
    except (pyarrow.ArrowException, OverflowError) as error:
        said = " ".join(str(error).split())
        raise DataError(
            f"The rows cannot be written as Parquet: the values of the column `{name}` have no common type: {said}.",
            "Write JSON Lines (.jsonl), whose rows need none.",
        ) from error
