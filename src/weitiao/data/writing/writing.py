"""Writes rows to a file: JSON Lines, JSON, CSV or Parquet. The file appears whole, or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.data.reading.json_values import check_utf8, to_json
from weitiao.data.reading.rows import shown
from weitiao.data.writing.spool import Spool, Write
from weitiao.errors import DataError
from weitiao.files import sync

if TYPE_CHECKING:
    import pyarrow


FORMATS_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""Kinds of files that are written, by the ending of the name."""

FILE_FORMATS = tuple(dict.fromkeys(FORMATS_BY_SUFFIX.values()))


def file_format(path: Path, format: str | None = None) -> str:
    """The kind of file that is written to a path.

    Args:
        path: The file.
        format: One of `FILE_FORMATS`, for a path whose ending does not tell.

    Raises:
        DataError: Neither says what to write.
    """
    known = ", ".join(FILE_FORMATS)
    if format is not None:
        if format not in FILE_FORMATS:
            raise DataError(f"There is no kind of file `{format}` to write.", f"Kinds are: {known}.")
        return format
    if path.suffix.lower() not in FORMATS_BY_SUFFIX:
        endings = ", ".join(FORMATS_BY_SUFFIX)
        raise DataError(
            f"{shown(path)}: the ending does not say what to write.",
            f"Endings are {endings}; or give --format: {known}.",
        )
    return FORMATS_BY_SUFFIX[path.suffix.lower()]


@contextmanager
def row_writer(path: Path, *, format: str | None = None, schema: pyarrow.Schema | None = None) -> Iterator[Write]:
    """Opens a file for rows, in bounded memory.

    The rows go to a file beside, which takes the place of `path` at the end; when anything goes wrong it is removed,
    and what was there stays. Where all columns have to be known before the first row is written, rows wait in a
    temporary file.

    Args:
        path: The file; its folder is made.
        format: One of `FILE_FORMATS`; by the ending of the path when None.
        schema: The columns and their types, if they are known (Parquet).

    Yields:
        What takes the rows.

    Raises:
        DataError: The file cannot be written, or the rows have no common type for a column (Parquet).
    """
    kind = file_format(path, format)
    beside = path.with_name(f".{path.name}.part")
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Spool(path.parent) as waiting, _opened(kind, path.suffix.lower(), beside, schema, waiting) as write:
                yield write
            sync(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns an error of the operating system into one that names the file that is written, or the folder."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{shown(path)}: cannot be written: {error.strerror or error}.", "Make room, or check the folder."
        ) from error


def _opened(
    kind: str, suffix: str, path: Path, schema: pyarrow.Schema | None, waiting: Spool
) -> AbstractContextManager[Write]:
    if kind == "parquet":
        from weitiao.data.writing.spool import parquet_rows

        return parquet_rows(path, schema, waiting)
    if kind == "csv":
        return _csv_rows(path, "\t" if suffix == ".tsv" else ",", waiting)
    return _json_rows(path, array=kind == "json")


@contextmanager
def _json_rows(path: Path, *, array: bool) -> Iterator[Write]:
    """JSON Lines, or a JSON array with one row per line.

    Half a surrogate pair is written as the escape that JSON has for it.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
        before = "[\n" if array else ""

        def write(row: dict[str, Any]) -> None:
            nonlocal before
            text = to_json(row)
            stream.write(before + text)
            before = ",\n" if array else "\n"

        yield write
        stream.write({"[\n": "[]\n", ",\n": "\n]\n"}.get(before, before))


@contextmanager
def _csv_rows(path: Path, delimiter: str, waiting: Spool) -> Iterator[Write]:
    """Rows wait until the columns of all are known. Nested values become JSON text, null becomes an empty field."""
    columns = dict[str, None]()

    def write(row: dict[str, Any]) -> None:
        fields = {name: _text(name, value) for name, value in row.items()}
        columns.update(dict.fromkeys(fields))
        waiting.append(fields)

    yield write
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(columns), restval="", delimiter=delimiter)
        table.writeheader()
        table.writerows(waiting)


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    # Dates are text in JSON, too; in a field they need no quotes.
    text = value if isinstance(value, str) else to_json(value).strip('"')
    check_utf8(name, text)
    return text
