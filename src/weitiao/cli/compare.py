"""`weitiao compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, base_config
from weitiao.console import quoted


def compare(
    a: Annotated[str, typer.Argument(help="What was before: a run, an adapter, a model, base:RUN, or predictions.")],
    b: Annotated[str, typer.Argument(help="What came after, named in the same ways.")],
    data: Annotated[Path | None, typer.Option(help="A file of test rows.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe whose test rows and settings count.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare the first so many test rows only.")] = None,
    judge: Annotated[
        list[str] | None, typer.Option(help="Who prefers one of two answers: human, human:NAME, a model, or URL#MODEL.")
    ] = None,
    judge_language: Annotated[
        Literal["en", "zh"], typer.Option(help="Language of the question to a judge model.")
    ] = "en",
    judge_template: Annotated[Path | None, typer.Option(help="A question of your own to a judge model.")] = None,
    judge_key: Annotated[Path | None, typer.Option(help="A file with the key of the judge's server.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order in which a person sees the answers.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Where the files go; compare-A-B in the run directory by default.")
    ] = None,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as one JSON object.")] = False,
) -> None:
    """Compare two models on the same test rows: what got better, what got worse, and whether it is more than chance.

    With --judge, a person or a judge model also says which of two answers is better, without knowing whose they are.

    Examples:

        weitiao compare base:runs/tickets runs/tickets

        weitiao compare runs/tickets runs/tickets-2 --limit 100 --json

        weitiao compare base:runs/tickets runs/tickets --judge human

        weitiao compare smollm2-135m runs/tickets --data new.jsonl --judge http://127.0.0.1:8000/v1#qwen3-8b

        weitiao compare old/predictions.jsonl new/predictions.jsonl
    """
    from weitiao.evaluation.judges.pairwise import JudgeConfig
    from weitiao.study.compare.preferences import is_person
    from weitiao.study.compare.run import compare_targets
    from weitiao.terminal.comparison import print_comparison, print_preferences

    console = messages()
    asking = {"language": judge_language, "template": judge_template, "api_key_file": judge_key}
    judges = [one if is_person(one) else JudgeConfig.model_validate({"model": one, **asking}) for one in judge or ()]
    compared = compare_targets(
        a,
        b,
        data=data,
        recipe=recipe,
        limit=limit,
        judges=judges,
        seed=seed,
        output=output,
        base_model=base_config(base_model),
        console=console,
    )
    if json:
        print_json(compared.to_dict())
    else:
        print_comparison(compared.comparison, results())
        if compared.preferences is not None:
            results().print()
            print_preferences(compared.preferences, (a, b), results())
    facts = [("comparison", str(compared.path))]
    commands = [f"weitiao chat {quoted(b)} --compare"] if Path(b, "recipe.yaml").exists() else []
    if compared.preferences is None:
        commands.insert(0, f"weitiao compare {quoted(a)} {quoted(b)} --judge human")
    closing_panel(console, "Compared", facts, commands)
