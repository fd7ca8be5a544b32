"""Writes CSV and TSV as RFC 4180 has it, so that `read_csv` gives the same text back."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.reading.rows import BadRow
from weitiao.data.writing.spool import Spool


@contextmanager
def csv_writer(path: Path, delimiter: str, columns: Sequence[str] | None) -> Iterator[CsvWriter]:
    """Opens a CSV file.

    Args:
        path: The file.
        delimiter: What stands between two fields.
        columns: The columns of all rows; None lets the rows wait in a temporary file until all are known.

    Yields:
        What takes the rows.
    """
    with Spool(path.parent) as waiting, path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter=delimiter, lineterminator="\r\n")
        writer = CsvWriter(waiting if columns is None else None, table, columns or ())
        if columns is not None:
            table.writerow(columns)
        yield writer
        if columns is None:
            table.writerow(writer.columns)
            for row in waiting:
                table.writerow([row.get(name, "") for name in writer.columns])


class CsvWriter:
    """Writes rows, or keeps them until their columns are known. All values become text."""

    def __init__(self, waiting: Spool | None, table: Any, columns: Sequence[str]) -> None:
        self._waiting = waiting
        self._table = table
        self.columns = dict.fromkeys(columns)

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; nested values become JSON text, null becomes an empty field.

        Raises:
            BadRow: A value cannot be written.
        """
        fields = {name: _text(name, value) for name, value in row.items()}
        if self._waiting is not None:
            self.columns.update(dict.fromkeys(fields))
            self._waiting.append(fields)
            return
        if unknown := next((name for name in fields if name not in self.columns), None):
            raise BadRow(unknown, "is not a column of the rows before")
        self._table.writerow([fields.get(name, "") for name in self.columns])


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    # Dates are text in JSON, too; in a field they need no quotes.
    text = value if isinstance(value, str) else to_json(value).strip('"')
    check_utf8(name, text)
    return text
