"""The command line: a table of commands. What they do lies in the packages."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from weitiao.cli import (
    baseline,
    chat,
    compare,
    demo,
    doctor,
    eval,
    init,
    merge,
    report,
    retention,
    run,
    schema,
    show,
    train,
    verdict,
    why,
)  # fmt: skip
from weitiao.cli.console import print_error
from weitiao.cli.data import check, clean, convert, inspect, mix, split
from weitiao.console import allow_any_text
from weitiao.errors import WeitiaoError
from weitiao.machine.hardware import configure_process
from weitiao.paths import expanded_word

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Data: what to learn from": (init.init, show.show),
    "Try: what is possible without tuning": (demo.demo, baseline.baseline),
    "Train": (run.run, train.train, why.why),
    "Prove: better at the task, nothing forgotten": (
        eval.eval, retention.retention, compare.compare, verdict.verdict, report.report,
    ),
    "Use": (chat.chat, merge.merge, doctor.doctor, schema.schema),
}  # fmt: skip
"""Panels of `weitiao --help`, in the order of the work, and their commands."""

DATA_COMMANDS = (inspect.inspect, check.check, clean.clean, split.split, mix.mix, convert.convert)

app = typer.Typer(
    name="weitiao",
    help="Fine-tune language models and prove that it helped. 微调语言模型，并证明它有用。",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

data = typer.Typer(
    help="Look at data, check, clean, split, mix and convert it. 查看、检查、清洗、拆分、混合和转换数据。",
    no_args_is_help=True,
)
for data_command in DATA_COMMANDS:
    data.command()(data_command)
app.add_typer(data, name="data", rich_help_panel=next(iter(COMMANDS)))


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 a bug, 2 the user's input, 3 no, 4 undecided, 130 interrupted."""
    allow_any_text()
    configure_process()
    try:
        app(list(map(expanded_word, sys.argv[1:])))
    except WeitiaoError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
