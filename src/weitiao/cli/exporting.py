"""`weitiao export`: the tuned model in the formats of other programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_result
from weitiao.cli.options import BaseModelName, Json, base_settings
from weitiao.console import quoted
from weitiao.errors import RecipeError


def export(
    target: Annotated[Path, typer.Argument(help="A run directory.")],
    to: Annotated[str, typer.Option("--to", help="Formats, separated by commas.")] = "",
    best_under: Annotated[
        str | None, typer.Option("--best-under", help="Keep the smallest good one alone, of this size at most: 200MB.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where a directory for each format goes; export/ of the run by default.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Test rows that every export answers, at most.")] = 200,
    largest_loss: Annotated[float, typer.Option(min=0, help="What the metric may lose: 0.02 are two points.")] = 0.02,
    llama_cpp: Annotated[
        Path | None, typer.Option("--llama-cpp", help="A checkout of llama.cpp whose converters are used.")
    ] = None,
    base_model: BaseModelName = None,
    json: Json = False,
) -> None:
    """Export the tuned model of a run, and check every export in the engine that will serve it.

    Before an export is kept, its token ids, log-probabilities and answers are held against those of the tuned model,
    and the recipe's metric on test rows tells what it lost. Exit codes: 0 all are good, 3 one is refused or lost too
    much, 4 more rows are needed to tell.

    Formats: adapter, merged, merged-bfloat16, merged-float16, nf4, int8, gguf-f16, gguf-q8_0, gguf-q4_k_m and the other
    names of llama.cpp's quantiser, gguf-lora, ollama, ollama-q4_k_m. `--best-under` tries GGUF from 2 bits on up, or
    the formats of `--to`.

    Examples:

        weitiao export runs/tickets --to gguf-q8_0,gguf-q4_k_m

        weitiao export runs/tickets --best-under 200MB --largest-loss 0.02

        weitiao export runs/tickets --to merged --output models/tickets --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.export import Asked, export_run
    from weitiao.terminal.exports import print_exports
    from weitiao.terminal.progress import teller
    from weitiao.verdict.exported import smallest_good

    console = messages()
    recipe = load_recipe(target, base_settings(base_model))
    names = tuple(name.strip() for name in to.split(",") if name.strip())
    limit = None if best_under is None else _bytes(best_under)
    if not names and limit is None:
        raise RecipeError("No format is named.", "Name some with --to, such as --to gguf-q4_k_m, or use --best-under.")
    asked = Asked(names, output=output, rows=rows, largest_loss=largest_loss, best_under=limit, llama_cpp=llama_cpp)
    exports = export_run(recipe, asked, teller(console))
    print_result(exports, print_exports, json=json)
    kept = [one for one in exports.models if one.path is not None]
    if kept:
        facts = [(one.format, str(one.path)) for one in kept]
        closing_panel(console, "Exported", facts, [f"weitiao report {quoted(target)}"])
    if limit is not None:
        raise typer.Exit(0 if smallest_good(kept, limit) else 3)
    raise typer.Exit(exports.exit_code)


def _bytes(text: str) -> int:
    """`200MB`, `1.5GiB`, or a number of bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(?:([kmgt])(i?)b?|b)?", text.strip().lower())
    if found is None:
        raise RecipeError(f"--best-under: `{text}` is no size.", "Write it like 200MB, 1.5GB or 300MiB.")
    power = 0 if found[2] is None else "kmgt".index(found[2]) + 1
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)
