"""What a person sees while rows are read and written: their number and speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.data.writing.outputs import OnRow

if TYPE_CHECKING:
    from rich.console import Console

_NUM_ROWS_BETWEEN = 1000
_PLAIN_SECONDS = 15.0


@contextmanager
def row_progress(console: Console) -> Iterator[OnRow]:
    """Show how many rows are done: live on a terminal, as a line now and then elsewhere.

    Args:
        console: Where to.

    Yields:
        What `convert_file`, `split_file` and `mix_files` take as `on_row`.
    """
    if console.is_terminal:
        with console.status("", spinner="line") as status:
            yield _Counter(lambda line, due: status.update(Text(line))).tell
    else:
        yield _Counter(lambda line, due: console.print(line, highlight=False) if due else None).tell


class _Counter:
    """Makes a line of every thousandth row; the line is due when the one before is old enough for a log."""

    def __init__(self, show: Callable[[str, bool], object]) -> None:
        self._show = show
        self._step = ""
        self._begun = self._told = 0.0

    def tell(self, step: str, rows: int) -> None:
        if step == self._step and rows % _NUM_ROWS_BETWEEN:
            return
        now = time.monotonic()
        if step != self._step:
            self._step, self._begun, self._told = step, now, now
            return
        due = now - self._told >= _PLAIN_SECONDS
        self._told = now if due else self._told
        self._show(f"{step}: {rows:,} rows, {rows / max(now - self._begun, 1e-6):,.0f} rows/s", due)
