"""`weitiao merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli.console import closing_panel, messages, print_json
from weitiao.cli.options import BaseModelName, base_config
from weitiao.console import quoted


def merge(
    target: Annotated[Path, typer.Argument(help="A run directory, or an adapter directory.")],
    output: Annotated[Path, typer.Argument(help="Where the model goes: a new or empty directory.")],
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Number format of the weights; that of the base model by default."),
    ] = None,
    base_model: BaseModelName = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Merge an adapter into its base model, and check that the result answers as the two do.

    The result is a plain Hugging Face model. It is loaded again from disk and its logits on probe prompts are
    compared with those of base and adapter; when they disagree, nothing is kept and the exit code is 3.

    Examples:

        weitiao merge runs/tickets models/tickets

        weitiao merge runs/tickets models/tickets-bf16 --dtype bfloat16
    """
    from weitiao.export.merge import merge as run_merge

    console = messages()
    merged = run_merge(target, output, base=base_config(base_model), dtype=dtype)
    agreement = merged.agreement
    lost = "none to lose" if agreement.lost_effect is None else f"{agreement.lost_effect:.2%} lost to rounding"
    closing_panel(
        console,
        "Merged",
        [
            ("model", str(merged.path)),
            ("weights", f"{merged.num_parameters:,} in {merged.dtype}, {merged.size_bytes / 2**20:,.0f} MiB"),
            ("checked", f"{agreement.num_positions:,} positions of {agreement.num_prompts} prompts"),
            ("logits", f"differ by at most {agreement.relative_difference:.1e} of their scale"),
            ("effect", lost),
            ("top token", f"the same at {agreement.top1_agreement:.1%}"),
        ],
        [f"weitiao chat {quoted(merged.path)}"],
    )
    if json:
        print_json(merged)
