"""JSON and JSON Lines. Which of the two a file is, is decided by its content: both are written under either name."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, get_args

from weitiao.data.config import CanonicalField
from weitiao.data.reading.json_values import JsonError, decode_json, parse_json
from weitiao.data.reading.opening import data_suffix, opened
from weitiao.data.reading.rows import Row, kind_of, shown
from weitiao.data.reading.utf8 import BOM, refuse_utf16, text_lines, whole_text
from weitiao.errors import DataError

_BLANK = re.compile(r"[ \t\r\n]*")
_ONE_KEY = re.compile(r'\{[ \t\r\n]*"((?:[^"\\\x00-\x1f]|\\.)*)"[ \t\r\n]*:[ \t\r\n]*\[')


def read_json(path: Path) -> tuple[str, Iterator[Row]]:
    """Opens a file of JSON rows.

    Args:
        path: JSON Lines, a JSON array, or a JSON object whose only value is the array.

    Returns:
        `JSON` or `JSON Lines`, and the rows.

    Raises:
        DataError: (also while the rows are read) the file cannot be read or is not UTF-8; a JSON array is not valid
            JSON. A bad line of JSON Lines is a row with a problem instead, since the next one can be read.
    """
    if _is_lines(path):
        return "JSON Lines", _lines(path)
    return "JSON", _document(path)


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


def _lines(path: Path) -> Iterator[Row]:
    for number, (line, text, problem) in enumerate(text_lines(path), start=1):
        if problem:
            yield Row(number, line, text, problem)
            continue
        try:
            row = Row(number, line, parse_json(text))
        except JsonError as error:
            row = Row(number, line, text, error.reason)
        yield row


def _document(path: Path) -> Iterator[Row]:
    text = whole_text(path)
    start = _skip_blank(text, 0)
    nested = _ONE_KEY.match(text, start)
    if start == len(text):
        return
    if text[start] == "[":
        end = yield from _array(path, text, start + 1)
    elif nested and _wraps_rows(nested[1]):
        end = yield from _array(path, text, nested.end())
        end = _skip_blank(text, end)
        if text[end : end + 1] != "}":
            raise _invalid(path, json.JSONDecodeError("more follows after the list of rows", text, end))
        end += 1
    else:
        try:
            value, _, _ = decode_json(text, start)
        except json.JSONDecodeError as error:
            raise _invalid(path, error) from error
        raise DataError(
            f"{shown(path)}: holds {kind_of(value)}, not a list of rows.",
            "Write the rows as a JSON array, as an object with the array as its only value, or one per line.",
        )
    if _skip_blank(text, end) != len(text):
        raise _invalid(path, json.JSONDecodeError("more follows after the list of rows", text, _skip_blank(text, end)))


def _array(path: Path, text: str, position: int) -> Generator[Row, None, int]:
    """Decodes the elements of an array one by one, so that only one is held; returns the position after the array."""
    number, line, counted = 0, 1, 0
    position = _skip_blank(text, position)
    if text[position : position + 1] == "]":
        return position + 1
    while True:
        line += text.count("\n", counted, position)
        counted = position
        start = position
        try:
            value, position, problem = decode_json(text, start)
        except json.JSONDecodeError as error:
            raise _invalid(path, error) from error
        number += 1
        yield Row(number, line, text[start:position] if problem else value, problem)
        position = _skip_blank(text, position)
        mark = text[position : position + 1]
        if mark == "]":
            return position + 1
        if mark != ",":
            raise _invalid(path, json.JSONDecodeError("a comma or the end of the list is missing", text, position))
        position = _skip_blank(text, position + 1)


def _skip_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    assert match is not None
    return match.end()


def _invalid(path: Path, error: json.JSONDecodeError) -> DataError:
    cut_off = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
    what = f"{shown(path)}, line {error.lineno}, column {error.colno}: is not valid JSON: {error.msg}"
    if cut_off:
        return DataError(f"{what}; the file ends too early.", "Copy or download the file again: its end is missing.")
    return DataError(f"{what}.", "Correct the file at this place.")
