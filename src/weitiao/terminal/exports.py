"""The table of exported models: what each needs, how fast it is, what it lost, and whether it is still good."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from weitiao.terminal.tables import table
from weitiao.verdict.exported import Exported, Exports, Outcome

_STYLES: dict[Outcome, str] = {"good": "green", "worse": "red", "undecided": "yellow", "refused": "bold red"}


def print_exports(exports: Exports, console: Console) -> None:
    """Print a row for each exported model below one for the tuned model, and why some are not good."""
    metric = next((one.metric for one in exports.models if one.metric), "")
    headings = ("format", "MB", "RAM", "tok/s", "nats", "score", "change", "verdict")
    rows = [_row(exports.tuned, exports), *(_row(one, exports) for one in exports.models)]
    console.print(Text(f"{metric or 'perplexity'} on the same rows, tuned model first", "dim"))
    console.print(table(headings, rows, words=(0,)))
    for one in exports.models:
        if one.outcome != "good":
            console.print(Text.assemble((f"{one.format}: ", "bold"), one.reason))


def _row(one: Exported, exports: Exports) -> list[object]:
    first = next((each for each in exports.models if each.nats is not None), None)
    if one is exports.tuned:
        before = "" if first is None else _before(first)
        return [one.format, *_costs(one), "", before, "", ""]
    verdict = Text(one.outcome, _STYLES[one.outcome])
    if one.agreement is None:
        return [one.format, "", "", "", "", "", "", verdict]
    off = f"{one.agreement.mean_difference:.4f}"
    return [one.format, *_costs(one), off, *_quality(one), verdict]


def _costs(one: Exported) -> list[str]:
    return [f"{one.size_bytes / 1e6:,.0f}", f"{one.memory_bytes / 1e6:,.0f}", f"{one.tokens_per_second:.0f}"]


def _before(one: Exported) -> str:
    if one.quality is not None:
        return f"{one.quality.before:.1%}"
    return "" if one.perplexity is None else f"{one.perplexity[0]:.3f}"


def _quality(one: Exported) -> list[str]:
    if one.quality is not None:
        change = one.quality.difference
        points = f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"
        return [f"{one.quality.after:.1%}", points]
    if one.nats is None or one.perplexity is None:
        return ["", ""]
    change = one.nats.difference
    return [f"{one.perplexity[1]:.3f}", f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})"]
