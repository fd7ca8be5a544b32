"""The stages of a recipe, one after the other: each is a run of its own, and the verdict is that of the last one."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from weitiao.recipe.stages import StagedRecipe
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.run import run_pipeline
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import teller
from weitiao.text.wording import Language

if TYPE_CHECKING:
    from rich.console import Console

ON_THE_WAY = frozenset({"baseline", "retention-before", "retention-after", "compare", "verdict", "export"})
"""Steps that only the last stage does: what it leaves is held against the model that there was before all of them."""


def run_stages(
    staged: StagedRecipe,
    *,
    console: Console | None = None,
    until: str | None = None,
    redo: Collection[str] = (),
    skip: Collection[str] = (),
    language: Language = "en",
) -> PipelineResult:
    """Do all stages; what is done already stays done.

    Args:
        staged: The recipe.
        console: Where progress goes; stderr by default.
        until: The last stage to do, or a step of the last stage.
        redo, skip: Steps of the last stage, as for `run_pipeline`.
        language: Of the reports.

    Returns:
        The result of the last stage that was done: an earlier one ends the work where its data has errors.

    Raises:
        WeitiaoError: As `run_pipeline` does.
    """
    console = console or TextConsole(stderr=True)
    names = [*staged.stages]
    last = until if until in staged.stages else names[-1]
    for number, name in enumerate(names, start=1):
        teller(console)(f"Stage {number} of {len(names)}: {name}")
        recipe = staged.recipe(name)
        if name == names[-1]:
            step = None if until in staged.stages else until
            return run_pipeline(recipe, console=console, until=step, redo=redo, skip=skip, language=language)
        result = run_pipeline(recipe, console=console, skip=ON_THE_WAY, language=language)
        if name == last or result.stop is not None:
            return result
    raise AssertionError("there is a stage")
