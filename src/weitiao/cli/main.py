"""The command line: a table of commands. What they do lies in the packages."""

from __future__ import annotations

import sys

import typer

from weitiao.cli import (
    baseline,
    chat,
    compare,
    demo,
    doctor,
    eval,
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
from weitiao.errors import WeitiaoError
from weitiao.hardware import configure_process
from weitiao.paths import expanded_word
from weitiao.terminal import allow_any_text

COMMANDS = (
    demo.demo,
    run.run,
    show.show,
    baseline.baseline,
    train.train,
    why.why,
    eval.eval,
    retention.retention,
    compare.compare,
    verdict.verdict,
    report.report,
    chat.chat,
    merge.merge,
    doctor.doctor,
    schema.schema,
)

DATA_COMMANDS = (inspect.inspect, check.check, clean.clean, split.split, mix.mix, convert.convert)

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

data = typer.Typer(
    help="Look at data, check, clean, split, mix and convert it. 查看、检查、清洗、拆分、混合和转换数据。",
    no_args_is_help=True,
)
for data_command in DATA_COMMANDS:
    data.command()(data_command)
app.add_typer(data, name="data")


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
