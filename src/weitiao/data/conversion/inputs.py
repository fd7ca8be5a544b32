"""What makes the inputs of two rows the same: the question of their format, or columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from weitiao.data.conversion.records import Opened
from weitiao.data.example import Example, Record
from weitiao.data.formats.formats import columns_of, required
from weitiao.data.parts.asked import Asked, asked_by, asked_in, asked_values
from weitiao.data.reading.files import PlacedRow
from weitiao.data.reading.json_values import to_json

Ask = Callable[[PlacedRow], Asked]


def input_of(opened: Opened, columns: Sequence[str], others: Sequence[str]) -> tuple[str, Ask]:
    """How the input of a row is found.

    Args:
        opened: The rows.
        columns: The columns that are the input; when there are none, the format tells.
        others: Columns that are no part of the input. Where the rows have no format that is known, and none was
            named, all columns but these are the input.

    Returns:
        What the input is, in words, and what tells what a row asks or raises `BadRow`.

    Raises:
        DataError: The rows are no objects, or do not have the format that was named.
    """
    if columns:
        return f"the columns {', '.join(columns)}", lambda placed: _of_columns(columns_of(placed.row), columns)
    format = opened.format_or_none()
    if format is None:
        taken = [name for name in opened.columns if name not in others]
        return f"the columns {', '.join(taken)} (no format fits)", lambda placed: _of_rest(placed, others)
    read = opened.reader(format)
    return f"the question of {format} rows", lambda placed: _of_record(read(placed))


def value_of(row: dict[str, Any], column: str) -> str:
    """The value of a column as text, for comparison.

    Raises:
        BadRow: The row does not have it, or it is null.
    """
    value = required(row, column, column)
    return value if isinstance(value, str) else to_json(value, strict=False)


def _of_record(record: Record) -> Asked:
    return asked_by(record) if isinstance(record, Example) else asked_in(record.prompt)


def _of_columns(row: dict[str, Any], columns: Sequence[str]) -> Asked:
    return asked_values([(column, value_of(row, column)) for column in columns], with_names=False)


def _of_rest(placed: PlacedRow, others: Sequence[str]) -> Asked:
    row = columns_of(placed.row)
    texts = {name: value if isinstance(value, str) else to_json(value, strict=False) for name, value in row.items()}
    return asked_values([(name, text) for name, text in sorted(texts.items()) if name not in others], with_names=True)
