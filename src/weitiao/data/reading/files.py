"""Sources that are opened: from a file, a directory or a hub data set to rows, once or as often as they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from weitiao.data.config import SourceConfig
from weitiao.data.reading.csv_files import read_csv
from weitiao.data.reading.json_files import read_json
from weitiao.data.reading.opening import data_suffix, text_lines, with_escapes
from weitiao.data.reading.paths import data_files, labels, passed_over
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


class PlacedRow(NamedTuple):
    """A row, the file that it stands in as messages print it, and its identity `FILE:ROW`."""

    file: str
    row_id: str
    row: Row


class OpenedSource:
    """A source that was looked at.

    Args:
        config: The source, its path resolved.
        num_head: How many rows to look at.
        past_damage: See `read_json`; a file whose rest cannot be read then ends in a row that says so.

    Attributes:
        config: The source.
        shown: Its name, as messages print it.
        kind: What kind of file it is; several are joined by ` + `.
        paths: The files, absolute, or the hub id.
        files: The same, as messages print them.
        names: What each is called in the identity of a row.
        head: The first rows.

    Raises:
        DataError: There is no such data, it cannot be read, or it has no rows.
    """

    def __init__(self, config: SourceConfig, *, num_head: int = 20, past_damage: bool = False) -> None:
        self.config = config
        self._past_damage = past_damage
        self._tables = self._open()
        self.paths = tuple(table.name for table in self._tables)
        self.files = tuple(table.shown for table in self._tables)
        self.names: Sequence[str] = labels(self.paths)
        self.shown = self.files[0] if len(self.files) == 1 else config.path
        self.kind = " + ".join(dict.fromkeys(table.kind for table in self._tables))
        begun = self._read()
        first = list(islice(begun, num_head))
        self._begun: Iterator[tuple[int, Row]] | None = chain(first, begun)
        self.head = [row for _, row in first]
        if not self.head:
            raise DataError(f"{self.shown}: there are no rows in it.", "Name a source with rows, or leave it out.")

    def rows(self) -> Iterator[PlacedRow]:
        """All rows as they were read, from the first one. The first call goes on after the head, another reads anew."""
        begun, self._begun = self._begun, None
        if begun is None:
            self._tables = self._open()
            begun = self._read()
        return (PlacedRow(self.files[at], f"{self.names[at]}:{row.number}", row) for at, row in begun)

    def findings(self) -> list[str]:
        """What has to be said about what was read so far and what was not, a sentence each."""
        beside = passed_over(Path(self.config.path), [Path(one) for one in self.paths])
        several = len(self._tables) > 1
        notes = [line for one in self._tables for line in one.notes.lines(f"{one.shown}, " if several else "")]
        return [beside, *notes] if beside else notes

    def _open(self) -> tuple[Table, ...]:
        return tuple(open_source(self.config, past_damage=self._past_damage))

    def _read(self) -> Iterator[tuple[int, Row]]:
        rows = chain.from_iterable(self._rows_of(at, table) for at, table in enumerate(self._tables))
        return islice(rows, self.config.limit)

    def _rows_of(self, at: int, table: Table) -> Iterator[tuple[int, Row]]:
        number = 0
        try:
            for row in table.rows:
                number = row.number
                yield at, row
        except DataError as error:
            if not self._past_damage:
                raise
            yield at, Row(number + 1, None, "", f"and what follows cannot be read: {error.what}")


def objects_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The columns of those rows that could be read and are objects."""
    return [row.data for row in rows if isinstance(row.data, dict) and not row.problem]
