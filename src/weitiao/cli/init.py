"""`weitiao init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.console import quoted


def init(
    files: Annotated[list[str], typer.Argument(help="Data files; a name with `test` or `validation` says the part.")],
    output: Annotated[Path | None, typer.Option(help="The recipe; recipe.yaml beside the first file if none.")] = None,
    model: Annotated[str, typer.Option(help="The base model.")] = "smollm2-135m",
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Write a first recipe from data: what its columns mean, how answers are scored, what is held out.

    Nothing is overwritten. The recipe is a commented YAML file to be read and changed.

    Examples:

        weitiao init tickets.csv

        weitiao init train.jsonl test.jsonl --output tickets.yaml
    """
    from weitiao.study.init.run import init_recipe
    from weitiao.terminal.progress import teller

    console = messages()
    made = init_recipe(files, output, model=model, tell=teller(console))
    if json:
        print_json(made)
    recipe = quoted(made.path)
    closing_panel(
        console,
        "First recipe",
        [("recipe", str(made.path)), ("scored by", ", ".join(made.metrics))],
        [
            f"weitiao {verb} {recipe}"
            for verb in ("data check", "show", *(("train",) if made.task == "text" else ("baseline", "run")))
        ],
    )
