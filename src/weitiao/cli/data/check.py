"""`weitiao data check`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import Against, AnswerColumn, DataFiles, InputColumn, Workers


def check(
    files: DataFiles,
    against: Against = None,
    input: InputColumn = None,
    answer: AnswerColumn = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Look for this kind of finding only. Repeatable.")
    ] = None,
    near: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="From which Jaccard similarity on rows are near duplicates.")
    ] = 0.8,
    max_characters: Annotated[
        int, typer.Option(min=1, help="A longer row is a finding; a recipe counts tokens instead.")
    ] = 32_000,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every reason, with several examples.")] = False,
    workers: Workers = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Look for what is wrong with data; exit code 3 when an error stands.

    Examples:

        weitiao data check train.jsonl

        weitiao data check train.csv --against test.csv --input text --answer category

        weitiao data check recipe.yaml --json
    """
    from weitiao.machine.hardware import usable_cores
    from weitiao.quality.settings import CheckSettings
    from weitiao.study.check import Target, check_data
    from weitiao.terminal.findings import next_command, print_check, summary_of

    console = messages()
    settings = CheckSettings(near_threshold=near, max_characters=max_characters, workers=workers or usable_cores())
    if kinds is not None:
        settings = replace(settings, kinds=frozenset(kinds))
    report = check_data(Target(files, against or (), input, answer), settings, console=console)
    if json:
        print_json(report.to_dict())
    else:
        print_check(report, results(), files=files, against=against or (), verbose=verbose)
    commands = [next_command(report, files, against or ())] if report.counts else []
    closing_panel(console, "Checked", [("data", summary_of(report))], commands)
    if report.has_errors:
        raise typer.Exit(3)
