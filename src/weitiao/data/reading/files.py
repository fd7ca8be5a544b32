"""Readers: from a file, a directory or a hub data set to rows, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from weitiao.data.config import SourceConfig
from weitiao.data.reading.csv_files import read_csv
from weitiao.data.reading.json_files import read_json
from weitiao.data.reading.opening import data_suffix, text_lines, with_escapes
from weitiao.data.reading.paths import data_files
from weitiao.data.reading.rows import Notes, Row, shown
from weitiao.data.reading.typed_files import is_saved_dataset, read_hub, read_parquet, read_saved_dataset
from weitiao.errors import DataError


@dataclass(frozen=True, slots=True)
class Table:
    """A file, or a hub data set, whose rows are read when they are asked for.

    Attributes:
        name: The absolute path, or the hub id.
        shown: The name as messages print it.
        kind: What the file turned out to be: `JSON`, `JSON Lines`, `CSV`, `Parquet`, `text lines`, `hub`.
        rows: The rows, once.
        notes: What is found while the rows are read and has to be said.
    """

    name: str
    shown: str
    kind: str
    rows: Iterator[Row]
    notes: Notes = field(default_factory=Notes)


def open_source(source: SourceConfig, *, past_damage: bool = False) -> Iterator[Table]:
    """Opens the tables of a source, one after the other.

    Args:
        source: The source, its path resolved (`resolve_paths`).
        past_damage: See `read_json`.

    Raises:
        DataError: There is no such data, or it cannot be read.
    """
    path = Path(source.path)
    notes = Notes()
    if not path.is_absolute():
        rows = read_hub(source.path, source.subset, source.split, notes)
        yield Table(source.path, source.path, "hub", rows, notes)
        return
    if source.subset is not None:
        raise DataError(
            f"{shown(path)}: only a hub data set has subsets, but `subset: {source.subset}` is set.", "Remove `subset`."
        )
    if is_saved_dataset(path):
        rows = read_saved_dataset(path, source.split, notes)
        yield Table(str(path), shown(path), "saved data set", rows, notes)
        return
    for file in data_files(path, source.split):
        notes = Notes()
        kind, rows = _read(file, notes, past_damage)
        yield Table(str(file), shown(file), kind, rows, notes)


def _read(path: Path, notes: Notes, past_damage: bool) -> tuple[str, Iterator[Row]]:
    match data_suffix(path):
        case ".csv" | ".tsv":
            return "CSV", read_csv(path, notes)
        case ".parquet":
            return "Parquet", read_parquet(path, notes)
        case ".txt":
            return "text lines", _text(path)
        case _:
            return read_json(path, past_damage=past_damage)


def _text(path: Path) -> Iterator[Row]:
    """One row per line that is not blank."""
    for number, (line, text, problem) in enumerate(text_lines(path), start=1):
        yield Row(number, line, with_escapes(text) if problem else {"text": text}, problem)
