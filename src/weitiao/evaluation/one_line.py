"""Texts of answers in the cells of a terminal table."""

from __future__ import annotations

from rich.text import Text


def one_line(text: str, limit: int, *, from_end: bool = False) -> Text:
    """A text on one line: a row of a table for each line of a long answer would hide the next answer.

    Args:
        text: Any text.
        limit: Characters to show at most.
        from_end: Of a longer text show the end, not the beginning.
    """
    line = "⏎".join(text.splitlines())
    if len(line) > limit:
        line = "…" + line[1 - limit :] if from_end else line[: limit - 1] + "…"
    return Text(line)
