"""One pass over all rows, in several processes where it pays: findings of single rows, and a table of all of them."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from weitiao.data.parts.asked import Boilerplate
from weitiao.quality.findings import Findings, Place
from weitiao.quality.look import Measure, Task, look
from weitiao.quality.settings import CheckSettings
from weitiao.quality.sources import Source, shared_in
from weitiao.quality.table import RowTable, TableBuilder

_BATCHES_BEFORE_POOL = 40

Name = TypeVar("Name")
Work = TypeVar("Work")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Work], Result],
    work: Iterator[tuple[Name, Work]],
    *,
    workers: int,
    alone: int = _BATCHES_BEFORE_POOL,
) -> Iterator[tuple[Name, Result]]:
    """Applies a function to pieces of work.

    The first pieces are done in this process: other processes are started only for work that is worth their start.

    Args:
        function: A function of a module, without side effects.
        work: The pieces, each with something that stays here and comes back with the result.
        workers: Processes; 1 starts none.
        alone: How many pieces are done before other processes are started.

    Yields:
        The results in the order of the work; at most three pieces per process are ahead of it.
    """
    for name, piece in islice(work, alone) if workers > 1 else work:
        yield name, function(piece)
    more = next(work, None)
    if more is None:
        return
    # A forked process may inherit a lock that a thread of another library holds.
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[Name, Future[Result]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for name, piece in chain([more], work):
            waiting.append((name, pool.submit(function, piece)))
            if len(waiting) >= 3 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


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
        measure: Counts tokens, for rows that are too long; rows are then looked at in this process.
        has_held_out: Whether some of the training rows belong to other parts.

    Returns:
        The numbers by which rows are compared.
    """
    has_others = has_held_out or any(source.part not in ("train", "replay") for source in sources)
    near, near_leak = settings.available("near_duplicate"), settings.available("near_leak") and has_others
    builder = TableBuilder(sources)
    work = tasks(sources, settings, near=near, near_leak=near_leak)
    workers = settings.workers if measure is None else 1
    for (source, file), looked in in_order(partial(look, measure=measure), work, workers=workers):
        places = [
            Place(source.part, file, number, line or None) for number, line in looked.rows[["number", "line"]].tolist()
        ]
        for place, problem in looked.problems:
            findings.add(places[place], problem)
        builder.add(looked, source, file)
        on_rows(len(places))
    return builder.table()
