"""A tournament of methods as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.statistics import Estimate
from weitiao.terminal.tables import share, table
from weitiao.verdict.tournament import Cell, Tournament

_HEADINGS = ("Method, rate", "Rung", "Score", "Kept", "Min", "GiB", "Learns", "MiB")


def print_tournament(found: Tournament, console: Console) -> None:
    """Print every cell with what it reached and what it cost, and the advice.

    Args:
        found: The best cell first.
        console: Where to.
    """
    played = [one for one in found.cells if one.failed is None]
    rows = played[0].score.n if played and played[0].score else 0
    console.print(Text(f"Methods: {found.primary} on {rows:,} validation rows", "bold underline"))
    retained = any(one.retention for one in played)
    columns = [place for place in range(len(_HEADINGS)) if retained or _HEADINGS[place] != "Kept"]
    cells = ([_cells(one)[place] for place in columns] for one in played)
    console.print(table([_HEADINGS[place] for place in columns], cells))
    if retained:
        console.print(Text("Kept: points of accuracy over the retention suite against the base model", "dim"))
    for one in found.cells:
        if one.failed is not None:
            console.print(Text(f"{one.name} could not be trained: {one.failed}", "yellow"))
    console.print()
    console.print(Text(f"Advice: {found.chosen}", "bold"))
    console.print(Text(found.advice))


def _cells(one: Cell) -> tuple[object, ...]:
    return (
        one.name,
        one.rung,
        "" if one.score is None else share(one.score),
        _points(one.retention),
        f"{one.seconds / 60:,.1f}",
        f"{one.peak_memory_bytes / 2**30:.1f}",
        _count(one.num_trainable),
        f"{one.size_bytes / 2**20:,.1f}",
    )


def _points(change: Estimate | None) -> str:
    if change is None:
        return ""
    value, low, high = (100 * end for end in (change.value, change.low, change.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _count(number: int) -> str:
    return f"{number / 1e6:,.2f} M" if number >= 1e5 else f"{number:,}"
