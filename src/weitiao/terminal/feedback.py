"""What a store of feedback holds, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weitiao.feedback.contests import Contest
from weitiao.feedback.preference import Preferences
from weitiao.feedback.raters import Status

_SHOWN = 5


def print_judges(found: Preferences, console: Console) -> None:
    """Print what each judge did, and how far every two agree."""
    table = Table(box=None, pad_edge=False)
    for name in ("Judge", "Pairs", "No winner", "First place won", "Contradicted itself"):
        table.add_column(name, justify="left" if name == "Judge" else "right", overflow="fold")
    for one in found.judges:
        share = "" if one.first_share is None else f"{one.first_share.value:.0%}"
        numbers = (f"{one.num_judged:,}", f"{one.num_ties:,}", share, f"{one.num_disagreements:,}")
        table.add_row(Text(one.judge), *numbers)
    console.print(table)
    for one in found.judges:
        if one.num_unparsable:
            console.print(Text(f"{one.judge}: {one.num_unparsable:,} replies named neither answer"))
    for pair in found.agreements:
        kappa = "" if pair.kappa is None else f"; Cohen's kappa {pair.kappa}"
        console.print(Text(f"{pair.judges[0]} and {pair.judges[1]} agree on {pair.share}{kappa}"))


def contest_line(one: Contest) -> str:
    """Two models before a judge: who won how often, and whether that decides."""
    wins = ", ".join(f"{name} {won:,}" for name, won in zip(one.models, one.wins, strict=True))
    none = "".join(f", {name} {count:,}" for name, count in (("tie", one.ties), ("neither", one.bad)) if count)
    match one.more_needed:
        case None:
            end = "no preference is to be seen"
        case 0:
            end = "decided"
        case more:
            end = f"about {more:,} more judgements for a decision"
    return f"{one.judge}: {wins}{none}; {end}"


def print_status(found: Status, console: Console) -> None:
    """Print judges, agreement, and the first pairs on which they do not agree."""
    console.print(Text(f"{found.num_pairs:,} pairs, {found.num_judged:,} of them judged"))
    if found.preferences.judges:
        console.print()
        print_judges(found.preferences, console)
    for one in found.contests:
        console.print(Text(contest_line(one)))
    for judge, spent in found.spent.items():
        console.print(Text(f"{judge}: {spent}"))
    if (raters := found.raters) is None:
        return
    alpha = (
        "there was nothing to disagree about" if raters.alpha is None else f"Krippendorff's alpha {raters.alpha:.3f}"
    )
    fleiss = "" if raters.fleiss is None else f", Fleiss' kappa {raters.fleiss:.3f}"
    console.print()
    console.print(Text(f"{raters.num_judges} judges on {raters.num_pairs:,} common pairs: {alpha}{fleiss}"))
    if raters.disputed:
        console.print(Text(f"They do not agree on {len(raters.disputed):,}:"))
    for pair, chosen in list(raters.disputed.items())[:_SHOWN]:
        console.print(Text(f"  {pair}: " + ", ".join(f"{judge} {choice}" for judge, choice in chosen.items())))
    if len(raters.disputed) > _SHOWN:
        console.print(Text(f"  and {len(raters.disputed) - _SHOWN:,} more (--json)"))
