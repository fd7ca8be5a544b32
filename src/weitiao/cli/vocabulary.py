"""`weitiao vocab extend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import Json
from weitiao.console import quoted


def extend(
    model: Annotated[str, typer.Argument(help="A model: a name, a directory, a hub id or a GGUF file.")],
    output: Annotated[Path, typer.Argument(help="Where the new model goes: a new or empty directory.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Another tokenizer, whose words are added: a directory, a tokenizer.json or a .model."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Texts: words are learned from them, or, of --tokenizer, chosen by them. Repeatable."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="How many words: 8000 that are learned, all of --tokenizer, if none.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(help="A special token, or a file with one in each line. Repeatable.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Texts that should stay as they are: what changes is counted. Repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Give a model new words, for a new language for instance, to be trained afterwards.

    The tokenizer learns them behind its own, so that text without them is cut as before; their embeddings begin as the
    mean of those of the pieces that they were cut into.

    Examples:

        weitiao vocab extend smollm2-135m models/zh --corpus texts/*.jsonl --size 4000 --keep english.txt

        weitiao vocab extend meta-llama/Llama-2-7b-hf models/zh --tokenizer zh.model

        weitiao vocab extend Qwen/Qwen3-0.6B models/roles --tokens "<|judge|>"
    """
    from weitiao.terminal.outputs import extension_facts
    from weitiao.vocabulary.extend import extend as run_extend

    if not (tokenizer or corpus or tokens):
        raise typer.BadParameter("Say where new words come from: --tokenizer, --corpus or --tokens.")
    done = run_extend(
        model,
        output,
        other=tokenizer,
        corpus=corpus or (),
        size=size,
        tokens=[one for value in tokens or () for one in _tokens(value)],
        keep=keep or (),
    )
    if json:
        print_json(done)
    closing_panel(
        messages(), "Extended", extension_facts(done), [f"weitiao train RECIPE.yaml model.name={quoted(output)}"]
    )


def _tokens(value: str) -> list[str]:
    """The tokens of a file, or the one that the value is."""
    from weitiao.errors import DataError

    path = Path(value)
    if path.suffix == ".txt" and not path.exists():
        raise DataError(
            f"--tokens {value}: there is no such file.", "Name a file with a token in each line, or a token."
        )
    try:
        return path.read_text(encoding="utf-8").split() if path.is_file() else [value]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}.", "Save it as UTF-8, one token in each line.") from error
