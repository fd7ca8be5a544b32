"""Rows that cannot be used: counted, named, and either an error or a line of `rejected.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from weitiao.data.example import Example
from weitiao.data.reading.rows import BadRow, Row, shown
from weitiao.errors import DataError, Phrase, joined
from weitiao.json_text import json_text

_NUM_NAMED = 3


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that cannot be used.

    Attributes:
        file: The file, as messages print it, or the hub id.
        row: The number of the row, from 1.
        line: The line on which it starts, from 1, where the file has lines.
        field: The field at fault; empty when it is the row as a whole.
        reason: What is wrong.
        data: The row.
    """

    file: str
    row: int
    line: int | None
    field: str
    reason: str
    data: Any

    def sentence(self) -> Phrase:
        """What is wrong, and where."""
        return Phrase("{file}, {row}", file=self.file, row=self.within_file())

    def within_file(self) -> Phrase:
        """The same without the name of the file."""
        line = Phrase(" (line {line})", line=self.line) if self.line is not None else ""
        field = Phrase(", field `{field}`", field=self.field) if self.field else ""
        reason = Phrase(self.reason)
        return Phrase("row {row}{line}{field}: {reason}", row=self.row, line=line, field=field, reason=reason)


class RejectedRows:
    """Collects the bad rows of all sources.

    Args:
        path: Where they are written to, one JSON object per line, when bad rows are skipped; a file that an earlier
            run left there is replaced, or removed when there is no bad row. None writes nothing.
        skip: Whether bad rows are skipped.
        append: Whether they come behind those that are there already.
    """

    def __init__(self, path: Path | None, *, skip: bool = True, append: bool = False) -> None:
        self._path = path if skip else None
        self._skip = skip
        self._append = append
        self._stream: TextIO | None = None
        self.count = 0
        self.first: list[Rejection] = []

    def __enter__(self) -> RejectedRows:
        if self._path is not None and not self._append:
            self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, file: str, row: Row, problem: BadRow) -> Rejection:
        """Counts a bad row and writes it down.

        Raises:
            DataError: The file for rejected rows cannot be written.
        """
        reason = f"{problem.reason}; {problem.remedy}" if problem.remedy else problem.reason
        rejection = Rejection(file, row.number, row.line, problem.field, reason, row.data)
        self.count += 1
        if len(self.first) < _NUM_NAMED:
            self.first.append(rejection)
        if self._path is None:
            return rejection
        try:
            if self._stream is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # A lone surrogate from a `\ud83d` in the data is written as that same escape.
                self._stream = self._path.open("a", encoding="utf-8", errors="backslashreplace")
            self._stream.write(json_text(asdict(rejection), default=str) + "\n")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}.", "Make room, or check it.") from error
        return rejection

    @property
    def listed(self) -> str | None:
        """Where they are written down; None when there are none."""
        return str(self._path) if self.count and self._path is not None else None

    def told(self, findings: Iterable[str]) -> dict[str, Any]:
        """The fields of `Written`."""
        return {"rejected": self.count, "rejected_path": self.listed, "findings": tuple(findings)}

    def stop(self) -> None:
        """Ends a command that shall not skip bad rows.

        Raises:
            DataError: There are some.
        """
        if self.count and not self._skip:
            raise DataError(
                self.error().what,
                "Correct them, or add --on-bad-rows skip to leave them out and list them in rejected.jsonl.",
            )

    def error(self) -> DataError:
        """The error that names the first bad rows and how many there are."""
        first, *others = self.first
        more: str = ""
        if others:
            told = [one.within_file() if one.file == first.file else one.sentence() for one in others]
            rest = self.count - len(self.first)
            left = Phrase("; and {rest:,} more", rest=rest) if rest else ""
            also = joined(told, "{one}; {other}")
            more = Phrase(" In all {count:,} bad rows, also {also}{left}.", count=self.count, also=also, left=left)
        return DataError(
            Phrase("{first}.{more}", first=first.sentence(), more=more),
            "Correct them, or set `on_bad_rows: skip` to leave them out and list them in rejected.jsonl.",
        )


@dataclass(slots=True, kw_only=True)
class Written:
    """What every command that writes rows tells.

    Attributes:
        rejected: Rows that cannot be used.
        rejected_path: Where they are listed; None when there are none.
        findings: What was found while the rows were read and has to be said, a sentence each.
    """

    rejected: int = 0
    rejected_path: str | None = None
    findings: tuple[str, ...] = ()


def add_rejected(path: Path, examples: Sequence[Example], reasons: Iterable[tuple[str, str]]) -> None:
    """Add rows that were read, and cannot be used all the same, to those that `RejectedRows` wrote.

    Args:
        path: `rejected.jsonl`.
        examples: The rows.
        reasons: Row id of each that cannot be used, and why.

    Raises:
        DataError: The file cannot be written.
    """
    why = dict(reasons)
    with RejectedRows(path, append=True) as rejected:
        for example in examples:
            file, _, row = example.row_id.rpartition(":")
            if example.row_id in why and row.isdecimal():  # a row that is repeated (`5#2`) is listed once
                problem = BadRow("messages", why[example.row_id])
                rejected.add(file, Row(int(row), None, {"messages": example.messages}), problem)


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
