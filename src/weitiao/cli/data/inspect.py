"""`weitiao data inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import AnswerColumn, DataFiles, InputColumn, Workers
from weitiao.console import quoted


def inspect(
    files: DataFiles,
    model: Annotated[str | None, typer.Option(help="Count tokens of this model; a recipe names its own.")] = None,
    input: InputColumn = None,
    answer: AnswerColumn = None,
    workers: Workers = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON object.")] = False,
) -> None:
    """Show what is in data: counts, lengths, languages, formats, labels, the longest and shortest rows.

    Examples:

        weitiao data inspect train.jsonl

        weitiao data inspect train.csv --model smollm2-135m

        weitiao data inspect recipe.yaml --json
    """
    from weitiao.study.check import Target, inspect_data
    from weitiao.terminal.inspection import print_inspection

    console = messages()
    target = Target(files, (), input, answer, model)
    inspection = inspect_data(target, workers=workers, console=console)
    if json:
        print_json(inspection)
    else:
        print_inspection(inspection, results())
    rows = sum(part.rows for part in inspection.parts)
    closing_panel(console, "Inspected", [("rows", f"{rows:,}")], [f"weitiao data check {' '.join(map(quoted, files))}"])
