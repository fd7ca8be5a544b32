"""Text files as lines of UTF-8, with what is not UTF-8 named by byte and line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weitiao.data.reading.opening import opened
from weitiao.data.reading.rows import shown
from weitiao.errors import DataError

BOM = b"\xef\xbb\xbf"
_WIDE = {
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


def text_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Reads the lines of a file that are not blank.

    Yields:
        The line's number from 1, its text without the line break, and what is wrong with it (normally empty). A line
        that is not UTF-8 comes with its bad bytes written as `\\xNN`: where lines end is known all the same.

    Raises:
        DataError: The file cannot be opened, or is UTF-16.
    """
    offset = 0
    with opened(path) as stream:
        for number, raw in enumerate(stream, start=1):
            line = raw
            if number == 1:
                refuse_utf16(path, raw)
                line = raw.removeprefix(BOM)
            if line.strip():
                start = offset + len(raw) - len(line)
                line = line.rstrip(b"\r\n")
                try:
                    yield number, line.decode("utf-8"), ""
                except UnicodeDecodeError as error:
                    problem = f"is not UTF-8: {_fault(line, error.start)} at byte {start + error.start} of the file"
                    yield number, line.decode("utf-8", errors="backslashreplace"), problem
            offset += len(raw)


def whole_text(path: Path) -> str:
    """Reads a file whose rows cannot be told apart before it is decoded.

    Raises:
        DataError: The file cannot be read, or is not UTF-8; the message names the byte and the line.
    """
    with opened(path) as stream:
        data = stream.read()
    refuse_utf16(path, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from after the byte order mark.
        start = error.start + (len(BOM) if data.startswith(BOM) else 0)
        line = data.count(b"\n", 0, start) + 1
        raise DataError(
            f"{shown(path)}, line {line}: is not UTF-8: {_fault(data, start)} at byte {start} of the file.",
            utf8_remedy(path),
        ) from error


def refuse_utf16(path: Path, start: bytes) -> None:
    """Raises the error for a file that begins as UTF-16 or UTF-32, which no line of it survives.

    Args:
        path: The file.
        start: Its first bytes. Without a byte order mark, every other one of the first four is zero.
    """
    name = next((name for name, marks in _WIDE.items() if start.startswith(marks)), "")
    zeros = [index for index, byte in enumerate(start[:4]) if not byte]
    if zeros in ([0, 2], [1, 3]):
        name = name or ("UTF-16BE" if zeros == [0, 2] else "UTF-16LE")
    if name:
        raise DataError(
            f"{shown(path)}: is {name}, not UTF-8.",
            f"Re-encode it: iconv -f {name} -t UTF-8 {path.name} > new{path.suffix}",
        )


def utf8_remedy(path: Path) -> str:
    """What to do about a file that is not UTF-8."""
    return (
        f"Re-encode the whole file, for example: iconv -f GB18030 -t UTF-8 {path.name} > new{path.suffix} (or "
        "-f WINDOWS-1252); where only these bytes are damaged, correct them. Only rows of line-based files can be "
        "skipped."
    )


def _fault(data: bytes, start: int) -> str:
    """Names the bytes that cannot be decoded, and the most common way in which they come about."""
    found = data[start : start + 3]
    if found[:1] == b"\xed" and b"\xa0" <= found[1:2] <= b"\xbf":
        return f"the bytes {found.hex(' ')} (half of an emoji's surrogate pair, CESU-8 as some exports write it)"
    return f"the bytes {found.hex(' ')}"
