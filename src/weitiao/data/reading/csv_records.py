"""Records of a CSV file as RFC 4180 has them, and where the next one begins after a record that is broken.

Python's `csv` has a limit for the length of a field that can only be set for the whole process, and after an error it
takes the lines of a quoted text for records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TextIO

_LONGEST_LOOK = 1 << 20
"""Characters without a quote after which a broken record is taken to have ended on its own line."""


class Line(NamedTuple):
    """A line with its line break, and what is wrong with its bytes."""

    number: int
    text: str
    problem: str


class Lines:
    """The lines of a file, which can be looked at before they are taken.

    Bytes that are not UTF-8 were decoded to lone surrogates: commas, quotes and line breaks are ASCII, so the records
    stay whole around them.
    """

    def __init__(self, stream: TextIO) -> None:
        self._ahead: deque[Line] = deque()
        self._lines = self._read(stream)

    def peek(self, index: int = 0) -> Line | None:
        """The line that comes after `index` others; None behind the end."""
        while len(self._ahead) <= index:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[index]

    def take(self) -> Line:
        """The next line, which `peek` has shown."""
        return self._ahead.popleft()

    def _read(self, stream: TextIO) -> Iterator[Line]:
        offset = 0
        for number, line in enumerate(stream, start=1):
            problem = ""
            size = len(line)
            if not line.isascii():
                size = len(line.encode("utf-8", errors="surrogateescape"))
                try:
                    line.encode("utf-8")
                except UnicodeEncodeError as error:
                    at = offset + len(line[: error.start].encode("utf-8"))
                    byte = f"{ord(line[error.start]) - 0xDC00:02x}"
                    problem = f"is not UTF-8: the byte {byte} at byte {at} of the file"
            offset += size
            yield Line(number, line.removeprefix("\ufeff") if number == 1 else line, problem)


class Record:
    """Fields that are read from one line after the other.

    Args:
        delimiter: What stands between two fields.
        open: Whether the first line begins within quotes.

    Attributes:
        fields: The fields that are complete.
        open: Whether the last line ended within quotes, so that the record goes on.
        fault: What is wrong with its quotes; empty when nothing is.
        stray: Whether a field without quotes around it holds one.
    """

    def __init__(self, delimiter: str, *, open: bool = False) -> None:
        self.fields: list[str] = []
        self.open = open
        self.fault = ""
        self.stray = False
        self._delimiter = delimiter
        self._parts: list[str] = []

    def feed(self, line: str) -> None:
        """Reads a line."""
        end = len(line.rstrip("\r\n"))
        position = 0
        while True:
            if not self.open:
                if not line.startswith('"', position, end):
                    stop = line.find(self._delimiter, position, end)
                    field = line[position : end if stop < 0 else stop]
                    self.fields.append(field)
                    self.stray = self.stray or '"' in field
                    if stop < 0:
                        return
                    position = stop + 1
                    continue
                self.open = True
                position += 1
            quote = line.find('"', position, end)
            if quote < 0:
                self._parts.append(line[position:])
                return
            self._parts.append(line[position:quote])
            position = quote + 1
            if line.startswith('"', position, end):
                self._parts.append('"')
                position += 1
                continue
            self.fields.append("".join(self._parts))
            self._parts = []
            self.open = False
            if position == end:
                return
            if line[position] != self._delimiter:
                self.fault = "a quote within a quoted field is not doubled, or text follows the quote that closes it"
                return
            position += 1


def num_after_broken(lines: Lines, delimiter: str) -> int | None:
    """How many of the lines that follow belong to a record whose quotes are broken.

    Whether the record ended on its line or goes on within quotes, the next line with a quote tells: `end",b` closes a
    text, `"bar",d` opens one.

    Returns:
        The number of lines; None when it cannot be told, so that no line up to the end of the file can be trusted.
    """
    count = index = size = 0
    while (line := lines.peek(index)) is not None and size < _LONGEST_LOOK:
        index += 1
        if '"' not in line.text:
            size += len(line.text)
            continue
        within, without = Record(delimiter, open=True), Record(delimiter)
        within.feed(line.text)
        without.feed(line.text)
        if within.fault or within.stray:
            return count
        if not (without.fault or without.stray):
            return None
        count = index
        if not within.open:
            return count
    return count
