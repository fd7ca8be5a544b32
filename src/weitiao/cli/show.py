"""`weitiao show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import messages, results
from weitiao.cli.options import BaseModelName, Overrides, base_settings


def show(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or a run directory.")],
    overrides: Overrides = None,
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="How many examples.")] = 3,
    base_model: BaseModelName = None,
) -> None:
    """Show what the model will see: rendered examples, the learned tokens marked.

    Examples:

        weitiao show recipe.yaml

        weitiao show recipe.yaml rendering.template=alpaca -n 1
    """
    from weitiao.recipe import load_recipe
    from weitiao.rendering.items import sequences_of
    from weitiao.study.dataset import load_rendered
    from weitiao.terminal.progress import teller
    from weitiao.terminal.tokens import show_sequences

    console = messages()
    settings = load_recipe(recipe, [*(overrides or ()), *base_settings(base_model)])
    data = load_rendered(settings, tell=teller(console))
    show_sequences(sequences_of(data.train), data.tokenizer, results(), num)
