"""A terminal that shows text as it is, though rows, answers, labels and paths hold what a terminal gives a meaning.

`[/INST]`, `[red]`, `:smile:` and escape sequences occur in data. Rich reads the first three as its own syntax wherever
it is given a `str`, a terminal obeys the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from weitiao.text.wording import Language, Wording

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class TextConsole(Console):
    """A console without markup, emoji codes and highlighting, which shows control characters instead of obeying them.

    Styles are given as styles: `style=`, `Text(...)`. What Rich reads as markup whatever its console says (titles of
    panels and rules, `status`, `TextColumn`) has to be given a `Text`, or `markup=False`.

    Args:
        stderr: Write to stderr, else to stdout.
        quiet: Write nothing.
        language: Of what is written by those who say it in several.
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False, language: Language = "en") -> None:
        super().__init__(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)
        self.language = language

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`, control characters of texts written as escapes. (Rich's own travel as `control`.)"""
        for segment in super().render(renderable, options):
            if segment.control is None and _CONTROLS.search(segment.text):
                yield Segment(_CONTROLS.sub(_escape, segment.text), segment.style)
            else:
                yield segment


def wording_of(console: Console) -> Wording:
    """The words that a console speaks with: English ones where it is Rich's own."""
    return Wording(console.language if isinstance(console, TextConsole) else "en")


def _escape(control: re.Match[str]) -> str:
    return f"\\x{ord(control[0]):02x}"
