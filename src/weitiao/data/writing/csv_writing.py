"""Writes CSV and TSV as RFC 4180 has it, so that `read_csv` gives the same text back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.writing.spool import Spool


class CsvWriter:
    """Keeps rows until the columns of all are known. All values become text.

    Args:
        path: The file.
        delimiter: What stands between two fields.
        waiting: Where rows wait.
    """

    def __init__(self, path: Path, delimiter: str, waiting: Spool) -> None:
        self._path = path
        self._delimiter = delimiter
        self._waiting = waiting
        self._columns = dict[str, None]()

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row; nested values become JSON text, null becomes an empty field."""
        fields = {name: _text(name, value) for name, value in row.items()}
        self._columns.update(dict.fromkeys(fields))
        self._waiting.append(fields)

    def close(self, *, whole: bool) -> None:
        """Writes the file."""
        if whole:
            with self._path.open("w", encoding="utf-8", newline="") as stream:
                table = csv.DictWriter(stream, list(self._columns), restval="", delimiter=self._delimiter)
                table.writeheader()
                table.writerows(self._waiting)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    # Dates are text in JSON, too; in a field they need no quotes.
    text = value if isinstance(value, str) else to_json(value).strip('"')
    check_utf8(name, text)
    return text
