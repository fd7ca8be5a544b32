"""One pass of cleaning: rows are mended into a file of their own, decided about, and copied or rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from weitiao.data.clean_config import CleanConfig
from weitiao.data.parts.boilerplate import Boilerplate
from weitiao.errors import DataError
from weitiao.json_text import json_text
from weitiao.quality.decide import Decisions, Labels, decide
from weitiao.quality.findings import Problem
from weitiao.quality.look import Looked, Task, look
from weitiao.quality.meaning import Meaning
from weitiao.quality.mend import Mender, set_answer
from weitiao.quality.pool import in_order
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import PARTS, Part, Source, open_sources, shared_in
from weitiao.quality.table import RowTable, TableBuilder

_MOST_LABELS = 5_000


class Origins(NamedTuple):
    """Where the rows of a cleaned file come from: index in `files`, number of the row, its line."""

    files: list[tuple[str, str]]
    file: NDArray[np.uint32]
    number: NDArray[np.uint32]
    line: NDArray[np.uint32]


@dataclass(slots=True)
class CleanTally:
    """Counts what cleaning does, over all passes."""

    rows_before: int = 0
    rows_after: int = 0
    characters_before: int = 0
    characters_after: int = 0
    rows_changed: int = 0
    unfilled: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


class _Work(NamedTuple):
    config: CleanConfig
    task: Task


class _Batch(NamedTuple):
    """Mended rows: the line of each (empty where there is none), fixes that changed it, why it goes, its old size."""

    lines: list[str]
    applied: list[tuple[str, ...]]
    drops: list[Problem | None]
    sizes: list[int]
    unfilled: list[tuple[str, ...]]
    looked: Looked


class CleaningPass:
    """One pass.

    Args:
        parts: What is cleaned (`train`), and what it must not leak into.
        config: What to do.
        scratch: A directory for files that go when all is done.
        workers: Processes.
        on_rows: Is told how many rows were looked at since the last time.

    Attributes:
        train: The first source of the training rows.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        config: CleanConfig,
        scratch: Path,
        workers: int,
        on_rows: Callable[[int], None],
    ) -> None:
        self._parts = parts
        self._config = config
        self._scratch = scratch
        self._workers = workers
        self._on_rows = on_rows
        self._sources = open_sources(parts)
        training = [source for source in self._sources if source.part == "train"]
        self.train = training[0]
        for source in training[1:]:
            if _columns_of(source.meaning) != _columns_of(self.train.meaning):
                raise DataError(
                    f"{self.train.shown} and {source.shown} have different columns or formats "
                    f"({self.train.meaning.note}; {source.meaning.note}), so they cannot become one cleaned file.",
                    "Clean them one by one, or bring them into one format first: weitiao data convert.",
                )

    def run(self, target: Path, rejected: TextIO, tally: CleanTally, origins: Origins | None) -> tuple[Origins, bool]:
        """Cleans.

        Args:
            target: The file for the rows that stay.
            rejected: Gets the rows that go, one JSON object per line.
            tally: Counts what happens.
            origins: Where the rows come from, when they come from an earlier pass.

        Returns:
            Where the rows of `target` come from, and whether anything was changed.
        """
        lines = self._scratch / "mended.jsonl"
        gone: dict[int, tuple[str, str]] = {}
        unfilled: dict[int, tuple[str, ...]] = {}
        table, labels, changed = self._mend(lines, gone, unfilled, tally, first=origins is None)
        rows = table.rows_of("train")
        if origins is not None:
            _restore(table, rows, origins)
        keep = _all_but(table, gone)
        decisions = decide(table, keep, labels, self._config)
        changed = changed or bool(gone) or decisions.changed or bool(decisions.renamed)
        self._write(lines, target, rejected, tally, table, gone, unfilled, decisions)
        kept = rows[decisions.keep[rows]]
        return Origins(table.files, table.file[kept], table.number[kept], table.line[kept]), changed

    def _mend(
        self,
        lines: Path,
        gone: dict[int, tuple[str, str]],
        unfilled: dict[int, tuple[str, ...]],
        tally: CleanTally,
        *,
        first: bool,
    ) -> tuple[RowTable, Labels, bool]:
        """Mends all rows into a file; notes those that go for what stands in them, and placeholders without a value."""
        fixes = frozenset(self._config.fix)
        near, near_leak = "near_duplicate" in fixes, "near_leak" in fixes
        shared = shared_in(self._sources) if near or near_leak else Boilerplate()
        names = [(source.part, file) for source in self._sources for file in source.files]
        settings = CheckSettings(kinds=frozenset())
        builder, labels = TableBuilder(self._scratch), LabelColumn()
        num_rows, changed = 0, False

        def work() -> Iterator[tuple[tuple[Source, str], _Work]]:
            for source in self._sources:
                sign = near and source.part == "train"
                for file, rows in source.batches:
                    task = Task(rows, source.meaning, settings, source.part, shared, sign, near_leak)
                    yield (source, file), _Work(self._config, task)

        with lines.open("w", encoding="utf-8", newline="\n") as stream:
            for (source, file), batch in in_order(_mended, work(), workers=self._workers):
                labels.add(batch.looked.labels if source.part == "train" else [None] * len(batch.looked.labels))
                builder.add(batch.looked, names.index((source.part, file)), PARTS.index(source.part))
                for place, line in enumerate(batch.lines):
                    stream.write(line + "\n")
                    drop = batch.drops[place]
                    if drop is not None:
                        gone[num_rows + place] = (drop.kind, intern(drop.reason))
                    if batch.unfilled[place]:
                        unfilled[num_rows + place] = batch.unfilled[place]
                    changed = changed or bool(batch.applied[place])
                    if first:
                        tally.characters_before += batch.sizes[place]
                    tally.changed.update(batch.applied[place])
                    tally.rows_changed += bool(batch.applied[place]) and drop is None
                num_rows += len(batch.looked.numbers)
                if first and source.part == "train":
                    tally.rows_before += len(batch.lines)
                self._on_rows(len(batch.looked.numbers))
        return builder.table(names), labels.labels(num_rows), changed

    def _write(
        self,
        lines: Path,
        target: Path,
        rejected: TextIO,
        tally: CleanTally,
        table: RowTable,
        gone: dict[int, tuple[str, str]],
        unfilled: dict[int, tuple[str, ...]],
        decisions: Decisions,
    ) -> None:
        """Copies the mended lines of rows that stay, and writes the rest as it was read, with the reasons."""
        again = [part for part in self._parts if part.name == "train"]
        read = (row for source in open_sources(again) for _, rows in source.batches for row in rows)
        tally.rows_after = tally.characters_after = 0
        tally.unfilled.clear()
        with (
            lines.open(encoding="utf-8", newline="\n") as mended,
            target.open("w", encoding="utf-8", newline="\n") as kept,
        ):
            for index, row, line in zip(table.rows_of("train").tolist(), read, mended, strict=False):
                if decisions.keep[index]:
                    written = self._renamed(line, decisions, index, tally)
                    kept.write(written)
                    tally.rows_after += 1
                    tally.unfilled.update(unfilled.get(index, ()))
                    tally.characters_after += len(written) - 1
                    continue
                kind, reason = gone.get(index) or decisions.reason(index)
                place = table.place(index)
                entry = {"file": place.file, "row": place.row, "line": place.line, "kind": kind, "reason": reason}
                rejected.write(json_text({**entry, "data": row.data}, default=str) + "\n")
                tally.rejected[kind] += 1

    def _renamed(self, line: str, decisions: Decisions, index: int, tally: CleanTally) -> str:
        new = decisions.renamed.get(index)
        if new is None:
            return line
        data = json.loads(line)
        if not set_answer(data, self.train.meaning, decisions.old[index], new):
            return line
        tally.changed["label_typo"] += 1
        tally.rows_changed += 1
        return json_text(data) + "\n"


