"""Rows of files with one type per column (Parquet, Arrow), as they were before they had one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from weitiao.data.reading.notes import Notes
from weitiao.data.reading.rows import Row

_ABSENT = "have null for keys of objects in lists, which are read as absent keys"


def typed_rows(records: Iterable[dict[str, Any]], notes: Notes) -> Iterator[Row]:
    """Numbers the records, and takes out the keys that one type for all objects has added to each.

    The objects of a list (turns, tool definitions, their parameters) have null for every key that another object of
    the column has. A column that is null or an object itself stays as it is.

    Args:
        records: The records, from column to value.
        notes: Gets the rows that had such keys.
    """
    for number, record in enumerate(records, start=1):
        data = {name: _present(value) if isinstance(value, list) else value for name, value in record.items()}
        if data != record:
            notes.add(_ABSENT, f"row {number}")
        yield Row(number, None, data)


def _present(value: Any) -> Any:
    """The same value without the keys of objects that are null, at any depth."""
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner is not None}
    return [_present(inner) for inner in value] if isinstance(value, list) else value
