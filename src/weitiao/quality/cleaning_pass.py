"""One pass of cleaning: rows are mended into a file of their own, decided about, and copied or rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from weitiao.data.clean_config import CleanConfig
from weitiao.errors import DataError
from weitiao.json_text import json_text
from weitiao.quality.decide import Decisions, decide
from weitiao.quality.findings import Problem
from weitiao.quality.look import Looked, Task, look
from weitiao.quality.meaning import Meaning
from weitiao.quality.mend import Mender, set_answer
from weitiao.quality.scan import in_order, tasks
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part, open_sources
from weitiao.quality.table import RowTable, TableBuilder


class Origins(NamedTuple):
    """Where the rows of a cleaned file come from: index in `files`, number of the row, its line."""

    files: list[tuple[str, str]]
    file: NDArray[np.uint32]
    number: NDArray[np.uint32]
    line: NDArray[np.uint32]


@dataclass(slots=True)
class CleanSummary:
    """What cleaning did, over all passes.

    Attributes:
        fixes: The fixes that were asked for.
        rows_before, rows_after: Rows that were read, and that were written.
        characters_before, characters_after: Their size as JSON text.
        rows_changed: Rows that were written with another text than they had.
        changed: Rows that each fix changed; a row may be changed by several.
        rejected: Rows that each kind of finding removed.
        unfilled: Rows that stay and hold a placeholder that has no value, by its name.
        passes: How often the rows were gone through, until nothing changed any more.
    """

    fixes: tuple[str, ...]
    rows_before: int = 0
    rows_after: int = 0
    characters_before: int = 0
    characters_after: int = 0
    rows_changed: int = 0
    changed: dict[str, int] = field(default_factory=Counter)
    rejected: dict[str, int] = field(default_factory=Counter)
    unfilled: dict[str, int] = field(default_factory=Counter)
    passes: int = 0


class _MendedRow(NamedTuple):
    """A row after mending.

    Attributes:
        line: The row as JSON; empty where it goes.
        given: The row as it was read, as JSON; empty where that is the line.
        applied: The fixes that changed it.
        drop: Why it goes, if it does.
        size: Its size as it was read, in characters.
        unfilled: Placeholders in it that have no value.
    """

    line: str
    given: str
    applied: tuple[str, ...]
    drop: Problem | None
    size: int
    unfilled: tuple[str, ...]


class CleaningPass:
    """One pass.

    Args:
        parts: What is cleaned (`train`), and what it must not leak into.
        config: What to do.
        summary: Counts what happens.
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
        summary: CleanSummary,
        scratch: Path,
        workers: int,
        on_rows: Callable[[int], None],
    ) -> None:
        self._config = config
        self._summary = summary
        self._scratch = scratch
        self._workers = workers
        self._on_rows = on_rows
        self._gone: dict[int, Problem] = {}
        self._unfilled: dict[int, tuple[str, ...]] = {}
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

    def run(self, target: Path, rejected: TextIO, origins: Origins | None) -> tuple[Origins, bool]:
        """Cleans.

        Args:
            target: The file for the rows that stay.
            rejected: Gets the rows that go, one JSON object per line.
            origins: Where the rows come from, when they come from an earlier pass.

        Returns:
            Where the rows of `target` come from, and whether anything was changed.
        """
        lines = self._scratch / "mended.jsonl"
        table, changed = self._mend(lines, first=origins is None)
        rows = table.rows_of("train")
        if origins is not None:
            _restore(table, rows, origins)
        keep = np.ones(len(table.number), dtype=bool)
        keep[list(self._gone)] = False
        decisions = decide(table, keep, self._config)
        changed = changed or bool(self._gone) or decisions.changed or bool(decisions.renamed)
        self._write(lines, target, rejected, table, decisions)
        kept = rows[decisions.keep[rows]]
        return Origins(table.files, table.file[kept], table.number[kept], table.line[kept]), changed

    def _mend(self, lines: Path, *, first: bool) -> tuple[RowTable, bool]:
        """Mends all rows into a file; notes those that go for what stands in them, and placeholders without a value."""
        summary, fixes = self._summary, frozenset(self._config.fix)
        settings = CheckSettings(kinds=frozenset())
        builder, num_rows, changed = TableBuilder(self._sources, self._scratch), 0, False
        batches = tasks(self._sources, settings, near="near_duplicate" in fixes, near_leak="near_leak" in fixes)
        mended = partial(_mended, self._config)
        with lines.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for (source, file), (rows, looked) in in_order(mended, batches, workers=self._workers):
                for index, row in enumerate(rows, start=num_rows):
                    stream.write(f"{row.line}\n{row.given}\n")
                    if row.drop is not None:
                        self._gone[index] = row.drop
                    if row.unfilled:
                        self._unfilled[index] = row.unfilled
                    changed = changed or bool(row.applied)
                    summary.characters_before += row.size if first else 0
                    for fix in row.applied:
                        summary.changed[fix] += 1
                    summary.rows_changed += bool(row.applied) and row.drop is None
                summary.rows_before += len(rows) if first else 0
                num_rows += len(looked.numbers)
                self._on_rows(len(looked.numbers))
                builder.add(looked, source, file)
        return builder.table(), changed

    def _write(self, lines: Path, target: Path, rejected: TextIO, table: RowTable, decisions: Decisions) -> None:
        """Copies the mended lines of rows that stay, and writes the rest as it was read, with the reasons."""
        summary = self._summary
        summary.rows_after = summary.characters_after = 0
        summary.unfilled = Counter()
        with (
            lines.open(encoding="utf-8", errors="surrogatepass", newline="\n") as mended,
            target.open("w", encoding="utf-8", newline="\n") as kept,
        ):
            for index in table.rows_of("train").tolist():
                line, given = next(mended), next(mended)
                if decisions.keep[index]:
                    written = self._renamed(line, decisions, index)
                    kept.write(written)
                    summary.rows_after += 1
                    summary.characters_after += len(written) - 1
                    for name in self._unfilled.get(index, ()):
                        summary.unfilled[name] += 1
                    continue
                problem = self._gone.get(index)
                kind, reason = (problem.kind, problem.reason) if problem else decisions.reason(index)
                place = table.place(index)
                entry = {"file": place.file, "row": place.row, "line": place.line, "kind": kind, "reason": reason}
                data = line if given == "\n" else given
                rejected.write(f'{json_text(entry)[:-1]}, "data": {data[:-1]}}}\n')
                summary.rejected[kind] += 1

    def _renamed(self, line: str, decisions: Decisions, index: int) -> str:
        new = decisions.renamed.get(index)
        if new is None:
            return line
        data = json.loads(line)
        if not set_answer(data, self.train.meaning, decisions.old[index], new):
            return line
        self._summary.changed["label_typo"] += 1
        self._summary.rows_changed += 1
        return json_text(data) + "\n"


