"""The rows of a source in a new file, without some of them, and with others in another wording."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weitiao.data.config import SourceConfig
from weitiao.data.reading.files import OpenedSource
from weitiao.data.reading.json_values import to_json
from weitiao.data.reading.rows import Row
from weitiao.data.writing.writing import row_writer
from weitiao.errors import DataError

At = tuple[int, int]
"""Which file of a source, from 0, and which row of it, from 1."""


class Edit(NamedTuple):
    """What of a row changes.

    Attributes:
        seen: `digest_of` the row as it was seen.
        values: Columns and their new values.
    """

    seen: str
    values: Mapping[str, Any]


def digest_of(row: Mapping[str, Any]) -> str:
    """Changes with a row."""
    return hashlib.sha256(to_json(row).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def revise(source: SourceConfig, output: Path, *, drop: Collection[At] = (), edits: Mapping[At, Edit]) -> int:
    """Write a copy of a source as JSON Lines. Rows keep their columns and their order.

    Args:
        source: Its path resolved.
        output: The file.
        drop: The rows that go.
        edits: Those that change.

    Returns:
        How many rows were written.

    Raises:
        DataError: A row that changes is not as it was seen, is not there, or one that stays cannot be read.
    """
    left, count = {*drop, *edits}, 0
    with row_writer(output) as write:
        for at, file, row in rows_of(source):
            left.discard(at)
            if at in drop:
                continue
            place = f"{file}, row {row.number}"
            if row.problem or not isinstance(row.data, dict):
                reason = row.problem or "has no columns"
                raise DataError(f"{place} cannot be copied: it {reason}.", "Drop it as well.")
            data = row.data
            if at in edits:
                if digest_of(data) != edits[at].seen:
                    raise DataError(f"{place} is not what it was any more.", "Look at it again.")
                data = {**data, **edits[at].values}
            write(data)
            count += 1
        if left:
            raise DataError(f"{source.path} has no row {min(left)[1]} any more.", "Look at the rows again.")
        if not count:
            raise DataError(f"{source.path}: no row is left.", "Keep some.")
    return count


def rows_of(source: SourceConfig) -> Iterator[tuple[At, str, Row]]:
    """The rows of a source, with where they stand, and their files as messages print them."""
    opened = OpenedSource(source, num_head=1, past_damage=True)
    at = {name: index for index, name in enumerate(opened.names)}
    for file, row_id, row in opened.rows():
        yield (at[row_id.rpartition(":")[0]], row.number), file, row


def row_at(source: SourceConfig, at: At) -> dict[str, Any]:
    """The columns of a row.

    Raises:
        DataError: There is no such row, or it has none.
    """
    for place, file, row in rows_of(source):
        if place == at:
            if row.problem or not isinstance(row.data, dict):
                raise DataError(
                    f"{file}, row {at[1]} {row.problem or 'has no columns'}.", "Drop it, or correct the file."
                )
            return row.data
    raise DataError(f"{source.path} has no row {at[1]}.", "Look at an earlier one.")
