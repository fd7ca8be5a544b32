"""What a step of `weitiao run` is, what it takes, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

from weitiao.machine.cgroup import forget_peak, peak_bytes
from weitiao.recipe import Recipe
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell
from weitiao.text.wording import Language, Said


@dataclass(frozen=True, slots=True)
class Work:
    """What a step works on.

    Attributes:
        recipe: With `run_dir` set.
        run: The run directory.
        console: Where progress goes.
        tell: Gets every line that a person should see; what steps have in common is told once in a call.
        available: The steps whose results are there and up to date.
        language: Of the report.
    """

    recipe: Recipe
    run: RunDir
    console: Console
    tell: Tell
    available: frozenset[str]
    language: Language

    def has(self, step: str) -> bool:
        """Whether a step's result may be used."""
        return step in self.available


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the work, and everything that decides whether it has to be done again.

    Attributes:
        name: As `--until`, `--redo` and `--skip` say it.
        reads: What it depends on: a section of the recipe, `data.PART` (files that it names count by their content), or
            `packages.KIND` (versions of what is installed).
        writes: Patterns of the files and directories that it leaves in the run directory.
        action: Does it; returns one line about what came out, in each language.
        version: Raised by hand when the step's code gives another result from the same input.
        needs: Steps without whose result it cannot be done.
        uses: Steps whose results it takes when they are there.
        resumes: Whether it goes on from what an interrupted call left; otherwise that is removed first.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    action: Callable[[Work], Said]
    version: int = 1
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    resumes: bool = False

    @property
    def upstream(self) -> tuple[str, ...]:
        """The steps whose results decide about this one's."""
        return (*self.needs, *self.uses)


@dataclass(slots=True)
class Usage:
    """What a step used.

    Attributes:
        seconds: Wall time.
        peak_memory_bytes: Most resident memory of the process; on a GPU, most that PyTorch held there.
    """

    seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure what happens inside; the figures are there at the end, however it ends."""
    import torch

    usage, device = Usage(), "cuda" if torch.cuda.is_available() else "cpu"
    forget_peak(device)
    begun = time.monotonic()
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - begun
        usage.peak_memory_bytes = peak_bytes(device)


def dependants(step: Step, steps: Sequence[Step]) -> list[Step]:
    """The steps that a step's result reaches, over others too."""
    reached = {step.name}
    found = []
    for other in steps:
        if not reached.isdisjoint(other.upstream):
            reached.add(other.name)
            found.append(other)
    return found
