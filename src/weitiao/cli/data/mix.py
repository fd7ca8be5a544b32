"""`weitiao data mix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import FileKind, OnBadRows
from weitiao.console import quoted


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
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
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
    if json:
        print_json(done)
    else:
        results().print(mixture_table(done))
    closing_panel(
        console,
        "Mixed",
        mixture_facts(done),
        [f"weitiao data inspect {quoted(output)}", f"weitiao data check {quoted(output)}"],
    )
