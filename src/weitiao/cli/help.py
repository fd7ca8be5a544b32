"""The language that the program speaks, and `--help` in Chinese: the texts of commands from the catalogues.

English stands in the functions of the commands alone, Chinese in `zh/commands.json`: `command.data.check` is what a
command does, `command.data.check.near` what an option of it means, `option.json` one that several commands have.
"""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from inspect import cleandoc
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import typer
from typer.core import TyperCommand, TyperGroup

from weitiao.cli.console import print_error
from weitiao.errors import Phrase, WeitiaoError

if TYPE_CHECKING:
    from weitiao.text.wording import Language, Wording

_EXAMPLES = "Examples:"
_OPENING, _CLOSING = "（“《", "，。；：、）”》！？…"
_PIECE = re.compile(
    rf"[{_OPENING}]*(?:[一-鿿]|[^\s一-鿿{_OPENING}{_CLOSING}]+)[{_CLOSING}]*|[{_OPENING}{_CLOSING}]+|\s+"
)
"""What no line is broken in: a Han character or a word, with the marks that may not end or begin a line."""

_Formatter: Any = typer.Context.formatter_class


def language_of(ctx: Any) -> Language:
    """What `weitiao --language` says; else Chinese where the locale's messages are, and English anywhere else."""
    chosen: Language | None = ctx.find_root().params.get("language")
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")  # in the order of POSIX
    return chosen or ("zh" if locale.casefold().startswith("zh") else "en")


class _Translated:
    """What commands and groups of them have in common."""

    def get_help(self, ctx: Any) -> str:
        """The help as stdout takes it: to one of ASCII, Typer would write UTF-8."""
        if (language := language_of(ctx)) != "en":
            from weitiao.text.wording import Wording

            words = Wording(language)
            translate(self, _path(ctx), words, self.get_params(ctx))  # type: ignore[attr-defined]
            ctx.formatter_class = partial(WideFormatter, words)
        text: str = super().get_help(ctx)  # type: ignore[misc]
        return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


class Command(_Translated, TyperCommand):
    """A command."""


class Grouped(_Translated, TyperGroup):
    """Commands below the headings of their panels, each with the first paragraph of its help.

    In plain text: Typer's own panels need Rich's Markdown, which takes as long to import as all the rest.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if command.hidden:
                continue
            summary, _, _ = cleandoc(command.help or "").partition("\n\n")
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            panels.setdefault(panel, []).append((name, " ".join(summary.split())))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def invoke(self, ctx: Any) -> Any:
        """The program itself tells its commands which language to speak, and says what is wrong in it."""
        if ctx.parent is not None:
            return super().invoke(ctx)
        language = language_of(ctx)
        ctx.default_map = _for_all(self, {"language": language})
        try:
            return super().invoke(ctx)
        except WeitiaoError as error:
            print_error(error, language)
            raise typer.Exit(error.exit_code) from error
        except typer.TyperException as error:
            raise _told(error, ctx) from error

    def make_context(self, *words: Any, **more: Any) -> Any:
        """Words that the program itself does not take are refused here, before there is a context."""
        try:
            return super().make_context(*words, **more)
        except typer.TyperException as error:
            if more.get("parent") is not None or (ctx := getattr(error, "ctx", None)) is None:
                raise
            raise _told(error, ctx) from error


def _for_all(group: Grouped, values: dict[str, Any]) -> dict[str, Any]:
    """Defaults of every command, those of two words too."""
    return {
        name: _for_all(command, values) if isinstance(command, Grouped) else values
        for name, command in group.commands.items()
    }


def _told(error: typer.TyperException, ctx: Any) -> Exception:
    """What is wrong with the words of a command, said in another language; as Typer says it, in English."""
    from weitiao.text.wording import Wording

    what = error.format_message()
    if Wording(language := language_of(ctx)).phrase(what) == what:  # English, or a help
        return error
    command = " ".join(("weitiao", *_path(getattr(error, "ctx", None) or ctx)))
    print_error(WeitiaoError(what, Phrase("`{command} --help` shows what it takes.", command=command)), language)
    return typer.Exit(error.exit_code)


def translate(command: Any, path: tuple[str, ...], words: Wording, params: Any = ()) -> None:
    """Put other words into a command, which is made for one call: its help, its options, the commands below it.

    Args:
        command: Typer's.
        path: The words that it is called by, without that of the program.
        words: In which language.
        params: Its arguments and options; none where only its summary is shown.
    """
    key = ".".join(("command", *path))
    about, _, examples = cleandoc(command.help or "").partition(_EXAMPLES)
    command.help = words.described(about, key) + (f"\n\n{words('help.examples')}{examples}" if examples else "")
    for one in params:
        one.help = words.described(one.help or "", f"{key}.{one.name}", f"option.{one.name}")
    for name, below in getattr(command, "commands", {}).items():
        translate(below, (*path, name), words)
        if panel := below.rich_help_panel:
            below.rich_help_panel = words.described(panel, f"panel.{panel.partition(':')[0]}")


class WideFormatter(_Formatter):
    """Typer's layout in columns of a terminal, of which a Han character takes two. Typer counts characters."""

    def __init__(self, words: Wording, **size: Any) -> None:
        super().__init__(**size)
        self._words = words

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or self._words("help.usage"))

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{self._words.named('help', heading)}：\n")

    def write_text(self, text: str) -> None:
        super().write_text(_filled(text, self.width - self.current_indent))

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        rows = list(rows)
        width = self.width - min(max(len(name) for name, _ in rows), col_max) - col_spacing - 2
        super().write_dl([(name, _filled(self._noted(text), width)) for name, text in rows], col_max, col_spacing)

    def _noted(self, text: str) -> str:
        """With what Typer adds to the meaning of an option, such as `[default: 5; x>=1]` and `[required]`."""
        text = text.replace("[default: ", f"[{self._words('help.default')}")
        return (
            text.removesuffix("required]") + f"{self._words('help.required')}]" if text.endswith("required]") else text
        )


def _path(ctx: Any) -> tuple[str, ...]:
    """The words of a command, without that of the program."""
    return () if ctx.parent is None else (*_path(ctx.parent), ctx.info_name)


def _filled(text: str, columns: int) -> str:
    """Text whose Chinese paragraphs are broken into lines already, which Click's mark `\\b` says.

    Click breaks lines at spaces, and counts characters.
    """
    paragraphs = text.split("\n\n")
    return "\n\n".join(one if one.isascii() else "\b\n" + "\n".join(_lines(one, columns)) for one in paragraphs)


def _lines(text: str, columns: int) -> list[str]:
    lines, line = [], ""
    for piece in _PIECE.findall(text):
        if line and _columns(line + piece.rstrip()) > columns:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    return [*lines, line.rstrip()]


def _columns(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(2 if east_asian_width(one) in "WFA" else 1 for one in text)
