"""`weitiao methods`."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import Overrides
from weitiao.console import quoted


def methods(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Find out which method to tune with: a small tournament of methods and learning rates on the recipe's own data.

    Every cell is an ordinary run below the run directory; the same command goes on, and does nothing twice.

    Examples:

        weitiao methods recipe.yaml

        weitiao methods recipe.yaml tournament.rows=500 tournament.rungs=1

        weitiao methods recipe.yaml 'tournament.methods=[{method: {type: lora}}, {method: {type: freeze}}]' --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.tournament import run_tournament
    from weitiao.terminal.tournament import print_tournament

    console = messages()
    found = run_tournament(load_recipe(recipe, overrides or ()), console=console)
    if json:
        print_json(found)
    else:
        print_tournament(found, results())
    chosen = next(one for one in found.cells if one.name == found.chosen)
    sections = {"quantization": "model.quantization", "method": "method", "optimizer": "optimizer"}
    said = [f"{sections[key]}={dumps(value)}" for key, value in chosen.entry.items() if key in sections]
    words = " ".join(map(quoted, [*said, f"train.learning_rate={chosen.learning_rate:g}"]))
    closing_panel(
        console,
        "Methods",
        [("table", str(found.path)), ("runs", str(found.path.parent))],
        [f"weitiao run {quoted(recipe)} {words}"],
    )
