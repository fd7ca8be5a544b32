"""`weitiao verdict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import print_json, results


def verdict(
    run: Annotated[Path, typer.Argument(help="A run directory with a verdict.")],
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as one JSON object.")] = False,
) -> None:
    """Show again whether a run's model is to be shipped, and why.

    Exit codes: 0 ship, 3 do not ship, 4 undecided.

    Examples:

        weitiao verdict runs/tickets

        weitiao verdict runs/tickets --json
    """
    from weitiao.study.verdict import verdict_of
    from weitiao.terminal.verdict import verdict_panel
    from weitiao.verdict.file import verdict_values

    found = verdict_of(run)
    if json:
        print_json(verdict_values(found))
    else:
        results().print(verdict_panel(found))
    raise typer.Exit(found.exit_code)
