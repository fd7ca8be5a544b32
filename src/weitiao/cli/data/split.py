"""`weitiao data split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import DataFile, NamedColumns, OnBadRows
from weitiao.console import quoted


def split(
    file: DataFile,
    output: Annotated[Path, typer.Option(help="The folder for train, validation and test.")],
    test: Annotated[float | None, typer.Option(help="Rows of the test part: a share (0.1) or a number (500).")] = None,
    validation: Annotated[float | None, typer.Option(help="Rows of the validation part, given like --test.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides which rows.")] = 0,
    stratify: Annotated[
        str | None, typer.Option(help="A column whose values divide among the parts as among all rows.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="A column whose equal values come to one part.")] = None,
    keep_together: Annotated[
        Literal["near", "same"],
        typer.Option(help="Rows that come to one part: with almost the same input (near), or the same input only."),
    ] = "near",
    input: Annotated[
        list[str] | None,
        typer.Option(help="A column that is the input, if the format does not tell. May be given again."),
    ] = None,
    from_: Annotated[str, typer.Option("--from", help="The format of FILE.")] = "auto",
    column: NamedColumns = None,
    format: Annotated[str | None, typer.Option(help="jsonl, json, parquet or csv; that of FILE by default.")] = None,
    on_bad_rows: OnBadRows = "error",
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Divide the rows of a file among train, validation and test. Rows that ask (almost) the same come to one part.

    Examples:

        weitiao data split tickets.jsonl --test 0.1 --validation 0.1 --output tickets

        weitiao data split intents.csv --test 500 --stratify category --output intents --seed 1

        weitiao data split chats.jsonl --test 0.1 --group customer --output chats
    """
    from weitiao.data.conversion.records import Input, named_columns
    from weitiao.data.parts.split_files import split_file
    from weitiao.terminal.outputs import split_facts, split_table
    from weitiao.terminal.progress import row_progress

    console = messages()
    with row_progress(console) as on_row:
        done = split_file(
            Input(file, from_, named_columns(column or ())),
            output,
            test=test,
            validation=validation,
            seed=seed,
            input_columns=input or (),
            stratify=stratify,
            group=group,
            near=keep_together == "near",
            kind=format,
            skip_bad_rows=on_bad_rows == "skip",
            on_row=on_row,
        )
    if json:
        print_json(done)
    else:
        results().print(split_table(done))
    against = [f"--against {quoted(done.files[part])}" for part in done.files if part != "train"]
    closing_panel(
        console, "Split", split_facts(done), [f"weitiao data check {quoted(done.files['train'])} {' '.join(against)}"]
    )
