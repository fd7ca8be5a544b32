"""The pass of cleaning: rows are mended into a file of their own, decided about, and copied or rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from weitiao.data.clean_config import CleanConfig
from weitiao.data.reading.rows import Notes
from weitiao.errors import DataError
from weitiao.json_text import json_text
from weitiao.quality.decide import Decisions, decide
from weitiao.quality.findings import Problem
from weitiao.quality.look import look
from weitiao.quality.meaning import Meaning
from weitiao.quality.mend import Mender, set_answer
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Part, findings_of, open_sources
from weitiao.quality.table import RowTable, TableBuilder, tasks

_NOT_IN_JSON = "hold NaN or Infinity, which JSON does not have and which is written as null"


@dataclass(slots=True)
class CleanSummary:
    """What cleaning did.

    Attributes:
        fixes: The fixes that were asked for.
        rows_before, rows_after: Rows that were read, and that were written.
        characters_before, characters_after: Their size as JSON text.
        rows_changed: Rows that were written with another text than they had.
        changed: Rows that each fix changed; a row may be changed by several.
        rejected: Rows that each kind of finding removed.
        unfilled: Rows that stay and hold a placeholder that has no value, by its name.
        notes: What was found while the rows were read and has to be said, a sentence each.
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
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Mended:
    """All rows after mending: their numbers, those that go for what stands in them, placeholders without a value."""

    table: RowTable
    gone: dict[int, Problem]
    unfilled: dict[int, tuple[str, ...]]


class Cleaning:
    """Cleans the training rows.

    Args:
        parts: What is cleaned (`train`), and what it must not leak into.
        config: What to do.
        scratch: A directory for files that go when all is done.
        on_rows: Is told how many rows were looked at since the last time.

    Attributes:
        summary: Counts what happens.

    Raises:
        DataError: A source cannot be read at all, or the training rows do not go into one file.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        config: CleanConfig,
        scratch: Path,
        on_rows: Callable[[int], None],
    ) -> None:
        self.summary = CleanSummary(config.fix)
        self._config = config
        self._scratch = scratch
        self._on_rows = on_rows
        self._lossy = Notes()
        self._sources = open_sources(parts)
        self._train, *others = (source for source in self._sources if source.part == "train")
        for source in others:
            if _columns_of(source.meaning) != _columns_of(self._train.meaning):
                raise DataError(
                    f"{self._train.shown} and {source.shown} have different columns or formats "
                    f"({self._train.meaning.note}; {source.meaning.note}), so they cannot become one cleaned file.",
                    "Clean them one by one, or bring them into one format first: weitiao data convert.",
                )

    def run(self, output: Path, rejected: TextIO) -> None:
        """Cleans.

        Args:
            output: The file for the rows that stay.
            rejected: Gets the rows that go, one JSON object per line.
        """
        lines = self._scratch / "mended.jsonl"
        mended = self._mend(lines)
        self.summary.notes = (*findings_of(self._sources), *self._lossy.lines())
        keep = np.ones(len(mended.table.rows), dtype=bool)
        keep[list(mended.gone)] = False
        self._write(lines, output, rejected, mended, decide(mended.table, keep, self._config))

    def _mend(self, lines: Path) -> _Mended:
        """Mends all rows into a file."""
        summary, fixes = self.summary, frozenset(self._config.fix)
        settings = CheckSettings(kinds=frozenset())
        builder, num_rows = TableBuilder(self._sources), 0
        gone, unfilled = dict[int, Problem](), dict[int, tuple[str, ...]]()
        batches = tasks(self._sources, settings, near="near_duplicate" in fixes, near_leak="near_leak" in fixes)
        with lines.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as stream:
            for (source, file), task in batches:
                mend = Mender(self._config, task.meaning)
                mended = list(map(mend, task.rows)) if task.part == "train" else []
                for index, (row, result) in enumerate(zip(task.rows, mended, strict=False), start=num_rows):
                    given, read = (
                        json_text(row.data, default=str),
                        json.dumps(row.data, ensure_ascii=False, default=str),
                    )
                    writable = result.drop is None and not result.row.problem
                    line = (json_text(result.row.data, default=str) if result.applied else given) if writable else ""
                    stream.write(f"{line}\n{'' if given == line else given}\n")
                    if result.drop is not None:
                        gone[index] = result.drop
                    if result.unfilled:
                        unfilled[index] = result.unfilled
                    if read != given:
                        self._lossy.add(_NOT_IN_JSON, f"{file}, row {row.number}")
                    summary.characters_before += len(read)
                    for fix in result.applied:
                        summary.changed[fix] += 1
                    summary.rows_changed += bool(result.applied) and result.drop is None
                summary.rows_before += len(mended)
                num_rows += len(task.rows)
                self._on_rows(len(task.rows))
                # of other rows only the numbers are wanted
                looked = look(replace(task, rows=[result.row for result in mended]) if mended else task)
                builder.add(looked, source, file)
        return _Mended(builder.table(), gone, unfilled)

    def _write(self, lines: Path, target: Path, rejected: TextIO, mended: _Mended, decisions: Decisions) -> None:
        """Copies the mended lines of rows that stay, and writes the rest as it was read, with the reasons."""
        summary = self.summary
        with (
            lines.open(encoding="utf-8", errors="surrogatepass", newline="\n") as stream,
            target.open("w", encoding="utf-8", newline="\n") as kept,
        ):
            for index in mended.table.rows_of("train").tolist():
                line, given = next(stream), next(stream)
                if decisions.keep[index]:
                    written = self._renamed(line, decisions, index)
                    kept.write(written)
                    summary.rows_after += 1
                    summary.characters_after += len(written) - 1
                    for name in mended.unfilled.get(index, ()):
                        summary.unfilled[name] += 1
                    continue
                problem = mended.gone.get(index)
                kind, reason = (problem.kind, problem.reason) if problem else decisions.reason(index)
                place = mended.table.place(index)
                entry = {"file": place.file, "row": place.row, "line": place.line, "kind": kind, "reason": reason}
                data = line if given == "\n" else given
                rejected.write(f'{json_text(entry)[:-1]}, "data": {data[:-1]}}}\n')
                summary.rejected[kind] += 1

    def _renamed(self, line: str, decisions: Decisions, index: int) -> str:
        if (labels := decisions.renamed.get(index)) is None:
            return line
        data = json.loads(line)
        if not set_answer(data, self._train.meaning, *labels):
            return line
        self.summary.changed["label_typo"] += 1
        self.summary.rows_changed += 1
        return json_text(data) + "\n"


def _columns_of(meaning: Meaning) -> tuple[object, ...]:
    source = meaning.source
    return meaning.format, dict(source.columns), source.prompt, source.system, source.completion
