"""The gap as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.evaluation.gap.analyse import ErrorKind, Gap
from weitiao.evaluation.gap.groups import LEAST_ROWS, Group
from weitiao.evaluation.one_line import one_line

if TYPE_CHECKING:
    from rich.console import Console

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
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("Kind of error", overflow="fold")
    table.add_column("Rows", justify="right")
    table.add_column("Share", justify="right", no_wrap=True)
    table.add_column("Helped by", overflow="fold")
    for one in errors:
        share = f"{one.share.value:.0%} ({one.share.low:.0%}-{one.share.high:.0%})"
        table.add_row(Text(one.title), f"{one.count:,}", share, ", ".join(one.remedies))
    console.print(table)
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
        answer = one_line(example.answer, _LONGEST_SHOWN) or Text("(nothing)", "dim")
        console.print(Text.assemble(("  expected ", "dim"), one_line(example.expected, _LONGEST_SHOWN)))
        console.print(Text.assemble(("  answered ", "dim"), answer))


def _print_fields(gap: Gap, console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("Field of the JSON answer", overflow="fold")
    table.add_column("Rows", justify="right")
    table.add_column("Right", justify="right", no_wrap=True)
    for field in gap.fields[:_MOST_FIELDS]:
        right = f"{field.right.value:.0%} ({field.right.low:.0%}-{field.right.high:.0%})"
        table.add_row(Text(field.field), f"{field.right.n:,}", right)
    console.print(table)
    if len(gap.fields) > _MOST_FIELDS:
        console.print(Text(f"{len(gap.fields) - _MOST_FIELDS:,} more fields in gap.json", "dim"))


def _print_groups(groups: tuple[Group, ...], console: Console) -> None:
    from rich.table import Table

    tested = [group for group in groups if group.p_value is not None]
    weak = sorted((group for group in tested if group.weak), key=lambda group: group.difference)
    if not weak:
        num_small = len(groups) - len(tested)
        small = f"; {num_small:,} have fewer than {LEAST_ROWS} rows" if num_small else ""
        console.print(Text(f"No group of rows is surely weaker than the rest ({len(tested):,} tested{small}).", "dim"))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("Weak group", overflow="fold")
    for name in ("Rows", "Score", "Rest", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in weak[:_MOST_WEAK]:
        assert group.p_adjusted is not None, "weak groups were tested"
        score = f"{group.score.value:.0%} ({group.score.low:.0%}-{group.score.high:.0%})"
        rows, p = f"{group.score.n:,}", "<0.001" if group.p_adjusted < 0.001 else f"{group.p_adjusted:.3f}"
        table.add_row(Text(f"{group.name}: {group.value}"), rows, score, f"{group.rest:.0%}", p)
    console.print(table)
    more = f" {len(weak) - _MOST_WEAK:,} more in gap.json." if len(weak) > _MOST_WEAK else ""
    note = f"p after Holm's correction for {len(tested):,} tested groups; below 0.05 a group is called weak.{more}"
    console.print(Text(note, "dim"))
