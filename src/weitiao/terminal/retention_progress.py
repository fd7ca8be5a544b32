"""What a person sees while the suite runs: the part, and the time left; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weitiao.retention.run import OnProgress
from weitiao.terminal.time_left import TimeLeft, left_in_words

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 15.0
_GRAIN = 0.02  # of all work: the first few texts tell little about the rest


@contextmanager
def retention_progress(console: Console, title: str) -> Iterator[OnProgress]:
    """Show how far the suite is.

    Args:
        console: Where to.
        title: Which model is scored.

    Yields:
        What `run_retention` takes as `on_progress`.
    """
    left = TimeLeft(_GRAIN)
    if not console.is_terminal:
        yield _plain_lines(console, title, left)
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[left]}"),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0, left="")
        yield lambda part, share: bar.update(
            task, description=f"{title}: {part}", completed=share, left=left_in_words(left(share, 1.0))
        )


def _plain_lines(console: Console, title: str, left: TimeLeft) -> OnProgress:
    printed = time.monotonic()

    def show(part: str, share: float) -> None:
        nonlocal printed
        now, seconds = time.monotonic(), left(share, 1.0)
        if now - printed >= PLAIN_SECONDS and 0 < share < 1:
            printed = now
            console.print(f"{title}: {part}  {share:.0%}  {left_in_words(seconds)}".rstrip(), highlight=False)

    return show
