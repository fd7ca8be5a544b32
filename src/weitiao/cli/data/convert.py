"""`weitiao data convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import DataFile, FileKind, NamedColumns, OnBadRows
from weitiao.console import quoted


def convert(
    file: DataFile,
    output: Annotated[Path, typer.Argument(help="The file to write: .jsonl, .json, .parquet or .csv.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="alpaca, messages, sharegpt, prompt_completion, text, preference or kto; that of FILE if none."
        ),
    ] = None,
    from_: Annotated[str, typer.Option("--from", help="The format of FILE, one of the same.")] = "auto",
    column: NamedColumns = None,
    prompt: Annotated[
        str | None, typer.Option(help="A template that makes the question: 'Classify: {{ text }}'.")
    ] = None,
    completion: Annotated[str | None, typer.Option(help="A template that makes the answer: '{{ label }}'.")] = None,
    system: Annotated[str | None, typer.Option(help="A template that makes the system turn.")] = None,
    format: FileKind = None,
    turns: Annotated[
        bool, typer.Option("--turns", help="Write prompts and answers as lists of turns also where text would do.")
    ] = False,
    subset: Annotated[str | None, typer.Option(help="The subset of a hub data set.")] = None,
    split: Annotated[str | None, typer.Option(help="The split of a hub data set, or of a directory.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read the first so many rows only.")] = None,
    on_bad_rows: OnBadRows = "error",
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Write the rows of a file in another format or another kind of file.

    Examples:

        weitiao data convert alpaca.json chats.jsonl --to messages

        weitiao data convert intents.csv intents.jsonl --to messages --column prompt=text --column completion=category

        weitiao data convert pairs.json judged.parquet --to kto --on-bad-rows skip
    """
    from weitiao.data.conversion.records import Input, named_columns
    from weitiao.data.writing.convert import convert_file
    from weitiao.terminal.outputs import conversion_facts
    from weitiao.terminal.progress import row_progress

    console = messages()
    templates = {"prompt": prompt, "completion": completion, "system": system}
    given = Input(
        file,
        from_,
        named_columns(column or ()),
        {name: text for name, text in templates.items() if text is not None},
        subset=subset,
        split=split,
        limit=limit,
    )
    with row_progress(console) as on_row:
        done = convert_file(
            given, output, to=to, kind=format, turns=turns, skip_bad_rows=on_bad_rows == "skip", on_row=on_row
        )
    if json:
        print_json(done)
    closing_panel(
        console,
        "Converted",
        conversion_facts(done),
        [f"weitiao data inspect {quoted(output)}", f"weitiao data check {quoted(output)}"],
    )
