"""What a person sees while answers are generated: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weitiao.evaluation.answers import Progress
from weitiao.terminal.time_left import TimeLeft, left_in_words

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_SECONDS = 15.0


@contextmanager
def answer_progress(console: Console, *, batch_size: int) -> Iterator[Progress]:
    """Show how many answers are ready, and how long the rest will take once a batch is done.

    Args:
        console: Where to.
        batch_size: Answers that are written at once.

    Yields:
        What `evaluate` takes as `on_progress`.
    """
    left = TimeLeft(batch_size)
    if not console.is_terminal:
        yield _plain_lines(console, left)
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("answering"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[left]}"),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, left="")
        yield lambda done, total: bar.update(task, completed=done, total=total, left=left_in_words(left(done, total)))


def _plain_lines(console: Console, left: TimeLeft) -> Progress:
    printed = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal printed
        now, seconds = time.monotonic(), left(done, total)
        if now - printed >= _PLAIN_SECONDS and 0 < done < total:
            printed = now
            console.print(f"answered {done:,}/{total:,}  {left_in_words(seconds)}".rstrip(), highlight=False)

    return show
