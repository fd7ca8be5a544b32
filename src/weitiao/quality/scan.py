"""One pass over all rows: findings of single rows, and a table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from weitiao.data.parts.asked import Boilerplate
from weitiao.quality.findings import Findings, Place
from weitiao.quality.look import Measure, Task, look
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Source, shared_in
from weitiao.quality.table import RowTable, TableBuilder


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
