"""The gap as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.gap.analyse import ErrorKind, Gap
from weitiao.evaluation.gap.groups import LEAST_ROWS, Group
from weitiao.terminal.tables import one_line, p_value, print_rest, share, table

_MOST_WEAK = 10
_MOST_FIELDS = 10
_LONGEST_SHOWN = 160


def print_gap(gap: Gap, console: Console) -> None:
    """Print what kinds of errors there are with an example and a remedy of each, and the groups that are weak.

    Args:
        gap: The gap.
        console: Where to.
    """
    short = "" if gap.shortfall is None else f", {gap.shortfall:.1%} short of the target"
    console.print(Text(f"Where {gap.model}, {gap.prompt}, falls short", "bold underline"))
    console.print(Text(f"{gap.num_short:,} of {gap.score.n:,} rows by {gap.metric}{short}"))
    if gap.errors:
        console.print()
        _print_errors(gap.errors, console)
    if gap.fields:
        console.print()
        _print_fields(gap, console)
    console.print()
    _print_groups(gap.groups, console)


def _print_errors(errors: tuple[ErrorKind, ...], console: Console) -> None:
    headings = ("Kind of error", "Rows", "Share", "Helped by")
    rows = [(one.title, one.count, share(one.share), ", ".join(one.remedies)) for one in errors]
    console.print(table(headings, rows, words=(0, 3)))
    for one in errors:
        example = one.examples[0]
        console.print()
        console.print(Text(one.title, "bold"))
        console.print(Text(one.advice))
        console.print(
            Text.assemble(
                ("for example ", "dim"), example.row_id, (": ", "dim"), one_line(example.question, _LONGEST_SHOWN)
            )
        )
        for name, text in (("expected", example.expected), ("answered", example.answer)):
            console.print(Text.assemble((f"  {name} ", "dim"), one_line(text, _LONGEST_SHOWN)))


def _print_fields(gap: Gap, console: Console) -> None:
    rows = [(one.field, one.right.n, share(one.right)) for one in gap.fields[:_MOST_FIELDS]]
    console.print(table(("Field of the JSON answer", "Rows", "Right"), rows))
    print_rest(console, len(gap.fields) - _MOST_FIELDS, "{:,} more fields in gap.json")


def _print_groups(groups: tuple[Group, ...], console: Console) -> None:
    tested = [group for group in groups if group.p_value is not None]
    weak = sorted((group for group in tested if group.weak), key=lambda group: group.difference)
    if not weak:
        num_small = len(groups) - len(tested)
        small = f"; {num_small:,} have fewer than {LEAST_ROWS} rows" if num_small else ""
        console.print(Text(f"No group of rows is surely weaker than the rest ({len(tested):,} tested{small}).", "dim"))
        return
    rows = [
        (f"{one.name}: {one.value}", one.score.n, share(one.score), f"{one.rest:.0%}", p_value(one.p_adjusted))
        for one in weak[:_MOST_WEAK]
    ]
    console.print(table(("Weak group", "Rows", "Score", "Rest", "p"), rows))
    more = f" {len(weak) - _MOST_WEAK:,} more in gap.json." if len(weak) > _MOST_WEAK else ""
    note = f"p after Holm's correction for {len(tested):,} tested groups; below 0.05 a group is called weak.{more}"
    console.print(Text(note, "dim"))
