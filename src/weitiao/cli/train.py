"""`weitiao train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import Overrides
from weitiao.console import quoted


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory to go on with.")],
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Train also where the forecast says it does not fit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Tune a model by a recipe; go on where an earlier call stopped.

    Examples:

        weitiao train recipe.yaml

        weitiao train recipe.yaml train.epochs=1 run_dir=runs/tickets

        weitiao train runs/tickets

        torchrun --nproc-per-node 2 -m weitiao train recipe.yaml
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.train import train as run_training

    console = messages()
    run = run_training(load_recipe(recipe, overrides or ()), console=console, force=force)
    path = quoted(run.path)
    if not run.finished:
        closing_panel(
            console, "Interrupted, everything is saved", [("run", str(run.path)), ("steps", str(run.steps))],
            [f"weitiao train {path}"],
        )  # fmt: skip
        raise typer.Exit(130)
    best = "" if run.best_validation_loss is None else f", best validation loss {run.best_validation_loss:.4f}"
    closing_panel(
        console,
        "Trained",
        [
            ("run", str(run.path)),
            ("weights", str(run.path / "final")),
            ("loss", f"{run.loss:.4f} after {run.steps} steps{best}"),
            ("time", f"{run.seconds:.0f} s, {run.tokens_per_second:.0f} tokens/s"),
        ],
        [f"weitiao {what}" for what in (f"eval {path}", f"chat {path}", f"merge {path} MODEL_DIR")],
    )
    if json:
        print_json(run)
