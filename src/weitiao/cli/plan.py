"""`weitiao plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import messages, print_json, results
from weitiao.cli.options import Overrides
from weitiao.errors import RecipeError


def plan(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe file; or none, with --model.")] = None,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="A model of the catalogue, a hub id or a directory.")] = None,
    method: Annotated[str | None, typer.Option(help="lora, full, freeze, bitfit, adapter, peft.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows there are to be, where there is no recipe.")] = 1000,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of each of them.")] = 512,
    device: Annotated[str | None, typer.Option(help="A device of the catalogue; this machine by default.")] = None,
    prices: Annotated[Path | None, typer.Option(help="A table of prices.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
) -> None:
    """Forecast memory, time and cost of a training, before anything is loaded.

    Examples:

        weitiao plan recipe.yaml

        weitiao plan recipe.yaml train.token_budget=4096 --device rtx-4090

        weitiao plan --model mistral-7b --method lora --device rtx-4090 method.r=8
    """
    from weitiao.study.plan import plan_model, plan_recipe, recipe_of_model
    from weitiao.terminal.plan import print_plan
    from weitiao.terminal.progress import teller

    settings = list(overrides or ())
    if model is not None and recipe is not None and "=" in str(recipe):
        settings, recipe = [str(recipe), *settings], None
    if (model is None) == (recipe is None):
        raise RecipeError("Name a recipe, or a model with --model.", "weitiao plan --help shows examples.")
    if method is not None:
        settings.insert(0, f"method.type={method}")
    if recipe is not None:
        from weitiao.recipe import load_recipe

        report = plan_recipe(load_recipe(recipe, settings), device=device, prices=prices, tell=teller(messages()))
    else:
        assert model is not None
        made = recipe_of_model(model, settings)
        report = plan_model(made, rows=rows, tokens=tokens, device=device, prices=prices)
    if json:
        print_json(report)
    else:
        print_plan(report, results())
