"""`weitiao data convert`, `split` and `mix`: the rows of files in other files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result
from weitiao.cli.options import DataFile, FileKind, Json, NamedColumns, OnBadRows
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
    json: Json = False,
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
    json: Json = False,
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
    print_result(done, lambda one, out: out.print(split_table(one)), json=json)
    against = [f"--against {quoted(done.files[part])}" for part in done.files if part != "train"]
    closing_panel(
        console, "Split", split_facts(done), [f"weitiao data check {quoted(done.files['train'])} {' '.join(against)}"]
    )


def mix(
    sources: Annotated[
        list[str],
        typer.Argument(help="SOURCE (all rows), SOURCE:500 (so many), SOURCE:0.5 or SOURCE:2x (times its rows)."),
    ],
    output: Annotated[Path, typer.Option(help="The file to write: .jsonl, .json, .parquet or .csv.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides which rows, and their order.")] = 0,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of the mixture; sources share them by weight, or by size.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="Share by size^(1/T): 1 is by size, 100 nearly even.")
    ] = None,
    source_column: Annotated[str | None, typer.Option(help="A column that gets the name of the source.")] = None,
    format: FileKind = None,
    on_bad_rows: OnBadRows = "error",
    json: Json = False,
) -> None:
    """Mix several sources to one shuffled file.

    Examples:

        weitiao data mix tickets.jsonl general.jsonl:500 --output train.jsonl

        weitiao data mix tickets.jsonl:2x faq.jsonl:0.5 --output train.jsonl --source-column source

        weitiao data mix en.jsonl:0.7 zh.jsonl:0.3 --rows 10000 --output train.parquet --seed 1
    """
    from weitiao.data.parts.mix_files import mix_files
    from weitiao.data.parts.mixing import parse_ingredient
    from weitiao.terminal.outputs import mixture_facts, mixture_table
    from weitiao.terminal.progress import row_progress

    console = messages()
    with row_progress(console) as on_row:
        done = mix_files(
            [parse_ingredient(source) for source in sources],
            output,
            seed=seed,
            rows=rows,
            temperature=temperature,
            source_column=source_column,
            kind=format,
            skip_bad_rows=on_bad_rows == "skip",
            on_row=on_row,
        )
    print_result(done, lambda one, out: out.print(mixture_table(one)), json=json)
    closing_panel(
        console,
        "Mixed",
        mixture_facts(done),
        [f"weitiao data inspect {quoted(output)}", f"weitiao data check {quoted(output)}"],
    )
