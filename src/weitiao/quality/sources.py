"""Where the rows of a check come from: parts of the data, their sources, and batches of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice

from weitiao.data.config import SourceConfig
from weitiao.data.parts.asked import Boilerplate, find_boilerplate
from weitiao.data.reading.files import Table, open_source
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError
from weitiao.quality.meaning import Meaning, find_meaning
from weitiao.quality.subject import SubjectReader

PARTS = ("train", "replay", "validation", "test", "against")
"""The parts of the data; the rows of the first two are learned."""
_BATCH_ROWS = 512
_HEAD_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the data.

    Attributes:
        name: One of `PARTS`; `against` is an evaluation set of which only the inputs matter.
        sources: Where its rows come from, paths absolute.
        input_column, output_column: What the user says about the columns of sources without a known format.
    """

    name: str
    sources: tuple[SourceConfig, ...]
    input_column: str | None = None
    output_column: str | None = None


@dataclass(slots=True)
class Source:
    """A source that was opened: its first rows, what they mean, and all of its rows."""

    part: str
    shown: str
    meaning: Meaning
    kinds: list[str]
    files: list[str]
    batches: Iterator[tuple[str, list[Row]]]

    def __str__(self) -> str:
        return f"{self.shown}: {' + '.join(self.kinds)}, {self.meaning.note}"


def open_sources(parts: Sequence[Part]) -> list[Source]:
    """Opens all sources and finds out what their columns mean.

    Raises:
        DataError: A source cannot be read at all, or holds no rows.
    """
    return [_open(part, config) for part in parts for config in part.sources]


def _open(part: Part, config: SourceConfig) -> Source:
    tables = list(open_source(config, past_damage=True))
    shown = tables[0].shown if len(tables) == 1 else config.path
    rows = islice(_rows(tables), config.limit)
    head = list(islice(rows, _HEAD_ROWS))
    if not head:
        raise DataError(f"{shown}: there are no rows in it.", "Give a file with rows.")
    first = [row for _, row in head]
    meaning = find_meaning(config, first, shown, input_column=part.input_column, output_column=part.output_column)
    kinds = list(dict.fromkeys(table.kind for table in tables))
    files = [table.shown for table in tables]
    return Source(part.name, shown, meaning, kinds, files, _batches(chain(head, rows)))


def _rows(tables: Sequence[Table]) -> Iterator[tuple[Table, Row]]:
    """The rows of all tables; where the rest of one cannot be read, a last row says so."""
    for table in tables:
        number = 0
        try:
            for row in table.rows:
                number = row.number
                yield table, row
        except DataError as error:
            yield table, Row(number + 1, None, "", f"and what follows cannot be read: {error.what}")


def _batches(rows: Iterator[tuple[Table, Row]]) -> Iterator[tuple[str, list[Row]]]:
    """Batches of rows of one file, each with the file's name."""
    for file, placed in groupby(rows, key=lambda one: one[0].shown):
        while batch := [row for _, row in islice(placed, _BATCH_ROWS)]:
            yield file, batch


def shared_in(sources: Sequence[Source]) -> Boilerplate:
    """What many of the first rows of a source share, of all sources; the rows are put back."""
    shared = Boilerplate()
    for source in sources:
        read = SubjectReader(source.meaning)
        head = list(islice(source.batches, -(-_HEAD_ROWS // _BATCH_ROWS)))
        source.batches = chain(head, source.batches)
        asked = (read(row).asked for _, rows in head for row in rows)
        shared |= find_boilerplate(one for one in asked if one is not None)
    return shared


def names_of(sources: Iterable[Source]) -> tuple[str, ...]:
    """One line per source for people: part, file, kind of file, meaning of the columns."""
    return tuple(f"{one.part}: {one}" for one in sources)
