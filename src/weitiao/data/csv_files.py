"""CSV and TSV with a header line, read as RFC 4180 has it: quotes, doubled quotes, line breaks within quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from weitiao.data.rows import Row, shown, unreadable
from weitiao.data.utf8 import refuse_utf16, utf8_remedy
from weitiao.errors import DataError


class _Lines:
    """The lines of a file for `csv.reader`, which remembers the raw text of the record that is being read.

    Bytes that are not UTF-8 were decoded to lone surrogates: commas, quotes and line breaks are ASCII, so the records
    stay whole around them.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.number = 0
        self._offset = 0
        self._raw: list[str] = []
        self._problem = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.number += 1
        self._raw.append(line)
        if line.isascii():
            self._offset += len(line)
            return line
        try:
            self._offset += len(line.encode("utf-8"))
        except UnicodeEncodeError as error:
            at = self._offset + len(line[: error.start].encode("utf-8"))
            self._offset += len(line.encode("utf-8", errors="surrogateescape"))
            byte = f"{ord(line[error.start]) - 0xDC00:02x}"
            self._problem = self._problem or f"is not UTF-8: the byte {byte} at byte {at} of the file"
        return line.removeprefix("\ufeff") if self.number == 1 else line

    def take(self) -> tuple[str, str]:
        """The raw text of the lines since the last call, and what is wrong with their bytes."""
        raw = "".join(self._raw).encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
        problem = self._problem
        self._raw, self._problem = [], ""
        return raw, problem


def read_csv(path: Path) -> Iterator[Row]:
    """Reads the records below the header line; every value is text.

    Args:
        path: A file with commas; tabs in a `.tsv`; semicolons or tabs also elsewhere when the header has no comma.

    Yields:
        Rows. A record with too many or too few fields, with a broken quote or with bytes that are not UTF-8 comes with
        its problem and its raw text.

    Raises:
        DataError: The file cannot be read, or its header cannot be used.
    """
    try:
        with path.open("rb") as binary:
            refuse_utf16(path, binary.read(2))
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            yield from _records(path, stream)
    except OSError as error:
        raise unreadable(path, error) from error


def _records(path: Path, stream: TextIO) -> Iterator[Row]:
    delimiter = _delimiter(path, stream.readline())
    stream.seek(0)
    lines = _Lines(stream)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(path, records, lines)
    number = 0
    while True:
        line = lines.number + 1
        broken = ""
        fields: list[str] = []
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            broken = f"is not valid CSV: {error}"
        raw, problem = lines.take()
        if not fields and not broken:
            continue  # a blank line
        number += 1
        problem = problem or broken
        if not problem and len(fields) != len(header):
            problem = f"has {len(fields)} fields where the header has {len(header)}"
        yield Row(number, line, raw if problem else dict(zip(header, fields, strict=True)), problem)


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    if "," in header:
        return ","
    return next((mark for mark in (";", "\t") if mark in header), ",")


def _header(path: Path, records: Iterator[list[str]], lines: _Lines) -> list[str]:
    try:
        header = next(records, [])
    except csv.Error as error:
        raise DataError(f"{shown(path)}, line 1: the header is not valid CSV: {error}.", "Correct the line.") from error
    _, problem = lines.take()
    if problem:
        raise DataError(f"{shown(path)}, line 1: the header {problem}.", utf8_remedy(path))
    double = next((name for name in header if header.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{shown(path)}, line 1: two columns are named `{double}`.", "Rename one of them.")
    return header
