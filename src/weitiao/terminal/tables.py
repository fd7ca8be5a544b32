"""How numbers and texts stand in tables: columns, intervals, and texts of users that are never read as markup."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.evaluation.statistics import Estimate
from weitiao.terminal.console import wording_of

_LEAST_P = 0.001


def table(
    headings: Iterable[str], rows: Iterable[Iterable[object]], *, words: Collection[int] = (0,), **look: Any
) -> Table:
    """Rows below their headings: numbers to the right, words to the left and folded where a line is too long.

    Args:
        headings: Of the columns.
        rows: A cell per column: whole numbers get their commas, a `Text` keeps its style.
        words: Which columns hold words.
        look: As `rich.table.Table` takes it, such as `row_styles`.
    """
    shown = Table(**{"box": None, "pad_edge": False, **look})
    for place, heading in enumerate(headings):
        if place in words:
            shown.add_column(Text(heading), overflow="fold")
        else:
            shown.add_column(Text(heading), justify="right")
    for row in rows:
        shown.add_row(*map(_cell, row))
    return shown


def facts(rows: Iterable[Iterable[object]], *, style: str = "bold") -> Table:
    """Rows that begin with a name, in a style of its own, and have no headings."""
    shown = Table.grid(padding=(0, 2))
    for name, *cells in rows:
        shown.add_row(Text(str(name), style), *map(_cell, cells))
    for column in shown.columns:
        column.overflow = "fold"
    return shown


def print_rest(console: Console, rest: int, line: str, **values: object) -> None:
    """How many are not shown, and where they are; nothing when all are shown.

    Args:
        console: Where to.
        rest: How many are not shown.
        line: What to say, with `{rest:,}` for their number.
        values: What else stands in it.
    """
    if rest > 0:
        console.print(Text(wording_of(console).phrase(Phrase(line, rest=rest, **values)), "dim"))


def share(score: Estimate, digits: int = 0) -> str:
    """A share with its interval: `84% (80-88)`."""
    value, low, high = (f"{100 * end:.{digits}f}" for end in (score.value, score.low, score.high))
    return f"{value}% ({low}-{high})"


def p_value(p: float | None) -> str:
    """A p-value: `0.031`, `<0.001`; empty for what was not tested."""
    if p is None:
        return ""
    return f"<{_LEAST_P}" if p < _LEAST_P else f"{p:.3f}"


def one_line(text: str, limit: int, say: Callable[[str], str] = str, *, from_end: bool = False) -> Text:
    """A text on one line: a row of a table for each line of a long answer would hide the next answer.

    Args:
        text: Any text; `(nothing)` stands for an empty one.
        limit: Characters to show at most.
        say: Says `(nothing)` in another language.
        from_end: Of a longer text show the end, not the beginning.
    """
    if not text:
        return Text(say("(nothing)"), "dim")
    line = "⏎".join(text.splitlines())
    if len(line) > limit:
        line = "…" + line[1 - limit :] if from_end else line[: limit - 1] + "…"
    return Text(line)


def _cell(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text(f"{cell:,}" if isinstance(cell, int) else str(cell))