def _mended(config: CleanConfig, task: Task) -> tuple[list[_MendedRow], Looked]:
    """Mends a batch of training rows; of other rows only the numbers are wanted."""
    if task.part != "train":
        return [], look(task)
    mend = Mender(config, task.meaning)
    results = [mend(row) for row in task.rows]
    rows = []
    for row, result in zip(task.rows, results, strict=True):
        given = json_text(row.data, default=str)
        writable = result.drop is None and not result.row.problem
        line = (json_text(result.row.data, default=str) if result.applied else given) if writable else ""
        size = len(json.dumps(row.data, ensure_ascii=False, default=str))
        rows.append(
            _MendedRow(line, "" if given == line else given, result.applied, result.drop, size, result.unfilled)
        )
    return rows, look(replace(task, rows=[result.row for result in results]))


def _columns_of(meaning: Meaning) -> tuple[object, ...]:
    source = meaning.source
    return meaning.format, dict(source.columns), source.prompt, source.system, source.completion


def _restore(table: RowTable, rows: NDArray[np.int64], origins: Origins) -> None:
    """Makes the places of rows from an earlier pass those that they had at first."""
    offset = len(table.files)
    table.files = [*table.files, *origins.files]
    table.file, table.number, table.line = (array.copy() for array in (table.file, table.number, table.line))
    table.file[rows] = origins.file + np.uint32(offset)
    table.number[rows], table.line[rows] = origins.number, origins.line
