"""`weitiao data inspect`, `check` and `clean`: what is in data, what is wrong with it, a better copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result, results
from weitiao.cli.options import Against, AnswerColumn, DataFiles, InputColumn, Json, ReportLanguage
from weitiao.console import quoted


def inspect(
    files: DataFiles,
    model: Annotated[str | None, typer.Option(help="Count tokens of this model; a recipe names its own.")] = None,
    input: InputColumn = None,
    answer: AnswerColumn = None,
    json: Json = False,
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
    inspection = inspect_data(target, console=console)
    print_result(inspection, print_inspection, json=json)
    rows = sum(part.rows for part in inspection.parts)
    closing_panel(console, "Inspected", [("rows", f"{rows:,}")], [f"weitiao data check {' '.join(map(quoted, files))}"])


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
    language: ReportLanguage = "en",
    json: Json = False,
) -> None:
    """Look for what is wrong with data; exit code 3 when an error stands.

    Examples:

        weitiao data check train.jsonl

        weitiao data check train.csv --against test.csv --input text --answer category

        weitiao data check recipe.yaml --json
    """
    from weitiao.quality.settings import CheckSettings
    from weitiao.study.check import Target, check_data
    from weitiao.terminal.findings import next_command, print_check, summary_of

    console = messages(language)
    settings = CheckSettings(near_threshold=near, max_characters=max_characters)
    if kinds is not None:
        settings = replace(settings, kinds=frozenset(kinds))
    report = check_data(Target(files, against or (), input, answer), settings, console=console)
    if json:
        print_json(report.to_dict())
    else:
        print_check(report, results(language), files=files, against=against or (), verbose=verbose)
    commands = [next_command(report, files, against or ())] if report.counts else []
    closing_panel(console, "Checked", [("data", summary_of(report, language))], commands)
    if report.has_errors:
        raise typer.Exit(3)


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
    json: Json = False,
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
        console=console,
    )
    print_result(summary, print_cleaning, json=json)
    gone = summary.rows_before - summary.rows_after
    facts = [
        ("cleaned", f"{output / 'cleaned.jsonl'}: {summary.rows_after:,} of {summary.rows_before:,} rows"),
        ("rejected", f"{output / 'rejected.jsonl'}: {gone:,} rows"),
    ]
    if summary.unfilled:
        names = ", ".join(summary.unfilled)
        facts.append(("unfilled", f"placeholders that have no value are still there: {names}"))
    closing_panel(console, "Cleaned", facts, [f"weitiao data check {quoted(output / 'cleaned.jsonl')}"])
