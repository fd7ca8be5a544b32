"""Reading as the doctor reads: any size in little memory, and past bytes that are not UTF-8.

The readers of `weitiao.data.reading.files` stop at a JSON array that is not UTF-8, and hold a JSON array whole:
training wants neither half-read files nor files that do not fit. Here bytes that cannot be decoded become lone
surrogates (Python's `surrogateescape`), and the row around them comes with its problem and its columns.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from weitiao.data.config import SourceConfig
from weitiao.data.reading.files import Table, open_source
from weitiao.data.reading.json_values import JsonError, decode_json, parse_json
from weitiao.data.reading.opening import opened
from weitiao.data.reading.rows import Row, shown
from weitiao.data.reading.utf8 import BOM
from weitiao.errors import DataError

NOT_UTF8 = "is not UTF-8"
_CHUNK_BYTES = 1 << 20
_LONGEST_OPENING = 1 << 16
_DELIMITERS = tuple(" \t\r\n,]}")
_BLANK = re.compile(r"[ \t\r\n]*")
_OPENING = re.compile(r'[ \t\r\n]*(\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:[ \t\r\n]*)?\[')
BAD_BYTES = re.compile("[\udc80-\udcff]+")
"""A run of bytes that were not UTF-8, as `surrogateescape` keeps them."""
# JSON has no escape `\x`: behind an even number of backslashes, it can only come from a byte that is not UTF-8.
_WRITTEN_BYTE = re.compile(r"(?<!\\)((?:\\\\)*)\\x([89a-f][0-9a-f])")


def read_tables(source: SourceConfig, *, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[Table]:
    """Opens the tables of a source, as `open_source` does, for reading past damage and in bounded memory.

    Args:
        source: The source, its path absolute.
        chunk_bytes: How much of a JSON array is read at a time.

    Yields:
        Tables. A row with bytes that are not UTF-8 has its `problem`; where its columns can be told apart all the same
        (JSON and JSON Lines), its `data` holds them, with lone surrogates for the bad bytes.

    Raises:
        DataError: There is no such data. While rows are read: what follows cannot be read.
    """
    for table in open_source(source):
        match table.kind:
            case "JSON":
                yield replace(table, rows=_document(Path(table.name), table.rows, chunk_bytes))
            case "JSON Lines":
                yield replace(table, rows=_revived(table.rows))
            case _:
                yield table


def _revived(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of JSON Lines, with the columns of those that are not UTF-8."""
    for row in rows:
        if not row.problem.startswith(NOT_UTF8):
            yield row
            continue
        text = _WRITTEN_BYTE.sub(lambda m: m[1] + chr(0xDC00 + int(m[2], 16)), row.data)
        try:
            yield replace(row, data=parse_json(text))
        except JsonError:
            yield row


class _Window:
    """A part of a file, decoded, that moves on."""

    def __init__(self, path: Path, stream: BinaryIO, chunk_bytes: int) -> None:
        self.path = path
        self.text = ""
        self.position = 0
        self.line = 1
        self.ended = False
        self._counted = 0
        self._offset = 0
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        start = stream.read(len(BOM))
        if start != BOM:
            self.text = self._decoder.decode(start)
        else:
            self._offset = len(BOM)

    def more(self) -> None:
        """Reads on; what lies before the position is given up."""
        self.count_lines()
        self._offset += len(self.text[: self.position].encode("utf-8", errors="surrogateescape"))
        rest = self.text[self.position :]
        # A row longer than the window doubles it, so that the cost stays linear.
        data = self._stream.read(max(self._chunk_bytes, len(rest)))
        self.ended = not data
        self.text = rest + self._decoder.decode(data, final=self.ended)
        self.position = self._counted = 0

    def skip_blank(self) -> str:
        """Moves to the next character that is no white space, and returns it; empty at the end of the file."""
        while True:
            match = _BLANK.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            if self.position < len(self.text) or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Matches at the position what is shorter than 64 Ki characters."""
        self.skip_blank()
        while len(self.text) - self.position < _LONGEST_OPENING and not self.ended:
            self.more()
        return pattern.match(self.text, self.position)

    def count_lines(self) -> int:
        """The line of the position."""
        self.line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self.line

    def fault(self, end: int) -> str:
        """What is wrong with the bytes from the position to `end`; empty when nothing is."""
        found = BAD_BYTES.search(self.text, self.position, end)
        if found is None:
            return ""
        before = self.text[: found.start()]
        byte = self._offset + len(before.encode("utf-8", errors="surrogateescape"))
        line = self.line + before.count("\n", self._counted)
        bad = found[0].encode("utf-8", errors="surrogateescape").hex(" ")
        return f"{NOT_UTF8}: the bytes {bad} at byte {byte} of the file, line {line}"

    def invalid(self, said: str, position: int) -> DataError:
        line = self.line + self.text.count("\n", self._counted, position)
        return DataError(
            f"{shown(self.path)}, line {line}: is not valid JSON: {said}; what follows cannot be read.",
            "Correct the file at this place.",
        )


def _document(path: Path, whole: Iterator[Row], chunk_bytes: int) -> Iterator[Row]:
    """The rows of a JSON array, or of an object with the array as its only value.

    Args:
        path: The file.
        whole: Its rows as the ordinary reader gives them, which has the right error for a file without such an array.
        chunk_bytes: How much is read at a time.
    """
    with opened(path) as stream:
        window = _Window(path, stream, chunk_bytes)
        opening = window.match(_OPENING)
        if opening is None:
            yield from whole
            return
        window.position = opening.end()
        yield from _array(window)
        if opening[1] and window.skip_blank() == "}":
            window.position += 1
        if window.skip_blank():
            raise window.invalid("more follows after the list of rows", window.position)


def _array(window: _Window) -> Iterator[Row]:
    """The elements of an array; moves the window behind its end."""
    number = 0
    if window.skip_blank() == "]":
        window.position += 1
        return
    while True:
        window.skip_blank()
        while True:
            try:
                value, end, problem = decode_json(window.text, window.position)
            except json.JSONDecodeError as error:
                if window.ended:
                    raise window.invalid(error.msg, error.pos) from error
            else:
                # A number that is cut by the end of the window (`3.` of `3.25`) is one as well.
                if window.text[end : end + 1] in _DELIMITERS or window.ended:
                    break
            window.more()
        number += 1
        line = window.count_lines()
        row = Row(number, line, value, window.fault(end))
        if problem:
            row = replace(row, data=window.text[window.position : end], problem=problem)
        window.position = end
        yield row
        mark = window.skip_blank()
        window.position += 1
        if mark == "]":
            return
        if mark != ",":
            raise window.invalid("a comma or the end of the list is missing", window.position - 1)
