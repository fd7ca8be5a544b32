"""The table of exported models: what each needs, how fast it is, what it lost, and whether it is still good."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import table
from weitiao.text.wording import Wording
from weitiao.verdict.exported import Exported, Exports, Outcome

_STYLES: dict[Outcome, str] = {"good": "green", "worse": "red", "undecided": "yellow", "refused": "bold red"}


def print_exports(exports: Exports, console: Console) -> None:
    """Print a row for each exported model below one for the tuned model, and why some are not good."""
    metric = next((one.metric for one in exports.models if one.metric), "")
    words = wording_of(console)
    headings = map(words.phrase, ("format", "MB", "RAM", "tok/s", "nats", "score", "change", "verdict"))
    rows = [_row(one, exports, words) for one in (exports.tuned, *exports.models)]
    title = Phrase("{metric} on the same rows, tuned model first", metric=metric or Phrase("perplexity"))
    console.print(Text(words.phrase(title), "dim"))
    console.print(table(headings, rows, words=(0,)))
    for one in exports.models:
        if one.outcome != "good":
            console.print(Text.assemble((f"{one.format}: ", "bold"), one.reason))


def _row(one: Exported, exports: Exports, words: Wording) -> list[object]:
    first = next((each for each in exports.models if each.nats is not None), None)
    if one is exports.tuned:
        before = "" if first is None else _before(first)
        return [words.phrase(one.format), *_costs(one), "", before, "", ""]
    verdict = Text(words(f"export.{one.outcome}"), _STYLES[one.outcome])
    if one.agreement is None:
        return [one.format, "", "", "", "", "", "", verdict]
    off = f"{one.agreement.mean_difference:.4f}"
    return [one.format, *_costs(one), off, *_quality(one, words.phrase), verdict]


def _costs(one: Exported) -> list[str]:
    return [f"{one.size_bytes / 1e6:,.0f}", f"{one.memory_bytes / 1e6:,.0f}", f"{one.tokens_per_second:.0f}"]


def _before(one: Exported) -> str:
    if one.quality is not None:
        return f"{one.quality.before:.1%}"
    return "" if one.perplexity is None else f"{one.perplexity[0]:.3f}"


def _quality(one: Exported, say: Callable[[str], str]) -> list[str]:
    if one.quality is not None:
        value, change, form = f"{one.quality.after:.1%}", one.quality.difference, "+.1f"
        ends = [100 * end for end in (change.value, change.low, change.high)]
    elif one.nats is not None and one.perplexity is not None:
        value, change, form = f"{one.perplexity[1]:.3f}", one.nats.difference, "+.3f"
        ends = [change.value, change.low, change.high]
    else:
        return ["", ""]
    middle, low, high = (f"{end:{form}}" for end in ends)
    return [value, f"{middle} ({say(Phrase('{low} to {high}', low=low, high=high))})"]
