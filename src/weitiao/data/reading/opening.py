"""Opens files, compressed ones too, and reads lines of UTF-8: the boundary to the system and to what unpacks."""

from __future__ import annotations

import bz2
import gzip
import importlib.metadata
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from weitiao.data.reading.rows import shown, unreadable
from weitiao.errors import DataError


def _unpack_zstd(path: Path) -> BinaryIO:
    import pyarrow

    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


_UNPACKERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _unpack_zstd,
}
COMPRESSED = tuple(_UNPACKERS)
"""Endings behind the one that says what kind of file it is: `rows.jsonl.gz`."""


def data_suffix(path: Path) -> str:
    """The ending that says what kind of file it is, in small letters: `.jsonl` of `rows.jsonl.gz`."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading, unpacked where its name says that it is compressed.

    Raises:
        DataError: (also while it is read) The file cannot be read, or is no intact compressed file.
    """
    unpack = _UNPACKERS.get(path.suffix.lower())
    try:
        with path.open("rb") if unpack is None else unpack(path) as stream:
            yield stream
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(path, error) from error
        said = " ".join(str(error).split())
        raise DataError(
            f"{shown(path)}: is no intact {path.suffix} file: {said}.", "Copy or download the file again."
        ) from error


@contextmanager
def loaded_by(library: str, what: str, remedy: str) -> Iterator[None]:
    """The boundary to a library that reads data: whatever it throws becomes an error that says so.

    Args:
        library: Its name on PyPI.
        what: What cannot be read.
        remedy: What to do about it.

    Raises:
        DataError: The library threw something; the message has the kind and the text of it, and the version.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        version = importlib.metadata.version(library)
        raise DataError(f"{what}: {said} ({library} {version})", remedy) from error


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
