"""What a person sees while answers are generated: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weitiao.evaluation.answers import Progress

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_SECONDS = 15.0


@contextmanager
def answer_progress(console: Console) -> Iterator[Progress]:
    """Show how many answers are ready.

    Args:
        console: Where to.

    Yields:
        What `evaluate` takes as `on_progress`.
    """
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("answering"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(compact=True),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_lines(console: Console) -> Progress:
    begun = printed = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= _PLAIN_SECONDS and 0 < done < total:
            printed = now
            left = (now - begun) / done * (total - done)
            console.print(f"answered {done:,}/{total:,}  {left:.0f} s left", highlight=False)

    return show
