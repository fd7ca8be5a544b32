"""Options that several commands have, each the same everywhere."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from weitiao.models.config import ModelConfig

Overrides = Annotated[list[str] | None, typer.Argument(help="Settings: section.key=value ...")]
BaseModelName = Annotated[
    str | None,
    typer.Option("--base-model", help="Where the base model is now, when it is not where the run or adapter says."),
]
EngineOption = Annotated[
    Literal["auto", "own", "llama.cpp", "vllm"],
    typer.Option(help="What writes; auto: llama.cpp where there is a GGUF file, our own elsewhere."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
ReportLanguage = Annotated[Literal["en", "zh"], typer.Option(help="Of what is said and written.")]
DataFiles = Annotated[list[str], typer.Argument(help="Data files, directories or hub ids; or one recipe (.yaml).")]
DataFile = Annotated[str, typer.Argument(help="A file, a directory of files, or a data set of the hub.")]
Against = Annotated[
    list[str] | None, typer.Option(help="An evaluation set whose inputs must not stand in the data. Repeatable.")
]
InputColumn = Annotated[str | None, typer.Option(help="The column with the input, where no format fits.")]
AnswerColumn = Annotated[str | None, typer.Option(help="The column with the answer, where no format fits.")]
NamedColumns = Annotated[
    list[str] | None, typer.Option(help="A column with another name: FIELD=COLUMN. May be given again.")
]
FileKind = Annotated[
    str | None, typer.Option(help="jsonl, json, parquet or csv, when the ending of the output does not tell.")
]
OnBadRows = Annotated[
    Literal["error", "skip"],
    typer.Option(help="error, or skip: leave them out and list them in rejected.jsonl beside the output."),
]


def base_settings(name: str | None) -> list[str]:
    """`--base-model` as settings of a recipe; none when it is not given."""
    return [] if name is None else [f"model.name={dumps(_absolute(name))}", "model.revision=null"]


def base_config(name: str | None) -> ModelConfig | None:
    """`--base-model` as the `model` section, for what has no recipe; None when it is not given."""
    from weitiao.models.config import ModelConfig

    return None if name is None else ModelConfig(name=_absolute(name))


def _absolute(name: str) -> str:
    """A path is meant from the current directory, and not from that of a recipe."""
    from weitiao.models.names import local_path

    path = local_path(name)
    return name if path is None else str(path.resolve())
