"""Text files as lines of UTF-8, with what is not UTF-8 named by byte and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from weitiao.data.reading.opening import opened
from weitiao.data.reading.rows import shown
from weitiao.errors import DataError

BOM = b"\xef\xbb\xbf"
NOT_UTF8 = "is not UTF-8"
"""How the problem of a row begins that holds such bytes."""
BAD_BYTES = re.compile("[\udc80-\udcff]+")
"""A run of bytes that were not UTF-8, as Python's `surrogateescape` keeps them: as lone surrogates."""
_WIDE = {
    "UTF-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "UTF-16": (b"\xff\xfe", b"\xfe\xff"),
}
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


def text_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Reads the lines of a file that are not blank.

    Yields:
        The line's number from 1, its text without the line break, and what is wrong with it (normally empty). Bytes
        that are not UTF-8 come as lone surrogates: where lines end is known all the same.

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
                text = line.rstrip(b"\r\n").decode("utf-8", errors="surrogateescape")
                found = BAD_BYTES.search(text)
                start = offset + len(raw) - len(line)
                yield number, text, fault(text, found.start(), start) if found is not None else ""
            offset += len(raw)


def num_bytes(text: str) -> int:
    """The bytes that a text was decoded from, those that are not UTF-8 included."""
    return len(text.encode("utf-8", errors="surrogateescape"))


def with_escapes(text: str) -> str:
    r"""The text with bytes that are not UTF-8 written as `\xNN`."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")


def fault(text: str, at: int, offset: int) -> str:
    """Says that a text is not UTF-8, and where, with the most common way in which such bytes come about.

    Args:
        text: The text, with lone surrogates for bytes that are not UTF-8.
        at: Where the first of them stands.
        offset: The byte of the file at which the text begins.
    """
    found = text[at : at + 3].encode("utf-8", errors="surrogateescape")[:3]
    named = f"the bytes {found.hex(' ')}"
    if found[:1] == b"\xed" and b"\xa0" <= found[1:2] <= b"\xbf":
        named += " (half of an emoji's surrogate pair, CESU-8 as some exports write it)"
    return f"{NOT_UTF8}: {named} at byte {offset + num_bytes(text[:at])} of the file"


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
