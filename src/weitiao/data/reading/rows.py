"""A row as a reader hands it on, why a row cannot be used, and what readers have to say about some rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.errors import DataError

_MOST_NAMED = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, not yet checked.

    Attributes:
        number: Its place among the rows of the file, from 1.
        line: The line of the file on which it starts, from 1; None where a file has no lines.
        data: The row, normally a dict from column to value; the raw text when it could not be read.
        problem: Why it could not be read; empty otherwise.
    """

    number: int
    line: int | None
    data: Any
    problem: str = ""


class BadRow(Exception):  # noqa: N818 - becomes a DataError or a line of rejected.jsonl, never reaches the user as it is
    """A row that cannot become an example.

    Args:
        field: The field at fault, as a path (`messages[2].content`); empty when it is the row as a whole.
        reason: What is wrong, as the end of a sentence ("is empty").
        remedy: The setting of a recipe that would make the row usable; empty when there is none.
    """

    def __init__(self, field: str, reason: str, remedy: str = "") -> None:
        super().__init__(field, reason, remedy)
        self.field = field
        self.reason = reason
        self.remedy = remedy


def kind_of(value: Any) -> str:
    """Names the type of a value the way a user of JSON would."""
    names = {str: "text", bool: "true/false", int: "a number", float: "a number", dict: "an object", type(None): "null"}
    return names.get(type(value), "a list" if isinstance(value, (list, tuple)) else type(value).__name__)


def listed(columns: Iterable[Any]) -> str:
    """Names of columns as messages print them: the first ones, where a table has very many."""
    names = list(map(str, columns))
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def shown(path: Path) -> str:
    """A path as messages print it: relative when it lies in the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the operating system does not hand out."""
    return DataError(f"{shown(path)}: cannot be read: {error.strerror or error}.", "Check its permissions.")


class Notes:
    """Counts by what there is to say."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, place: str) -> None:
        """Counts one more row.

        Args:
            what: What is true of the row, as the end of a sentence about rows: "hold ...".
            place: Where it stands; only the first place is kept.
        """
        count, first = self._found.get(what, (0, place))
        self._found[what] = (count + 1, first)

    def lines(self, file: str = "") -> tuple[str, ...]:
        """One line per kind; `file` stands before the place of the first row."""
        return tuple(
            f"rows that {what}: {count:,} (first: {file}{place})" for what, (count, place) in self._found.items()
        )
