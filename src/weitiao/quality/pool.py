"""Batches of work in several processes, with the results in the order of the work."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import TypeVar

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
