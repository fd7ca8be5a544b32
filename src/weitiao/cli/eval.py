"""`weitiao eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, Overrides, base_settings
from weitiao.console import quoted


def eval(
    target: Annotated[Path, typer.Argument(help="A run directory, or a recipe file for the untuned model.")],
    overrides: Overrides = None,
    base: Annotated[bool, typer.Option("--base", help="Score the run's base model instead.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first so many test rows only.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the files go; the run directory by default.")] = None,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object.")] = False,
) -> None:
    """Score a model on held-out rows, loss on the validation part and answers on the test part, and on benchmarks.

    Examples:

        weitiao eval runs/tickets

        weitiao eval runs/tickets --base

        weitiao eval recipe.yaml --limit 100 evaluate.metrics=[number,my.py:score]

        weitiao eval runs/tickets evaluate.benchmarks=[arc_easy] evaluate.benchmark_limit=200

        weitiao eval runs/tickets data.test=new.jsonl --output scores/new --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.evaluate import evaluate_recipe
    from weitiao.terminal.scores import print_scores

    console = messages()
    settings = [*(overrides or ()), *([] if limit is None else [f"evaluate.limit={limit}"]), *base_settings(base_model)]
    tuned = target.is_dir() and not base
    scored = evaluate_recipe(load_recipe(target, settings), tuned=tuned, output=output, console=console)
    if json:
        print_json(scored.to_dict())
    else:
        print_scores(scored.scores, scored.predictions, results(), title=scored.name)
    facts = [("scores", str(scored.scores_path)), ("answers", str(scored.predictions_path))]
    if scored.tuned:
        commands = [f"weitiao eval {quoted(target)} --base", f"weitiao chat {quoted(target)} --compare"]
    else:
        commands = [f"weitiao eval {quoted(target)}"] if target.is_dir() else [f"weitiao train {quoted(target)}"]
    closing_panel(console, "Evaluated", facts, commands)
