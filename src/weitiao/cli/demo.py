"""`weitiao demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.demo.run import DemoResult


def demo(
    output: Annotated[Path, typer.Option(help="Where data and run go.")] = Path("runs/demo"),
    model: Annotated[str, typer.Option(help="The model that learns.")] = "smollm2-135m",
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and training.")] = 0,
    rows: Annotated[int, typer.Option(min=16, help="Training rows.")] = 720,
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Teach a small model a task that it cannot do, and show the score before and after.

    Customer messages become one line of JSON with five typed fields. The data is generated from a seed; the test
    messages are worded differently from the training ones. Takes some minutes on two cores.

    Examples:

        weitiao demo

        weitiao demo --output /data/demo --json
    """
    from weitiao.demo.run import run_demo

    console = messages()
    result = run_demo(output, model=model, seed=seed, num_train=rows, console=console)
    if json:
        print_json(result.to_dict())
    else:
        _print_answers(result, results())
    before, after = result.before.scores.exact_match, result.after.scores.exact_match
    assert before is not None
    assert after is not None
    closing_panel(
        console,
        "Demo",
        [
            ("before", f"{before.value:.1%} exact match on {before.n} held-out messages"),
            ("after", f"{after.value:.1%} (95 % interval {after.low:.1%} to {after.high:.1%})"),
            ("training", f"{result.run.seconds:.0f} s, {result.run.steps} steps"),
            ("run", str(result.run.path)),
            ("answers", str(result.after.predictions_path)),
        ],
        [
            f"weitiao chat {result.run.path} --compare",
            f"weitiao show {result.run.path}",
            f"weitiao merge {result.run.path} {output}/merged",
        ],
    )


def _print_answers(result: DemoResult, console: Console, num: int = 3) -> None:
    """The same messages, answered before and after."""
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in ("message", "before", "after", "")), show_lines=True)
    for before, after in list(zip(result.before.predictions, result.after.predictions, strict=True))[:num]:
        message = str(after.messages[-1]["content"]).split("\n", 1)[-1]
        table.add_row(message, before.answer, after.answer, "right" if after.correct else f"wrong: {after.expected}")
    console.print(table, markup=False)
