"""`weitiao retention`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import BaseModelName, Overrides, base_config
from weitiao.console import quoted


def retention(
    target: Annotated[str, typer.Argument(help="A run directory, a recipe file, or a model.")],
    overrides: Overrides = None,
    base: Annotated[bool, typer.Option("--base", help="Score the run's base model only.")] = False,
    suite: Annotated[
        Literal["small", "full"] | None, typer.Option(help="Instead of the recipe's retention.suite.")
    ] = None,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Show what a model knows outside its task, and what of that a training left: general knowledge, instructions,
    arithmetic and the loss on general text, in English and Chinese.

    Examples:

        weitiao retention runs/tickets

        weitiao retention recipe.yaml --suite small

        weitiao retention smollm2-135m --json
    """
    from weitiao.study.retention import retention_target
    from weitiao.terminal.retention import print_comparison, print_scores

    console = messages()
    found = retention_target(
        target,
        overrides or (),
        base=base,
        suite=suite,
        base_model=base_config(base_model),
        console=console,
    )
    scores = found.after or found.before
    assert scores is not None
    if json:
        print_json(found.to_dict())
    elif found.comparison is not None:
        print_comparison(found.comparison, results(), title=found.name)
    else:
        print_scores(scores, results(), title=found.name)
    facts = [("time", f"{scores.seconds:.0f} s"), *(("scores", str(path)) for path in found.paths)]
    if found.comparison is not None:
        facts.insert(0, ("lost", ", ".join(found.comparison.lost) or "nothing that is certain"))
        if found.comparison.worse:
            facts.insert(1, ("worse", f"{', '.join(found.comparison.worse)} (not surely by more than is tolerated)"))
    closing_panel(console, "Retention", facts, [f"weitiao eval {quoted(target)}"] if found.paths else [])
