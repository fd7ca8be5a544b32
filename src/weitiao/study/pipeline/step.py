"""What a step of `weitiao run` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from weitiao.recipe import Recipe
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell
from weitiao.text.wording import Language


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


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the work, and everything that decides whether it has to be done again.

    Attributes:
        name: As `--until`, `--redo` and `--skip` say it.
        version: Raised by hand when the step's code gives another result from the same input.
        reads: What it depends on: a section of the recipe, `data.PART` (files that it names count by their content), or
            `packages.KIND` (versions of what is installed).
        needs: Steps without whose result it cannot be done.
        uses: Steps whose results it takes when they are there.
        writes: Patterns of the files and directories that it leaves in the run directory.
        action: Does it; returns one line about what came out.
        resumes: Whether it goes on from what an interrupted call left; otherwise that is removed first.
        forecast: About how many seconds it takes, from what earlier steps left; None when they do not tell.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    writes: tuple[str, ...]
    action: Callable[[Work], str]
    resumes: bool = False
    forecast: Callable[[RunDir], float | None] = lambda run: None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The steps whose results decide about this one's."""
        return (*self.needs, *self.uses)
