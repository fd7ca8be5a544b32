"""Opens files of text, compressed ones too: the one boundary to the operating system and to what unpacks."""

from __future__ import annotations

import bz2
import gzip
import importlib.metadata
import io
import lzma
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