class LabelColumn:
    """The answer of each row, where it is short, as a number; given up when there are too many for labels."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._parts: list[NDArray[np.int32]] = []

    def add(self, labels: Sequence[str | None]) -> None:
        """Adds a batch; None is an answer too long for a label, or none at all."""
        full = len(self._ids) > _MOST_LABELS
        ids = [-1 if label is None or full else self._ids.setdefault(label, len(self._ids)) for label in labels]
        self._parts.append(np.array(ids, dtype=np.int32))

    def labels(self, num_rows: int) -> Labels:
        """All of them; none when there are too many different ones."""
        if len(self._ids) > _MOST_LABELS or not self._parts:
            return Labels(np.full(num_rows, -1, dtype=np.int32), [])
        return Labels(np.concatenate(self._parts), list(self._ids))


def _mended(work: _Work) -> _Batch:
    """Mends a batch of training rows; of other rows only the numbers are wanted."""
    task = work.task
    if task.part != "train":
        return _Batch([], [], [], [], [], look(task))
    mend = Mender(work.config, task.meaning)
    results = [mend(row) for row in task.rows]
    lines = []
    for result in results:
        writable = result.drop is None and not result.row.problem
        lines.append(json_text(result.row.data, default=str) if writable else "")
    return _Batch(
        lines=lines,
        applied=[result.applied for result in results],
        drops=[result.drop for result in results],
        sizes=[len(json.dumps(row.data, ensure_ascii=False, default=str)) for row in task.rows],
        unfilled=[result.unfilled for result in results],
        looked=look(replace(task, rows=[result.row for result in results])),
    )


def _columns_of(meaning: Meaning) -> tuple[object, ...]:
    source = meaning.source
    return meaning.format, dict(source.columns), source.prompt, source.system, source.completion


def _all_but(table: RowTable, gone: dict[int, tuple[str, str]]) -> NDArray[np.bool_]:
    keep = np.ones(len(table.number), dtype=bool)
    keep[np.fromiter(gone, dtype=np.int64, count=len(gone))] = False
    return keep


def _restore(table: RowTable, rows: NDArray[np.int64], origins: Origins) -> None:
    """Makes the places of rows from an earlier pass those that they had at first."""
    offset = len(table.files)
    table.files = [*table.files, *origins.files]
    table.file, table.number, table.line = (array.copy() for array in (table.file, table.number, table.line))
    table.file[rows] = origins.file + np.uint32(offset)
    table.number[rows], table.line[rows] = origins.number, origins.line
