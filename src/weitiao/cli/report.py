"""`weitiao report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import ReportLanguage
from weitiao.console import quoted


def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[Path | None, typer.Option(help="The file; report.html in the run directory by default.")] = None,
    language: ReportLanguage = "en",
    open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write a run as one page: verdict, scores, gap, retention, loss, examples, data, time, and how to reproduce it.

    The page needs no network and no other file. It is made from what lies in the run directory; what is missing there
    is named, with the command that makes it.

    Examples:

        weitiao report runs/tickets

        weitiao report runs/tickets --language zh --output report-zh.html --open
    """
    from weitiao.report.render import write_report

    console = messages()
    path = write_report(run, output=output, language=language)
    if json:
        print_json({"path": str(path)})
    closing_panel(console, "Reported", [("page", str(path))], [f"weitiao run {quoted(run)}"])
    if open:
        typer.launch(path.resolve().as_uri())
