"""JSON and JSON Lines. Which of the two a file is, is decided by its content: both are written under either name.

Both are read in bounded memory. Bytes that are not UTF-8 become lone surrogates (Python's `surrogateescape`), so that
the columns of the row around them can be told apart. Checks and cleaning read past such rows; all others get a bad row
with its raw text from JSON Lines, and an error for an array, of which they want no half.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, get_args

from weitiao.data.config import CanonicalField
from weitiao.data.reading.json_values import JsonError, decode_json, parse_json
from weitiao.data.reading.opening import (
    BAD_BYTES,
    BOM,
    data_suffix,
    fault,
    num_bytes,
    opened,
    refuse_utf16,
    text_lines,
    utf8_remedy,
    with_escapes,
)
from weitiao.data.reading.rows import Row, kind_of, shown
from weitiao.errors import DataError

_BLANK = re.compile(r"[ \t\r\n]*")
_OPENING = re.compile(r'\[|\{[ \t\r\n]*"((?:[^"\\\x00-\x1f]|\\.)*)"[ \t\r\n]*:[ \t\r\n]*\[')
_LONGEST_OPENING = 1 << 16
_CHUNK_BYTES = 1 << 20
_DELIMITERS = tuple(" \t\r\n,]}")


def read_json(path: Path, *, past_damage: bool = False, chunk_bytes: int = _CHUNK_BYTES) -> tuple[str, Iterator[Row]]:
    """Opens a file of JSON rows.

    Args:
        path: JSON Lines, a JSON array, or a JSON object whose only value is the array.
        past_damage: Whether a row with bytes that are not UTF-8 comes with its columns, with lone surrogates for them,
            and an array is read past it.
        chunk_bytes: How much of an array is read at a time.

    Returns:
        `JSON` or `JSON Lines`, and the rows.

    Raises:
        DataError: (also while the rows are read) the file cannot be read; a JSON array is not valid JSON, or not UTF-8
            and not to be read past that. A bad line of JSON Lines is a row with a problem instead, since the next one
            can be read.
    """
    if _is_lines(path):
        return "JSON Lines", _lines(path, past_damage)
    return "JSON", _document(path, past_damage, chunk_bytes)


def _is_lines(path: Path) -> bool:
    suffix = data_suffix(path)
    with opened(path) as stream:
        start = stream.read(256)
        refuse_utf16(path, start)
        start = start.removeprefix(BOM).lstrip()
        if not start.startswith(b"{"):
            return bool(start) and not start.startswith(b"[") and suffix != ".json"
    with opened(path) as stream:
        first = next(line for line in stream if line.strip(BOM + b" \t\r\n"))
        try:
            text = first.decode("utf-8-sig").strip()
            value, end, _ = decode_json(text, 0)
        except ValueError:
            return suffix != ".json"
        if end < len(text):
            return suffix != ".json"
        return any(line.strip() for line in stream) or not _is_nested(value)


def _is_nested(value: dict[str, Any]) -> bool:
    """Whether an object is a wrapper around the rows, and not itself a row such as `{"messages": [...]}`."""
    return len(value) == 1 and all(isinstance(v, list) and _wraps_rows(key) for key, v in value.items())


def _wraps_rows(key: str) -> bool:
    return key not in get_args(CanonicalField)


def _lines(path: Path, past_damage: bool) -> Iterator[Row]:
    for number, (line, text, problem) in enumerate(text_lines(path), start=1):
        raw = with_escapes(text) if problem else text
        if problem and not past_damage:
            yield Row(number, line, raw, problem)
            continue
        try:
            row = Row(number, line, parse_json(text), problem)
        except JsonError as error:
            row = Row(number, line, raw, problem or error.reason)
        yield row


class _Window:
    """A part of a file, decoded, that moves on.

    Attributes:
        text: The part.
        position: The place in it up to which it was read.
        line: The line of the file on which that is, from 1.
        ended: Whether the file ends with it.
    """

    def __init__(self, path: Path, stream: BinaryIO, chunk_bytes: int) -> None:
        self.text = ""
        self.position = 0
        self.line = 1
        self.ended = False
        self._path = path
        self._column = 0  # characters of that line before the position
        self._offset = 0  # the byte of the file at which the text begins
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        start = stream.read(len(BOM))
        if start == BOM:
            self._offset = len(BOM)
        else:
            self.text = self._decoder.decode(start)

    def more(self) -> None:
        """Reads on; what lies before the position is given up."""
        self._offset += num_bytes(self.text[: self.position])
        rest = self.text[self.position :]
        # A row longer than the window doubles it, so that the cost stays linear.
        data = self._stream.read(max(self._chunk_bytes, len(rest)))
        self.ended = not data
        self.text = rest + self._decoder.decode(data, final=self.ended)
        self.position = 0

    def place(self, at: int) -> tuple[int, int]:
        """The line of a place behind the position, and the characters before it on that line."""
        before = self.text.rfind("\n", self.position, at)
        column = self._column + at - self.position if before < 0 else at - before - 1
        return self.line + self.text.count("\n", self.position, at), column

    def move(self, at: int) -> None:
        """Moves to a place behind the position."""
        self.line, self._column = self.place(at)
        self.position = at

    def skip_blank(self) -> str:
        """Moves to the next character that is no white space, and returns it; empty at the end of the file."""
        while True:
            match = _BLANK.match(self.text, self.position)
            assert match is not None
            self.move(match.end())
            if self.position < len(self.text) or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()

    def opening(self) -> re.Match[str] | None:
        """What comes before the first row; None where no array of rows begins."""
        while len(self.text) - self.position < _LONGEST_OPENING and not self.ended:
            self.more()
        opening = _OPENING.match(self.text, self.position)
        return None if opening is not None and opening[1] is not None and not _wraps_rows(opening[1]) else opening

    def value(self) -> tuple[Any, int, str]:
        """The value at the position, as `decode_json` gives it."""
        while True:
            try:
                value, end, problem = decode_json(self.text, self.position)
            except json.JSONDecodeError as error:
                if self.ended:
                    raise self.invalid(error.msg, error.pos) from error
            else:
                # A number that is cut by the end of the window (`3.` of `3.25`) is one as well.
                if self.text[end : end + 1] in _DELIMITERS or self.ended:
                    return value, end, problem
            self.more()

    def damage(self, end: int) -> tuple[str, int]:
        """What is wrong with the bytes from the position to a place, and its line; empty when nothing is."""
        found = BAD_BYTES.search(self.text, self.position, end)
        if found is None:
            return "", 0
        return fault(self.text, found.start(), self._offset), self.place(found.start())[0]

    def not_utf8(self, damage: str, line: int) -> DataError:
        return DataError(f"{shown(self._path)}, line {line}: {damage}.", utf8_remedy(self._path))

    def invalid(self, said: str, at: int) -> DataError:
        unterminated = said.startswith("Unterminated string")
        damage, line = self.damage(len(self.text) if unterminated else at + 1)
        if damage:
            return self.not_utf8(damage, line)
        line, column = self.place(at)
        what = f"{shown(self._path)}, line {line}, column {column + 1}: is not valid JSON: {said}"
        if at >= len(self.text.rstrip()) or unterminated:
            return DataError(
                f"{what}; the file ends too early.", "Copy or download the file again: its end is missing."
            )
        return DataError(f"{what}.", "Correct the file at this place.")


def _document(path: Path, past_damage: bool, chunk_bytes: int) -> Iterator[Row]:
    """The rows of a JSON array, or of an object with the array as its only value."""
    with opened(path) as stream:
        window = _Window(path, stream, chunk_bytes)
        if not window.skip_blank():
            return
        opening = window.opening()
        if opening is None:
            value, _, _ = window.value()
            raise DataError(
                f"{shown(path)}: holds {kind_of(value)}, not a list of rows.",
                "Write the rows as a JSON array, as an object with the array as its only value, or one per line.",
            )
        window.move(opening.end())
        yield from _array(window, past_damage)
        if opening[1] is not None:
            if window.skip_blank() != "}":
                raise window.invalid("more follows after the list of rows", window.position)
            window.move(window.position + 1)
        if window.skip_blank():
            raise window.invalid("more follows after the list of rows", window.position)


def _array(window: _Window, past_damage: bool) -> Iterator[Row]:
    """The elements of an array, so that only one is held; moves the window behind its end."""
    number, mark = 0, window.skip_blank()
    while mark != "]":
        window.skip_blank()
        value, end, problem = window.value()
        damage, bad_line = window.damage(end)
        if damage and not past_damage:
            raise window.not_utf8(damage, bad_line)
        number += 1
        if problem:
            yield Row(number, window.line, window.text[window.position : end], problem)
        else:
            yield Row(number, window.line, value, f"{damage}, line {bad_line}" if damage else "")
        window.move(end)
        mark = window.skip_blank()
        if mark not in ("]", ","):
            raise window.invalid("a comma or the end of the list is missing", window.position)
        window.move(window.position + (mark == ","))
    window.move(window.position + 1)
