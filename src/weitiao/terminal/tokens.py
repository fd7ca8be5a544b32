"""Tokens for people: what of a sequence is learned, and where they go in a mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.experts import Usage
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.pieces import pieces
from weitiao.terminal.tables import table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_PROMPT, _LEARNED, _SPECIAL = "dim", "green underline", "bold magenta"
_OPEN, _CLOSE = "⟦", "⟧"
_LONGEST_PROMPT = 1200


def show_sequences(
    sequences: Sequence[tuple[str, TokenSequence]],
    tokenizer: PreTrainedTokenizerBase,
    console: Console,
    num: int = 3,
    *,
    word: str = "learned",
) -> None:
    """Print sequences as the model sees them, what is learned set off from what is not.

    In colour, learned text is green and underlined, the rest dim, special tokens bold. Without colour, learned text
    stands in ⟦ ⟧.

    Args:
        sequences: What each sequence is (or nothing), and the sequence; the first `num` are printed.
        tokenizer: Decodes them.
        console: Where to print.
        num: How many.
        word: What happens to what is set off.
    """
    plain = console.color_system is None
    legend = Text("Legend: ")
    if plain:
        legend.append(f"{_OPEN}{word}{_CLOSE} not {word}")
    else:
        legend.append(word, _LEARNED).append(" ").append(f"not {word}", _PROMPT)
        legend.append(" ").append("special token", _SPECIAL)
    console.print(legend, soft_wrap=True)
    for label, sequence in sequences[:num]:
        note = ", truncated: the end-of-turn token is missing" if sequence.truncated else ""
        console.print()
        name = f"{sequence.row_id}, {label}" if label else sequence.row_id
        facts = f"{name}: {len(sequence)} tokens, {sequence.num_learned} {word}{note}"
        console.print(Text(facts, "bold"), soft_wrap=True)
        console.print(_as_text(sequence, tokenizer, plain=plain), soft_wrap=True)


def _as_text(sequence: TokenSequence, tokenizer: PreTrainedTokenizerBase, *, plain: bool) -> Text:
    text = Text()
    was_learned = False
    for part, learned, special in pieces(sequence, tokenizer):
        if plain and learned != was_learned:
            text.append(_OPEN if learned else _CLOSE)
        was_learned = learned
        if special:
            text.append(part, f"{_SPECIAL} underline" if learned else _SPECIAL)
        elif learned:
            text.append(part, _LEARNED)
        else:
            text.append(_shortened(part), _PROMPT)
    if plain and was_learned:
        text.append(_CLOSE)
    return text


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_PROMPT:
        return text
    half = _LONGEST_PROMPT // 2
    return f"{text[:half]} […{len(text) - 2 * half:,} characters not shown…] {text[-half:]}"


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
