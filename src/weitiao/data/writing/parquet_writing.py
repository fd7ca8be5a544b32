"""Writes Parquet, with types that are found from all rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.reading.rows import BadRow, kind_of
from weitiao.data.writing.spool import Spool
from weitiao.errors import DataError

if TYPE_CHECKING:
    import pyarrow

_NUM_ROWS_OF_BATCH = 1024


@contextmanager
def parquet_writer(path: Path, schema: pyarrow.Schema | None) -> Iterator[TypedWriter | UntypedWriter]:
    """Opens a Parquet file.

    Args:
        path: The file.
        schema: The columns and types of all rows; None lets the rows wait in a temporary file until all were seen.

    Yields:
        What takes the rows.

    Raises:
        DataError: The rows have no common type for a column.
    """
    import pyarrow

    try:
        if schema is not None:
            with TypedWriter(path, schema) as typed:
                yield typed
            return
        with Spool(path.parent) as waiting:
            untyped = UntypedWriter(waiting)
            yield untyped
            with TypedWriter(path, untyped.schema()) as typed:
                for row in waiting:
                    typed.write(row)
    except (pyarrow.ArrowException, OverflowError) as error:
        raise _no_type("a column", error) from error


class TypedWriter:
    """Writes rows of known types, some at a time."""

    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        import pyarrow.parquet

        self._schema = schema
        self._file = pyarrow.parquet.ParquetWriter(path, schema)
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> TypedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row.

        Raises:
            BadRow: It has a column that the types do not name.
        """
        if unknown := next((name for name in row if name not in self._schema.names), None):
            raise BadRow(unknown, "is not a column of the rows before")
        self._rows.append(row)
        if len(self._rows) == _NUM_ROWS_OF_BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        if self._rows:
            arrays = [pyarrow.array([row.get(f.name) for row in self._rows], type=f.type) for f in self._schema]
            self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []


class UntypedWriter:
    """Keeps rows until the types of their columns are known. Dates and decimal numbers become text."""

    def __init__(self, waiting: Spool) -> None:
        self._waiting = waiting
        self._kinds: dict[str, str] = {}

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row.

        Raises:
            BadRow: A value has another type than in the rows before, or cannot be written.
        """
        kinds = {name: kind_of(value) for name, value in row.items()}
        for name, kind in kinds.items():
            before = self._kinds.get(name, kind)
            if before != kind and "null" not in (before, kind):
                raise BadRow(name, f"is {kind}, and {before} in a row before; a Parquet column has one type")
        check_utf8("", to_json(row, strict=False))
        self._waiting.append(row)
        for name, kind in kinds.items():
            if self._kinds.get(name, "null") == "null":
                self._kinds[name] = kind

    def schema(self) -> pyarrow.Schema:
        """The narrowest types that all rows fit, with null for what a row lacks."""
        import pyarrow

        found = []
        waiting = iter(self._waiting)
        while rows := list(islice(waiting, _NUM_ROWS_OF_BATCH)):
            types = []
            for name in self._kinds:
                try:
                    types.append((name, pyarrow.array([row.get(name) for row in rows]).type))
                except (pyarrow.ArrowException, OverflowError) as error:
                    raise _no_type(f"the column `{name}`", error) from error
            found.append(pyarrow.schema(types))
        return pyarrow.unify_schemas(found, promote_options="permissive") if found else pyarrow.schema([])


def _no_type(column: str, error: Exception) -> DataError:
    said = " ".join(str(error).split())
    return DataError(
        f"The rows cannot be written as Parquet: the values of {column} have no common type: {said}.",
        "Write JSON Lines (.jsonl), whose rows need none.",
    )
