"""Where the tokens of a mixture of experts go, as tables of layers and experts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.experts import Usage
from weitiao.terminal.tables import table

_MOST_EXPERTS = 16
"""A wider table does not fit a terminal: then only its largest and smallest shares are shown."""


def print_usage(usage: Usage, console: Console) -> None:
    """Print the share of tokens that each expert of each layer gets, and how even that is.

    Args:
        usage: What was counted.
        console: Where to.
    """
    console.print(Text(f"Tokens by layer and expert, in percent: {usage.rows:,} rows", "bold underline"))
    further: dict[str, Sequence[float | None]] = {"Even before": usage.before.evenness, "after": usage.after.evenness}
    if usage.speciality is not None:
        further[f"Tells {usage.by}"] = usage.speciality
    _print_shares(usage.after.tokens, further, console)
    for name, (rows, spread) in usage.classes.items():
        console.print()
        console.print(Text(f"{usage.by}: {name} ({rows:,} rows)", "bold"))
        _print_shares(spread.tokens, {"Even": spread.evenness}, console)
    console.print(Text("Even: 1 when all experts of a layer get as many tokens, 0 when one gets all.", "dim"))
    if usage.speciality is not None:
        tells = f"Tells {usage.by}: 0 when an expert gets as much of every class, 1 when each gets those of one alone."
        console.print(Text(tells, "dim"))


def _print_shares(tokens: list[list[int]], further: dict[str, Sequence[float | None]], console: Console) -> None:
    wide = len(tokens[0]) > _MOST_EXPERTS
    names = ["most", "least", "unused"] if wide else list(map(str, range(len(tokens[0]))))
    rows = []
    for number, counts in enumerate(tokens):
        shares = [f"{100 * count / max(sum(counts), 1):.0f}" for count in counts]
        if wide:
            most, least = (shares[counts.index(of(counts))] for of in (max, min))
            shares = [most, least, str(counts.count(0))]
        values = (one[number] for one in further.values())
        rows.append([str(number), *shares, *("" if one is None else f"{one:.2f}" for one in values)])
    console.print(table(["Layer", *names, *further], rows))
