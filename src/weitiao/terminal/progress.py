"""How far a piece of work is: a bar on a terminal, a line now and then elsewhere, and one estimate of the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from weitiao.terminal.console import wording_of
from weitiao.text.wording import Language, Wording

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.runs.record import StepRecord

PLAIN_SECONDS = 15.0
_BAR_WIDTH = 20
_SUITE_GRAIN = 0.02  # of all work: the first few texts tell little about the rest
_ROWS_BETWEEN = 1000


class TimeLeft:
    """Estimates the time left from the work that is done.

    Answers of a batch end one by one towards the end of its time, and nobody knows how long they get: the first one
    tells nothing, the first whole batch does. So the speed is measured whenever a further grain of the work is
    complete, and between two grains the time only runs on.

    Args:
        grain: How much of the work is begun and ended together, in the unit that it is counted in.
        clock: Seconds, for tests.
    """

    def __init__(self, grain: float, *, clock: Callable[[], float] | None = None) -> None:
        self._grain, self._clock = grain, clock or time.monotonic
        self._begun = self._clock()
        self._grains = 0
        self._end: float | None = None

    def __call__(self, done: float, total: float) -> float | None:
        """Seconds left; None as long as nothing tells.

        Args:
            done: How much of the work is done.
            total: All of it.
        """
        now = self._clock()
        if (grains := math.floor(done / self._grain)) > self._grains:
            self._grains = grains
            self._end = self._begun + (now - self._begun) / done * total
        if self._end is None or done >= total or now >= self._end:  # slower than before: the next grain tells anew
            return None
        return self._end - now


def left_in_words(seconds: float | None, language: Language = "en") -> str:
    """`about 40 s left`, `about 3 min left`, `about 2 h 5 min left`; empty when nothing is known."""
    if seconds is None:
        return ""
    words, minutes = Wording(language), round(seconds / 60)
    if seconds < 90:
        return words("left.seconds", seconds=f"{seconds:.0f}")
    if minutes < 90:
        return words("left.minutes", minutes=minutes)
    return words("left.hours", hours=minutes // 60, minutes=minutes % 60)


def duration(seconds: float, language: Language = "en") -> str:
    """A time for people: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    return Wording(language).duration(seconds).replace("\N{NO-BREAK SPACE}", " ")


def teller(console: Console) -> Callable[..., None]:
    """Prints a line as it is, in the console's language: no markup, no colours, no wrapping."""
    show = partial(console.print, markup=False, emoji=False, highlight=False, soft_wrap=True)
    words = wording_of(console)

    def tell(line: str, **look: Any) -> None:
        show(words.line(line), **look)

    return tell


class ProgressLine:
    """A line that says how far the work is: on a terminal always the newest one, behind a bar; elsewhere now and then.

    Args:
        console: Where to.
        transient: Whether the bar goes when the work is done.
    """

    def __init__(self, console: Console, *, transient: bool = True) -> None:
        from rich import progress
        from rich.table import Column

        words = progress.TextColumn("{task.description}", markup=False, table_column=Column())  # a long line is wrapped
        columns = (progress.BarColumn(_BAR_WIDTH), words)
        self._tell, self._is_live, self.words = teller(console), console.is_terminal, wording_of(console)
        self._bar = progress.Progress(*columns, console=console, transient=transient, disable=not self._is_live)
        self._task = self._bar.add_task("", total=None)
        self._printed = time.monotonic()

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()

    def show(
        self, line: str, done: float, total: float | None, left: float | None = None, *, due: bool = False
    ) -> None:
        """Say how far it is.

        Args:
            line: In words.
            done: How much is done.
            total: Of how much; None when nobody knows.
            left: Seconds left; None when nothing tells.
            due: Whether a log gets the line in any case, also one at the beginning or the end.
        """
        line = f"{line}  {left_in_words(left, self.words.language)}".rstrip()
        now = time.monotonic()
        if self._is_live:
            self._bar.update(self._task, description=line, completed=done, total=total)
        elif due or (now - self._printed >= PLAIN_SECONDS and 0 < done != total):
            self._printed = now
            self._tell(line)


@contextmanager
def answer_progress(console: Console, *, batch_size: int) -> Iterator[Callable[[int, int], None]]:
    """How many answers are ready; yields what `evaluate` takes as `on_progress`. `batch_size`: written at once."""
    left = TimeLeft(batch_size)
    with ProgressLine(console) as line:
        yield lambda done, total: line.show(
            line.words("progress.answered", done=done, total=total), done, total, left(done, total)
        )


