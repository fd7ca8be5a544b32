"""`weitiao demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weitiao.cli.console import closing_panel, messages, print_json, results
from weitiao.cli.options import ReportLanguage
from weitiao.cli.run import print_outcome
from weitiao.console import quoted

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.demo.run import DemoResult


def demo(
    output: Annotated[Path, typer.Option(help="Where data and run go.")] = Path("runs/demo"),
    model: Annotated[str, typer.Option(help="The model that learns.")] = "smollm2-135m",
    seed: Annotated[int, typer.Option(min=0, help="Seed of data and training.")] = 0,
    rows: Annotated[int, typer.Option(min=16, help="Training rows.")] = 480,
    language: ReportLanguage = "en",
    json: Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")] = False,
) -> None:
    """Teach a small model a task that it cannot do, and show whether it is worth shipping.

    The whole work of `weitiao run` on customer messages that become one line of JSON with five typed fields: data
    check, prompting, training, evaluation, what was forgotten, verdict and report. The data is generated from a seed;
    the test messages are worded differently from the training ones. Takes some minutes on two cores.

    Examples:

        weitiao demo

        weitiao demo --output /data/demo --json
    """
    from weitiao.demo.run import METRIC, run_demo

    console = messages()
    result = run_demo(output, model=model, seed=seed, num_train=rows, language=language, console=console)
    work, best = result.work, result.baseline.best
    if json:
        print_json(result.to_dict())
    else:
        print_outcome(work, results())
        _print_answers(result, results())
    closing_panel(
        console,
        "Demo",
        [
            ("verdict", work.verdict.decision if work.verdict else "none"),
            ("untuned, zero-shot", str(result.before.metrics[METRIC])),
            (f"untuned, {best.prompt}", str(best.metrics[METRIC])),
            ("tuned", str(result.after)),
            ("report", str(work.report)),
            ("run", str(work.path)),
        ],
        [
            f"weitiao chat {quoted(work.path)} --compare",
            f"weitiao show {quoted(work.path)}",
            f"weitiao merge {quoted(work.path)} {quoted(output / 'merged')}",
        ],
    )


def _print_answers(result: DemoResult, console: Console, num: int = 3) -> None:
    """The same messages, answered by the untuned model with its best prompt, and by the tuned one."""
    from rich.box import HEAVY_HEAD

    from weitiao.terminal.tables import table

    before = {one.row_id: one.answer for one in result.answers_before()}
    rows = []
    for after in result.predictions[:num]:
        message = str(after.messages[-1]["content"]).split("\n", 1)[-1]
        outcome = "right" if after.correct else f"wrong: {after.expected}"
        rows.append((message, before[after.row_id], after.answer, outcome))
    headings = ("message", f"untuned, {result.baseline.best.prompt}", "tuned", "")
    console.print(table(headings, rows, words=range(4), box=HEAVY_HEAD, pad_edge=True, show_lines=True))
