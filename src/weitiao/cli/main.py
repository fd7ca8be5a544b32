"""The command line: a table of commands. What they do lies in the packages."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from weitiao.cli import chat, demo, doctor, eval, merge, schema, show, train, why
from weitiao.errors import WeitiaoError
from weitiao.hardware import configure_process

COMMANDS = (
    demo.demo,
    show.show,
    train.train,
    why.why,
    eval.eval,
    chat.chat,
    merge.merge,
    doctor.doctor,
    schema.schema,
)

app = typer.Typer(
    name="weitiao",
    help="Fine-tune language models and prove that it helped. 微调语言模型，并证明它有用。",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 a bug, 2 the user's input, 3 a check says no, 130 interrupted."""
    configure_process()
    try:
        app()
    except WeitiaoError as error:
        console = Console(stderr=True)
        console.print(f"[bold red]Error:[/] {_escaped(error.what)}", highlight=False, soft_wrap=True)
        console.print(f"[bold]Remedy:[/] {_escaped(error.remedy)}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
