"""`weitiao run`: all steps of the work in order, each done only if what it depends on has changed."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from rich.console import Console

from weitiao.errors import RecipeError, RunError
from weitiao.files import full_disk_is_named
from weitiao.recipe import Recipe
from weitiao.runs.record import read_records
from weitiao.runs.run_dir import RunDir
from weitiao.study.pipeline.keys import Identities
from weitiao.study.pipeline.pipeline import Pipeline
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.pipeline.step import Step
from weitiao.study.pipeline.steps import STEPS
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import StepLines
from weitiao.text.wording import Language


def run_pipeline(
    recipe: Recipe,
    *,
    console: Console | None = None,
    until: str | None = None,
    redo: Collection[str] = (),
    skip: Collection[str] = (),
    language: Language = "en",
    steps: Sequence[Step] = STEPS,
) -> PipelineResult:
    """Do what a recipe says, from the data check to the report; go on where an earlier call stopped.

    Args:
        recipe: With `run_dir` set.
        console: Where progress goes; stderr by default.
        until: The last step to do.
        redo: Steps to do again although nothing has changed.
        skip: Steps to leave out; what needs them is left out as well, and the report says so.
        language: Of the report.
        steps: The steps, in order.

    Returns:
        What was done and what came out.

    Raises:
        RunError: Another process has the run directory.
        WeitiaoError: Something else that the user can put right; the message says what.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    _require_known(steps, [*redo, *skip, *([until] if until else [])])
    _require_test_rows(recipe)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError(
            "`weitiao run` is one process, and torchrun started several.",
            "Train with `torchrun -m weitiao train RECIPE`; `weitiao run RECIPE` then takes the training over.",
        )
    run = RunDir(recipe.run_dir)
    console = console or TextConsole(stderr=True)
    with run.locked(), full_disk_is_named(f"a file in {run.path}", "Free some space, then run it again."):
        pipeline = Pipeline(
            recipe=recipe,
            run=run,
            console=console,
            steps=tuple(steps),
            redo=frozenset(redo),
            skip=frozenset(skip) | _not_asked_for(recipe),
            language=language,
            records=read_records(run.path),
            identities=Identities(recipe),
            lines=StepLines(console, [step.name for step in steps]),
        )
        return pipeline.go(until)


def _require_known(steps: Sequence[Step], names: Sequence[str]) -> None:
    known = [step.name for step in steps]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RecipeError(f"There is no step `{unknown[0]}`.", f"Steps: {', '.join(known)}.")


def _require_test_rows(recipe: Recipe) -> None:
    if recipe.data.test is None:
        raise RecipeError(
            "The recipe holds out no test rows: there is nothing to show that tuning helped.",
            "Add data.test=FILE, or a fraction: data.test=0.1.",
        )


def _not_asked_for(recipe: Recipe) -> frozenset[str]:
    """Steps that the recipe itself leaves out."""
    wanted = recipe.retention.suite != "none" or recipe.retention.tasks
    return frozenset() if wanted else frozenset({"retention-before", "retention-after"})
