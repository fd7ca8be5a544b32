"""What a person sees while the suite runs: the part, and the time left; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weitiao.evaluation.retention.run import OnProgress

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 15.0


@contextmanager
def retention_progress(console: Console, title: str) -> Iterator[OnProgress]:
    """Show how far the suite is.

    Args:
        console: Where to.
        title: Which model is scored.

    Yields:
        What `run_retention` takes as `on_progress`.
    """
    if not console.is_terminal:
        yield _plain_lines(console, title)
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(compact=True),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda part, share: bar.update(task, description=f"{title}: {part}", completed=share)


def _plain_lines(console: Console, title: str) -> OnProgress:
    begun = printed = time.monotonic()

    def show(part: str, share: float) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= PLAIN_SECONDS and 0 < share < 1:
            printed = now
            left = (now - begun) / share * (1 - share)
            console.print(f"{title}: {part}  {share:.0%}  {left:.0f} s left", highlight=False)

    return show
