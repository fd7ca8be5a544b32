"""Numbers of all rows, by which they are compared with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weitiao.data.parts.asked import Boilerplate
from weitiao.quality.findings import Findings, Place
from weitiao.quality.labels import LabelNames, Labels
from weitiao.quality.look import ROW, Looked, Measure, Task, look
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import PARTS, Source, shared_in
from weitiao.text.folding import NUM_PLACES


@dataclass(slots=True)
class RowTable:
    """Numbers of all rows, one entry per row, in the order in which they were read.

    Attributes:
        files: The files, as messages print them, with the part of each.
        rows: See `ROW`.
        file, part: Index in `files` and in `PARTS`.
        more_rows, more_keys: Further keys, and the rows they belong to.
        labels: For each part, the answers that may be labels; their numbers are those of the part of a row.
        signatures, input_signatures: See `Looked`.
    """

    files: list[tuple[str, str]]
    rows: NDArray
    file: NDArray[np.uint32]
    part: NDArray[np.uint8]
    more_rows: NDArray[np.int64]
    more_keys: NDArray[np.uint64]
    labels: dict[str, Labels]
    signatures: NDArray[np.uint16]
    input_signatures: NDArray[np.uint16]

    def place(self, row: int) -> Place:
        """Where a row stands."""
        part, file = self.files[int(self.file[row])]
        number, line, *_ = self.rows[row].tolist()
        return Place(PARTS[int(self.part[row])] or part, file, number, line or None)

    def rows_of(self, part: str) -> NDArray[np.int64]:
        """The indices of the rows of a part, ascending."""
        return np.flatnonzero(self.part == PARTS.index(part)).astype(np.int64)

    def rows_read_as(self, part: str) -> NDArray[np.int64]:
        """The indices of the rows of a part's files, those that were moved to another part included; ascending."""
        files = [index for index, (name, _) in enumerate(self.files) if name == part]
        return np.flatnonzero(np.isin(self.file, files)).astype(np.int64)

    def move(self, rows: Iterable[tuple[str, int]], part: str) -> None:
        """Gives training rows to another part.

        Args:
            rows: Files, as messages print them, and numbers of rows.
            part: The part.
        """
        numbers: dict[str, list[int]] = {}
        for file, number in rows:
            numbers.setdefault(file, []).append(number)
        for index, (name, file) in enumerate(self.files):
            if name == "train" and file in numbers:
                moved = (self.file == index) & np.isin(self.rows["number"], numbers[file])
                self.part[moved] = PARTS.index(part)


class TableBuilder:
    """Collects batches into one table.

    Args:
        sources: Where the rows come from.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._names = [(source.part, file) for source in sources for file in source.files]
        self._labels = {part: LabelNames() for part in PARTS}
        self._ids = [np.empty(0, dtype=np.int32)]
        self._parts: list[Looked] = []
        self._files: list[tuple[int, int]] = []
        self._num_rows = 0

    def add(self, looked: Looked, source: Source, file: str) -> None:
        """Adds a batch of rows of one file, of which nothing but numbers is kept."""
        self._ids.append(self._labels[source.part](looked.labels))
        looked.problems, looked.labels = [], []
        looked.more_keys = [(self._num_rows + place, key) for place, key in looked.more_keys]
        self._parts.append(looked)
        self._files.append((self._names.index((source.part, file)), PARTS.index(source.part)))
        self._num_rows += len(looked.rows)

    def table(self) -> RowTable:
        """The table of all batches."""
        sizes = [len(part.rows) for part in self._parts]
        more = [pair for part in self._parts for pair in part.more_keys]
        ids = np.concatenate(self._ids)
        return RowTable(
            files=self._names,
            rows=np.concatenate([np.empty(0, ROW), *(part.rows for part in self._parts)]),
            file=np.repeat(np.array([file for file, _ in self._files], np.uint32), sizes),
            part=np.repeat(np.array([part for _, part in self._files], np.uint8), sizes),
            more_rows=np.array([row for row, _ in more], dtype=np.int64),
            more_keys=np.array([key for _, key in more], dtype=np.uint64),
            labels={part: Labels(ids, numbered.names) for part, numbered in self._labels.items()},
            signatures=_stacked([part.signatures for part in self._parts], sizes),
            input_signatures=_stacked([part.input_signatures for part in self._parts], sizes),
        )


def _stacked(batches: Sequence[NDArray[np.uint16] | None], sizes: Sequence[int]) -> NDArray[np.uint16]:
    """The signatures of all rows, zeros for batches without; none at all where no batch has any."""
    shapes = [(size if any(one is not None for one in batches) else 0, NUM_PLACES) for size in sizes]
    filled = [np.zeros(shape, np.uint16) if one is None else one for one, shape in zip(batches, shapes, strict=True)]
    return np.concatenate([np.empty((0, NUM_PLACES), np.uint16), *filled])


def tasks(
    sources: Sequence[Source], settings: CheckSettings, *, near: bool, near_leak: bool
) -> Iterator[tuple[tuple[Source, str], Task]]:
    """All rows in batches, each with its source and file.

    Args:
        sources: The opened sources.
        settings: What to look for in each row.
        near, near_leak: Whether rows, and inputs, are compared by their likeness.
    """
    shared = shared_in(sources) if near or near_leak else Boilerplate()
    for source in sources:
        sign = near and source.part != "against"
        for file, rows in source.batches():
            yield (source, file), Task(rows, source.meaning, settings, source.part, shared, sign, near_leak)


def scan(
    sources: Sequence[Source],
    settings: CheckSettings,
    findings: Findings,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
    measure: Measure | None = None,
    has_held_out: bool = False,
) -> RowTable:
    """Looks at all rows once.

    Args:
        sources: The opened sources.
        settings: What to look for.
        findings: Gets the problems of single rows.
        on_rows: Is told how many rows were looked at since the last time.
        measure: Counts tokens, for rows that are too long.
        has_held_out: Whether some of the training rows belong to other parts.

    Returns:
        The numbers by which rows are compared.
    """
    has_others = has_held_out or any(source.part not in ("train", "replay") for source in sources)
    near, near_leak = settings.available("near_duplicate"), settings.available("near_leak") and has_others
    builder = TableBuilder(sources)
    for (source, file), task in tasks(sources, settings, near=near, near_leak=near_leak):
        looked = look(task, measure)
        places = [
            Place(source.part, file, number, line or None) for number, line in looked.rows[["number", "line"]].tolist()
        ]
        for place, problem in looked.problems:
            findings.add(places[place], problem)
        builder.add(looked, source, file)
        on_rows(len(places))
    return builder.table()
