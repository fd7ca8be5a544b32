"""What a person sees while a run goes on: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from weitiao.terminal.time_left import TimeLeft, left_in_words
from weitiao.training.progress import Watcher, describe_losses, memory_gib

PLAIN_SECONDS = 15.0


class LiveBar:
    """A bar with loss, tokens/s, memory and time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._progress.add_task("", total=None, facts="")

    def start(self, step: int, num_steps: int) -> None:
        self._progress.start()
        self._progress.reset(self._task, total=num_steps, completed=step)

    def step(self, step: int, loss: float, tokens_per_second: float, by_source: Mapping[str, float]) -> None:
        facts = f"{describe_losses(loss, by_source)}  {tokens_per_second:.0f} tokens/s  {memory_gib():.1f} GiB  left"
        self._progress.update(self._task, completed=step, facts=facts)

    def message(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def stop(self) -> None:
        self._progress.stop()


class PlainLines:
    """A line now and then, for log files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._printed = 0.0
        self._left: TimeLeft | None = None
        self._first = 0
        self._num_steps = 0

    def start(self, step: int, num_steps: int) -> None:
        self._left, self._num_steps = None, num_steps

    def step(self, step: int, loss: float, tokens_per_second: float, by_source: Mapping[str, float]) -> None:
        now = time.monotonic()
        if self._left is None:  # the first step warms everything up: it tells nothing about the others
            self._first, self._left = step, TimeLeft(1)
        left = left_in_words(self._left(step - self._first, self._num_steps - self._first))
        if now - self._printed < PLAIN_SECONDS and step < self._num_steps:
            return
        self._printed = now
        self.message(
            f"step {step}/{self._num_steps}  {describe_losses(loss, by_source)}  {tokens_per_second:.0f} tokens/s  "
            f"{memory_gib():.1f} GiB  {left}".rstrip()
        )

    def message(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        pass


def watcher(console: Console) -> Watcher:
    """The watcher that suits the console."""
    return LiveBar(console) if console.is_terminal else PlainLines(console)
