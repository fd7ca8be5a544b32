"""Writes Parquet, with types that are found from all rows."""

from __future__ import annotations

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


class ParquetWriter:
    """Writes rows of known types, some at a time; else keeps them until the types of their columns are known.

    Args:
        path: The file.
        schema: The columns and types of all rows; where they are found, dates and decimal numbers become text.
        waiting: Where rows wait.
    """

    def __init__(self, path: Path, schema: pyarrow.Schema | None, waiting: Spool) -> None:
        self._path = path
        self._schema = schema
        self._waiting = waiting
        self._kinds: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []
        self._file: Any = None

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row.

        Raises:
            BadRow: A value cannot be written, or has another type than in the rows before, or no type is known for it.
            DataError: The rows have no common type for a column.
        """
        if self._schema is None:
            self._keep(row)
            return
        if unknown := next((name for name in row if name not in self._schema.names), None):
            raise BadRow(unknown, "is not a column of the rows before")
        self._rows.append(row)
        if len(self._rows) == _NUM_ROWS_OF_BATCH:
            self._flush()

    def close(self, *, whole: bool) -> None:
        """Writes what is left, and closes the file."""
        try:
            if whole:
                if self._schema is None:
                    self._schema = self._found()
                    for row in self._waiting:
                        self.write(row)
                self._flush()
        finally:
            if self._file is not None:
                self._file.close()

    def _keep(self, row: dict[str, Any]) -> None:
        kinds = {name: kind_of(value) for name, value in row.items()}
        for name, kind in kinds.items():
            before = self._kinds.get(name, kind)
            if before != kind and "null" not in (before, kind):
                raise BadRow(name, f"is {kind}, and {before} in a row before; a Parquet column has one type")
        check_utf8("", to_json(row, strict=False))
        self._waiting.append(row)
        self._kinds |= {name: kind for name, kind in kinds.items() if self._kinds.get(name, "null") == "null"}

    def _found(self) -> pyarrow.Schema:
        """The narrowest types that all rows fit, with null for what a row lacks."""
        import pyarrow

        found = [pyarrow.schema([])]
        waiting = iter(self._waiting)
        while rows := list(islice(waiting, _NUM_ROWS_OF_BATCH)):
            found.append(pyarrow.schema([(name, _array(rows, name, None).type) for name in self._kinds]))
        return pyarrow.unify_schemas(found, promote_options="permissive")

    def _flush(self) -> None:
        import pyarrow.parquet

        if self._file is None:
            self._file = pyarrow.parquet.ParquetWriter(self._path, self._schema)
        if self._rows:
            arrays = [_array(self._rows, field.name, field.type) for field in self._schema or ()]
            self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))
            self._rows = []


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
