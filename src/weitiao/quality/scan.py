"""One pass over all rows: findings of single rows, and a table of numbers by which rows are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from weitiao.data.example import Example
from weitiao.data.parts.boilerplate import Boilerplate
from weitiao.quality.findings import Findings, Place, Problem
from weitiao.quality.labels import LabelCounts
from weitiao.quality.look import Task, look
from weitiao.quality.pool import in_order
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import PARTS, Source, shared_in
from weitiao.quality.table import RowTable, TableBuilder


class Measured(NamedTuple):
    """The length of an example, in tokens.

    Attributes:
        length: All tokens.
        supervised: Those that are learned.
        problem: Why it has none, such as a chat template that refuses it; empty otherwise.
    """

    length: int
    supervised: int
    problem: str = ""


Measure = Callable[[Sequence[Example]], Sequence[Measured]]
"""Counts the tokens of examples."""


@dataclass(slots=True)
class Scan:
    """What one pass gave.

    Attributes:
        table: The numbers.
        labels: The answers that may be labels, for each part but `against`.
    """

    table: RowTable
    labels: dict[str, LabelCounts]


def scan(
    sources: Sequence[Source],
    settings: CheckSettings,
    findings: Findings,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
    measure: Measure | None = None,
    scratch: Path | None = None,
    has_held_out: bool = False,
) -> Scan:
    """Looks at all rows once.

    Args:
        sources: The opened sources.
        settings: What to look for.
        findings: Gets the problems of single rows.
        on_rows: Is told how many rows were looked at since the last time.
        measure: Counts tokens, for rows that are too long; rows are then looked at in this process.
        scratch: A directory for signatures, which lie in files while they are used.
        has_held_out: Whether some of the training rows belong to other parts.
    """
    names = [(source.part, file) for source in sources for file in source.files]
    has_others = has_held_out or any(source.part not in ("train", "replay") for source in sources)
    shared = Boilerplate()
    near = settings.available("near_duplicate")
    near_leak = settings.available("near_leak") and has_others
    if near or near_leak:
        shared = shared_in(sources)
    columns = TableBuilder(scratch)
    labels = {part: LabelCounts() for part in PARTS[:-1]}

    def tasks() -> Iterator[tuple[tuple[Source, str], Task]]:
        for source in sources:
            for file, rows in source.batches:
                sign = near and source.part != "against"
                keep = measure is not None
                yield (source, file), Task(rows, source.meaning, settings, source.part, shared, sign, near_leak, keep)

    workers = 1 if measure is not None else settings.workers
    for (source, file), looked in in_order(look, tasks(), workers=workers):
        places = [
            Place(source.part, file, number, line or None)
            for number, line in zip(looked.numbers.tolist(), looked.lines.tolist(), strict=True)
        ]
        for place, problem in looked.problems:
            findings.add(places[place], problem)
        if measure is not None and settings.max_tokens is not None and looked.examples is not None:
            for place, problem in _too_long(looked.examples, measure, settings.max_tokens):
                if problem.kind in settings.kinds:
                    findings.add(places[place], problem)
        if source.part != "against":
            labels[source.part].add(looked.labels, places)
        columns.add(looked, names.index((source.part, file)), PARTS.index(source.part))
        on_rows(len(places))
    return Scan(columns.table(names), labels)


def _too_long(examples: Sequence[Example | None], measure: Measure, limit: int) -> Iterator[tuple[int, Problem]]:
    known = [(place, example) for place, example in enumerate(examples) if example is not None]
    for (place, _), measured in zip(known, measure([example for _, example in known]), strict=True):
        if measured.problem:
            yield place, Problem("format", measured.problem)
        elif measured.length > limit:
            yield place, Problem("long", f"more than {limit:,} tokens", "", f"{measured.length:,} tokens")
