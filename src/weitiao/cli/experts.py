"""`weitiao moe usage` and `upcycle`: what is routed where, and mixtures of experts made from dense models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, print_result
from weitiao.cli.options import Json, Overrides
from weitiao.console import quoted


def usage(
    run: Annotated[Path, typer.Argument(help="The run directory of a mixture of experts.")],
    overrides: Overrides = None,
    by: Annotated[
        str | None,
        typer.Option(help="A column of the data with the classes of its rows; answer is the expected answer."),
    ] = None,
    json: Json = False,
) -> None:
    """Show which experts the held-out rows of a run go to: by layer, before and after tuning, by class.

    Examples:

        weitiao moe usage runs/tickets

        weitiao moe usage runs/tickets --by category --json
    """
    from weitiao.recipe import load_recipe
    from weitiao.study.experts import expert_usage
    from weitiao.terminal.progress import teller
    from weitiao.terminal.tokens import print_usage

    found = expert_usage(load_recipe(run, overrides or ()), by=by, tell=teller(messages()))
    print_result(found, print_usage, json=json)


def upcycle(
    model: Annotated[str, typer.Argument(help="A dense model: its name, directory or hub id.")],
    output: Annotated[Path, typer.Argument(help="Where the mixture goes: a new or empty directory.")],
    experts: Annotated[int, typer.Option(min=2, help="Experts in each layer, copies of its feed-forward.")] = 8,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Experts that each token goes to.")] = 2,
    shared: Annotated[int, typer.Option(min=0, max=1, help="1 adds an expert that every token goes to.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Decides the first values of the routers.")] = 0,
    json: Json = False,
) -> None:
    """Make a mixture of experts from a dense model, which answers as the dense one does until it is trained.

    Feed-forwards are copied, routers are new, and everything else is shared. The result is a plain Mixtral, Qwen2-MoE
    or Qwen3-MoE directory.

    Examples:

        weitiao moe upcycle smollm2-135m models/smollm2-moe --experts 8 --top-k 2

        weitiao train recipe.yaml model=models/smollm2-moe method.type=full
    """
    from weitiao.export.upcycle import upcycle as run_upcycle
    from weitiao.models.config import ModelConfig

    made = run_upcycle(ModelConfig(name=model), output, experts=experts, top_k=top_k, shared=shared, seed=seed)
    closing_panel(
        messages(),
        "Upcycled",
        [
            ("model", str(made.path)),
            ("architecture", made.architecture),
            ("parameters", f"{made.num_parameters:,}, of which a token uses {made.num_active:,}"),
            ("size", f"{made.size_bytes / 2**20:,.0f} MiB"),
        ],
        [f"weitiao chat {quoted(made.path)}"],
    )
    if json:
        print_json(made)