@contextmanager
def retention_progress(console: Console, title: str) -> Iterator[Callable[[str, float], None]]:
    """How far the suite is; yields what `run_retention` takes as `on_progress`. `title`: which model is scored."""
    left = TimeLeft(_SUITE_GRAIN)
    with ProgressLine(console) as line:
        yield lambda part, share: line.show(f"{title}: {part}  {share:.0%}", share, 1.0, left(share, 1.0))


@contextmanager
def row_progress(console: Console) -> Iterator[Callable[[str, int], None]]:
    """How many rows are read or written, and how fast; yields what the data commands take as `on_row`."""
    begun: dict[str, float] = {}

    def tell(step: str, rows: int) -> None:
        if step not in begun:
            begun[step] = time.monotonic()
        elif rows % _ROWS_BETWEEN == 0:
            speed = rows / max(time.monotonic() - begun[step], 1e-6)
            line.show(line.words("progress.rows", step=step, rows=rows, speed=speed), rows, None)

    with ProgressLine(console) as line:
        yield tell


class TrainingLine:
    """Shows a training (a `training.progress.Watcher`): steps, losses, speed, memory and time left."""

    def __init__(self, console: Console) -> None:
        self._line, self._tell = ProgressLine(console, transient=False), teller(console)
        self._left: TimeLeft | None = None
        self._first = self._num_steps = 0

    def start(self, step: int, num_steps: int) -> None:
        self._left, self._num_steps = None, num_steps
        self._line.__enter__()

    def step(self, step: int, loss: float, tokens_per_second: float, by_source: Mapping[str, float]) -> None:
        from weitiao.training.progress import describe_losses, memory_gib

        words = self._line.words
        if is_first := self._left is None:  # it warms everything up: it tells nothing about the others
            self._first, self._left = step, TimeLeft(1)
        total = self._num_steps
        self._line.show(
            words(
                "progress.step",
                step=step,
                total=total,
                losses=describe_losses(loss, by_source, words),
                speed=tokens_per_second,
                memory=memory_gib(),
            ),
            step,
            total,
            self._left(step - self._first, total - self._first),
            due=is_first or step == total,
        )

    def message(self, text: str) -> None:
        self._tell(text)

    def stop(self) -> None:
        self._line.__exit__()


class StepLines:
    """Tells how far `weitiao run` is: a rule with number and time spent before a step, and a line after it.

    Args:
        console: Where to.
        names: Of all steps, in order.
        language: In which it is told.
    """

    def __init__(self, console: Console, names: Sequence[str], language: Language = "en") -> None:
        self._console, self.message, self._words = console, teller(console), Wording(language)
        self._width = max(map(len, names))
        self._told: set[str] = set()
        self._numbers = {name: f"{number}/{len(names)}" for number, name in enumerate(names, start=1)}

    def begins(self, name: str, spent: float) -> None:
        """A step that has to be done."""
        from rich.text import Text

        title = f"{self._numbers[name]} {self._title(name)}"
        if spent >= 1:
            title += "  " + self._words("lines.begins", time=duration(spent, self._words.language))
        self._console.rule(Text(title, style="bold"), align="left")

    def ended(self, name: str, record: StepRecord) -> None:
        """A step that was done."""
        time, memory = duration(record.seconds, self._words.language), f"{record.peak_memory_bytes / 2**30:.1f}"
        step, summary = self._title(name), self._summary(record)
        self.message(self._words("lines.ended", step=step, summary=summary, time=time, memory=memory), style="bold")

    def unchanged(self, name: str, record: StepRecord) -> None:
        """A step whose result is there."""
        self.passed_over(name, "unchanged", summary=self._summary(record))

    def passed_over(self, name: str, why: str, **values: str) -> None:
        """A step that is not done in this call, for one of the reasons `lines.*` of the catalogues."""
        self.message(f"{self._numbers[name]} {name:<{self._width}}  {self._words(f'lines.{why}', **values)}")

    def ends(self, reason: str) -> None:
        """The run ends before its last step."""
        self.message(self._words(f"lines.ends.{reason}"))

    def _title(self, name: str) -> str:
        """What a step is called: its name, and what it is in a language that has not the names of the commands."""
        return name if self._words.language == "en" else f"{name} {self._words.named('step', name)}"

    def _summary(self, record: StepRecord) -> str:
        return (record.summary_zh if self._words.language == "zh" else "") or record.summary

    def once(self, text: str) -> None:
        """What several steps have to say, such as how the data was read: the first time only."""
        if text not in self._told:
            self._told.add(text)
            self.message(text)
