"""Where the rows of a check come from: parts of the data, their sources, and batches of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from weitiao.data.config import SourceConfig
from weitiao.data.parts.asked import Boilerplate, find_boilerplate
from weitiao.data.reading.files import OpenedSource, PlacedRow
from weitiao.data.reading.rows import Row
from weitiao.quality.meaning import Meaning, find_meaning
from weitiao.quality.subject import SubjectReader

PARTS = ("train", "replay", "validation", "test", "against")
"""The parts of the data; the rows of the first two are learned."""
_BATCH_ROWS = 512
HEAD_ROWS = 1_000
"""How many rows tell what the columns mean, and what many rows share."""


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


@dataclass(frozen=True, slots=True)
class Source:
    """A source of a part that was opened (`OpenedSource`), and what its columns mean."""

    part: str
    shown: str
    kind: str
    meaning: Meaning
    files: tuple[str, ...]
    head: Sequence[Row]
    rows: Callable[[], Iterator[PlacedRow]]
    findings: Callable[[], list[str]]

    def __str__(self) -> str:
        return f"{self.shown}: {self.kind}, {self.meaning.note}"

    def batches(self) -> Iterator[tuple[str, list[Row]]]:
        """Batches of rows of one file, each with the file's name."""
        for file, placed in groupby(self.rows(), key=lambda one: one.file):
            while batch := [one.row for one in islice(placed, _BATCH_ROWS)]:
                yield file, batch


def open_sources(parts: Sequence[Part]) -> list[Source]:
    """Opens all sources and finds out what their columns mean.

    Raises:
        DataError: A source cannot be read at all, or holds no rows.
    """
    return [_open(part, config) for part in parts for config in part.sources]


def _open(part: Part, config: SourceConfig) -> Source:
    opened = OpenedSource(config, num_head=HEAD_ROWS, past_damage=True)
    columns = {"input_column": part.input_column, "output_column": part.output_column}
    meaning = find_meaning(config, opened.head, opened.shown, **columns)
    return Source(
        part.name, opened.shown, opened.kind, meaning, opened.files, opened.head, opened.rows, opened.findings
    )


def shared_in(sources: Sequence[Source]) -> Boilerplate:
    """What many of the first rows of a source share, of all sources."""
    shared = Boilerplate()
    for source in sources:
        read = SubjectReader(source.meaning)
        asked = (read(row).asked for row in source.head)
        shared |= find_boilerplate(one for one in asked if one is not None)
    return shared


def names_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """One line per source for people: part, file, kind of file, meaning of the columns."""
    return tuple(f"{one.part}: {one}" for one in sources)


def findings_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """What was found while the sources were read and has to be said, a sentence each."""
    return tuple(f"{one.shown}: {line}" for one in sources for line in one.findings())
