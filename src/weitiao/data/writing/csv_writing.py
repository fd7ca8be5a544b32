"""Writes CSV and TSV as RFC 4180 has it, so that `read_csv` gives the same text back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.writing.spool import Spool


@contextmanager
def csv_writer(path: Path, delimiter: str) -> Iterator[CsvWriter]:
    """Opens a CSV file. The rows wait in a temporary file until the columns of all are known.

    Args:
        path: The file.
        delimiter: What stands between two fields.

    Yields:
        What takes the rows.
    """
    with Spool(path.parent) as waiting, path.open("w", encoding="utf-8", newline="") as stream:
        writer = CsvWriter(waiting)
        yield writer
        table = csv.DictWriter(stream, list(writer.columns), restval="", delimiter=delimiter, lineterminator="\r\n")
        table.writeheader()
        table.writerows(waiting)


class CsvWriter:
    """Keeps rows until their columns are known. All values become text."""

    def __init__(self, waiting: Spool) -> None:
        self._waiting = waiting
        self.columns = dict[str, None]()

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; nested values become JSON text, null becomes an empty field.

        Raises:
            BadRow: A value cannot be written.
        """
        fields = {name: _text(name, value) for name, value in row.items()}
        self.columns.update(dict.fromkeys(fields))
        self._waiting.append(fields)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    # Dates are text in JSON, too; in a field they need no quotes.
    text = value if isinstance(value, str) else to_json(value).strip('"')
    check_utf8(name, text)
    return text
