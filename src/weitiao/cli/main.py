"""The command line: a table of commands. What they do lies in the packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from weitiao.cli import (
    experts,
    exporting,
    feedback,
    first,
    jobs,
    looking,
    models,
    proof,
    rewriting,
    serving,
    training,
    use,
    vocabulary,
    web,
)  # fmt: skip
from weitiao.cli.help import Command, Grouped
from weitiao.console import allow_any_text
from weitiao.machine.hardware import configure_process
from weitiao.machine.versions import version_of
from weitiao.paths import expanded_word

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Data: what to learn from": (first.init, first.show, web.ui),
    "Try: what is possible without tuning": (first.demo, first.baseline),
    "Train": (
        training.plan, training.run, training.methods, training.train, training.why, jobs.submit, jobs.jobs, jobs.work,
    ),
    "Prove: better at the task, nothing forgotten": (
        proof.eval, proof.retention, proof.compare, proof.verdict, proof.report,
    ),
    "Use": (
        use.chat, serving.serve, serving.batch, use.score, use.merge, exporting.export, web.mcp, use.doctor, use.schema,
    ),
}  # fmt: skip
"""Panels of `weitiao --help`, in the order of the work, and their commands."""


app = typer.Typer(
    name="weitiao",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
    pretty_exceptions_enable=False,
    add_completion=False,
)
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=panel)(command)


@app.callback(invoke_without_command=True)
def program(
    ctx: typer.Context,
    language: Annotated[
        Literal["en", "zh"] | None,
        typer.Option(is_eager=True, help="What the program speaks: English or 中文; what the locale says, if none."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is, and end.")] = False,
) -> None:
    """Fine-tune language models and prove that it helped. 微调语言模型，并证明它有用。"""
    if version:
        typer.echo(f"weitiao {version_of('weitiao')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("_job", hidden=True)
def become(home: Path, job: int, attempt: int) -> None:
    """Become the process of a job, which `weitiao work` starts; end at once where the job is another's."""
    from weitiao.jobs.worker import claimed

    if (command := claimed(home, job, attempt)) is not None:
        app(list(command))


GROUPS: dict[str, tuple[str, str, tuple[Callable[..., None], ...]]] = {
    "data": (
        "Data: what to learn from",
        "Look at data, check, clean, split, mix and convert it.",
        (looking.inspect, looking.check, looking.clean, rewriting.split, rewriting.mix, rewriting.convert),
    ),
    "vocab": ("Train", "Give a model new words.", (vocabulary.extend,)),
    "model": (
        "Try: what is possible without tuning",
        "Say what a model is, and bring it here.",
        (models.info, models.get),
    ),
    "job": (
        "Train",
        "Stop a job, go on with it, move it.",
        (jobs.stop, jobs.retry, jobs.move, jobs.log),
    ),
    "feedback": (
        "Data: what to learn from",
        "Answers that people and models judge, and preferences from it.",
        (feedback.sample, feedback.label, feedback.judge, feedback.status, feedback.import_, feedback.export),
    ),
    "moe": (
        "Use",
        "Mixtures of experts: what goes where; make one from a dense model.",
        (experts.usage, experts.upcycle),
    ),
}
"""Commands of two words: the panel they stand in, what the first word is about, and the second words."""

for group, (panel, about, commands) in GROUPS.items():
    words = typer.Typer(cls=Grouped, help=about, no_args_is_help=True, rich_markup_mode=None)
    for command in commands:
        words.command(command.__name__.strip("_"), cls=Command)(command)
    app.add_typer(words, name=group, rich_help_panel=panel)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 a bug, 2 the user's input, 3 no, 4 undecided, 130 interrupted."""
    allow_any_text()
    configure_process()
    app(list(map(expanded_word, sys.argv[1:])))
