"""`weitiao baseline`."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, Overrides, base_settings
from weitiao.console import quoted

if TYPE_CHECKING:
    from weitiao.baseline.advice import Advice


def baseline(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    models: Annotated[str | None, typer.Option(help="Candidate models, separated by commas.")] = None,
    shots: Annotated[str | None, typer.Option(help="Numbers of solved examples to try, separated by commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask so many test rows only, drawn by a seed.")] = None,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Find out how far prompting goes: models and prompts on the test rows, the gap that is left, and whether to tune.

    Examples:

        weitiao baseline recipe.yaml

        weitiao baseline recipe.yaml --shots 0,4,8 baseline.selection=nearest

        weitiao baseline recipe.yaml --models smollm2-135m,models/qwen --limit 200 verdict.target=0.8 --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.baseline.run import run_baseline
    from weitiao.terminal.baseline import print_baseline
    from weitiao.terminal.gap import print_gap

    console = messages()
    settings = [*(overrides or ()), *base_settings(base_model)]
    settings += [] if models is None else [f"baseline.models={dumps(_words(models))}"]
    settings += [] if shots is None else [f"baseline.shots={dumps(list(map(_number, _words(shots))))}"]
    settings += [] if limit is None else [f"baseline.limit={limit}"]
    loaded = load_recipe(recipe, settings)
    found = run_baseline(loaded, console=console)
    if json:
        print_json({**asdict(found.baseline), "gap": found.gap})
    else:
        out = results()
        print_baseline(found.baseline, out)
        out.print()
        print_gap(found.gap, out)
    advice = found.baseline.advice
    tried = any("nearest" in cell.prompt for cell in found.baseline.cells)
    answers = found.directory / found.baseline.best.predictions
    closing_panel(
        console,
        f"Baseline: {advice.decision}",
        [("baseline", str(found.baseline_path)), ("gap", str(found.gap_path)), ("answers", str(answers))],
        _next(advice, recipe, tuned=loaded.model.name, target=found.baseline.target, tried=tried),
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _number(word: str) -> int | str:
    """The number that a word is; another word stays, for the recipe to refuse."""
    return int(word) if word.isdecimal() else word


def _next(advice: Advice, recipe: Path, *, tuned: str, target: float | None, tried: bool) -> list[str]:
    """What to type next."""
    if advice.decision == "prompting suffices":
        return [f"weitiao chat {quoted(advice.model)}"]
    if target is None:
        return [f"weitiao baseline {quoted(recipe)} verdict.target=0.8"]
    more = [] if tried else [f"weitiao baseline {quoted(recipe)} baseline.selection=[random,nearest]"]
    other = "" if advice.model == tuned else f" model={quoted(advice.model)}"
    return [*more, f"weitiao train {quoted(recipe)}{other}"]
