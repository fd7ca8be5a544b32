"""`weitiao data clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import Against, AnswerColumn, DataFiles, InputColumn, Workers
from weitiao.console import quoted


def clean(
    files: DataFiles,
    output: Annotated[Path, typer.Option(help="A new directory for the cleaned and the rejected rows.")],
    fix: Annotated[
        list[str] | None, typer.Option(help="A kind of finding to remove, as `data check` names it. Repeatable.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE fills the placeholder {{NAME}}; rows with others stay. Repeatable."),
    ] = None,
    contradictions: Annotated[
        str | None, typer.Option(help="Rows with one input and different labels: drop, or majority.")
    ] = None,
    against: Against = None,
    input: InputColumn = None,
    answer: AnswerColumn = None,
    near: Annotated[float | None, typer.Option(help="From which similarity on rows are near duplicates.")] = None,
    workers: Workers = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Write a cleaned copy of data: mended rows, rejected rows with reasons, a summary.

    Examples:

        weitiao data clean train.jsonl --fix encoding --fix duplicate --output cleaned

        weitiao data clean identity.json --set name=Ada --set author=Us --output cleaned

        weitiao data clean train.csv --fix leak --against test.csv --output cleaned
    """
    from weitiao.study.check import Target, clean_data
    from weitiao.terminal.findings import print_cleaning

    console = messages()
    summary = clean_data(
        Target(files, against or (), input, answer),
        output,
        fix=fix,
        values=set or (),
        contradictions=contradictions,
        near_threshold=near,
        workers=workers,
        console=console,
    )
    if json:
        print_json(summary)
    else:
        print_cleaning(summary, results())
    gone = summary.rows_before - summary.rows_after
    facts = [
        ("cleaned", f"{output / 'cleaned.jsonl'}: {summary.rows_after:,} of {summary.rows_before:,} rows"),
        ("rejected", f"{output / 'rejected.jsonl'}: {gone:,} rows"),
    ]
    if summary.unfilled:
        names = ", ".join(summary.unfilled)
        facts.append(("unfilled", f"placeholders that have no value are still there: {names}"))
    closing_panel(console, "Cleaned", facts, [f"weitiao data check {quoted(output / 'cleaned.jsonl')}"])
