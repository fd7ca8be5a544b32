"""What a person sees: results on stdout, progress and messages on stderr, and a closing panel."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from weitiao.console import encodes_unicode
from weitiao.errors import WeitiaoError
from weitiao.json_text import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from weitiao.text.wording import Language


def messages(language: Language = "en") -> Console:
    """The console for progress and messages in a language; silent on all ranks but the first."""
    from weitiao.terminal.console import TextConsole

    return TextConsole(stderr=True, quiet=not _is_first_rank(), language=language)


def results(language: Language = "en") -> Console:
    """The console for results in a language."""
    from weitiao.terminal.console import TextConsole

    return TextConsole(language=language)


def print_json(result: Any, *, indent: int | None = None) -> None:
    """Print the result of a command (a dataclass, or a dictionary) as one JSON object, on one line unless indented.

    Once for all ranks.
    """
    if _is_first_rank():
        print(json_text(result, ascii=not encodes_unicode(), indent=indent), flush=True)


def print_result(result: Any, show: Callable[[Any, Console], None], *, json: bool, language: Language = "en") -> None:
    """Print the result of a command: as JSON, or as `show` prints it for a person."""
    if json:
        print_json(result)
    else:
        show(result, results(language))


def print_error(error: WeitiaoError, language: Language) -> None:
    """Print what is wrong and what to do about it."""
    from rich.text import Text

    from weitiao.terminal.console import TextConsole
    from weitiao.text.wording import Wording

    console, words = TextConsole(stderr=True), Wording(language)
    for key, style, text in (("cli.error", "bold red", error.what), ("cli.remedy", "bold", error.remedy)):
        console.print(Text.assemble((words(key), style), words.phrase(text)), soft_wrap=True)


def closing_panel(console: Console, title: str, facts: Sequence[tuple[str, str]], commands: Sequence[str]) -> None:
    """Say where the results lie and what to type next, in the console's language: `closing.NAME` of its texts.

    Args:
        console: Where to print.
        title: What was done.
        facts: Pairs of a name and a value.
        commands: The next commands, ready to be copied.
    """
    from rich.box import HORIZONTALS, ROUNDED
    from rich.cells import cell_len, set_cell_size
    from rich.panel import Panel
    from rich.text import Text

    from weitiao.terminal.console import wording_of

    words, text = wording_of(console), Text()
    names = [words.named("closing", name) for name, _ in facts]
    width = max(map(cell_len, names), default=0)
    for name, (_, value) in zip(names, facts, strict=True):
        text.append(f"{set_cell_size(name, width)}  ", style="bold")
        text.append(f"{value}\n")
    if commands:
        text.append(f"\n{words.named('closing', 'Next:')}\n", style="bold")
        for command in commands:
            text.append(f"  {command}\n", style="cyan")
    text.rstrip()
    title = words.named("closing", title)
    # Only a terminal gives a Han character two columns: elsewhere an edge on the right would not be straight.
    box = ROUNDED if console.is_terminal or words.language == "en" else HORIZONTALS
    console.print(Panel(text, box, title=Text(title), title_align="left", border_style="green", expand=False))


def _is_first_rank() -> bool:
    """Whether this is the only process, or the one that torchrun calls rank 0."""
    return os.environ.get("RANK", "0") == "0"
