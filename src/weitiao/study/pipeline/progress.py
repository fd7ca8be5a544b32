"""What a person sees between the steps: a rule with number, time spent and time left, or a line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from weitiao.runs.record import StepRecord
from weitiao.study.pipeline.step import Step
from weitiao.text.wording import Wording


def duration(seconds: float) -> str:
    """A time for people: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    return Wording("en").duration(seconds).replace("\N{NO-BREAK SPACE}", " ")


class StepLines:
    """Tells how far a run is.

    Args:
        console: Where to.
        steps: All steps, in order.
    """

    def __init__(self, console: Console, steps: Sequence[Step]) -> None:
        self._console = console
        self._width = max(len(step.name) for step in steps)
        self._told: set[str] = set()
        self._numbers = {step.name: f"{number}/{len(steps)}" for number, step in enumerate(steps, start=1)}

    def begins(self, step: Step, spent: float, left: float | None) -> None:
        """A step that has to be done."""
        times = f"{duration(spent)} so far" if spent >= 1 else ""
        if left is not None and left >= 1:
            times = f"{times}, about {duration(left)} left".removeprefix(", ")
        title = f"{self._numbers[step.name]} {step.name}" + (f"  {times}" if times else "")
        self._console.rule(Text(title, style="bold"), align="left")

    def ended(self, step: Step, record: StepRecord) -> None:
        """A step that was done."""
        memory = f", {record.peak_memory_bytes / 2**30:.1f} GiB"
        self._line(f"{step.name}: {record.summary} ({duration(record.seconds)}{memory})", "bold")

    def unchanged(self, step: Step, record: StepRecord) -> None:
        """A step whose result is there."""
        self._line(f"{self._numbers[step.name]} {step.name:<{self._width}}  nothing to do: {record.summary}")

    def left_out(self, step: Step, why: str) -> None:
        """A step that is not done in this call."""
        self._line(f"{self._numbers[step.name]} {step.name:<{self._width}}  {why}")

    def message(self, text: str) -> None:
        """Anything else."""
        self._line(text)

    def once(self, text: str) -> None:
        """What several steps have to say, such as how the data was read: the first time only."""
        if text not in self._told:
            self._told.add(text)
            self._line(text)

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)
