"""`weitiao why`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import print_json, results
from weitiao.cli.options import BaseModelName, base_settings


def why(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    step: Annotated[int, typer.Option(min=1, help="The optimiser step, counted from 1.")],
    num: Annotated[int, typer.Option("-n", "--num", min=1, help="How many rows.")] = 5,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Show the rows behind a spike of the loss, the worst first.

    Examples:

        weitiao why runs/tickets --step 120
    """
    from rich.text import Text

    from weitiao.study.why import rows_behind

    culprits = rows_behind(run, step, num=num, overrides=base_settings(base_model))
    if json:
        print_json({"step": step, "rows": culprits})
        return
    console = results()
    for culprit in culprits:
        console.rule(Text(f"{culprit.row_id}  loss {culprit.loss:.4f}  weight {culprit.weight:g}"), align="left")
        console.print(culprit.prompt, style="dim", markup=False, highlight=False)
        console.print(culprit.answer, style="bold", markup=False, highlight=False)
