"""What the commands that write rows have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from weitiao.data.reading.rows import shown
from weitiao.data.writing.rejected import RejectedRows
from weitiao.errors import DataError

OnRow = Callable[[str, int], None]
"""Gets what is being done (`reading`, `writing`) and the number of rows so far."""


def silent(step: str, rows: int) -> None:
    """Tells nobody."""


def refuse_inputs(output: Path, inputs: Iterable[str]) -> None:
    """Refuses to write over a file that is read.

    Raises:
        DataError: The output is one of the inputs.
    """
    if any(output.exists() and Path(path).exists() and output.samefile(path) for path in inputs):
        raise DataError(f"{shown(output)}: is the input, which is never changed.", "Give the output another name.")


def bad_rows(rejected: RejectedRows) -> DataError:
    """The error that names the first bad rows, with the remedy of the command line."""
    return DataError(
        rejected.error().what,
        "Correct them, or add --on-bad-rows skip to leave them out and list them in rejected.jsonl.",
    )
