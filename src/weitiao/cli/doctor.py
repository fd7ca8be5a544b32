"""`weitiao doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from weitiao.cli.console import print_json, results


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Show what is installed, what works on this machine, and how to get the rest.

    Examples:

        weitiao doctor

        weitiao doctor --json
    """
    from weitiao.machine.doctor import diagnose
    from weitiao.terminal.doctor import print_report

    report = diagnose()
    if json:
        print_json(report)
    else:
        print_report(report, results())
