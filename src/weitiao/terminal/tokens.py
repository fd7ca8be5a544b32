"""Printing sequences so that one sees what is learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from weitiao.rendering.items import TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROMPT, _LEARNED, _SPECIAL = "dim", "green underline", "bold magenta"
_OPEN, _CLOSE = "⟦", "⟧"
_LONGEST_PROMPT = 1200


def show_sequences(
    sequences: Sequence[TokenSequence], tokenizer: PreTrainedTokenizerBase, console: Console, num: int = 3
) -> None:
    """Print sequences as the model sees them, what is learned set off from what is not.

    In colour, learned text is green and underlined, the rest dim, special tokens bold. Without colour, learned text
    stands in ⟦ ⟧.

    Args:
        sequences: The sequences; the first `num` are printed.
        tokenizer: Decodes them.
        console: Where to print.
        num: How many.
    """
    plain = console.color_system is None
    legend = Text("Legend: ")
    if plain:
        legend.append(f"{_OPEN}learned{_CLOSE} not learned")
    else:
        legend.append("learned", _LEARNED).append(" ").append("not learned", _PROMPT)
        legend.append(" ").append("special token", _SPECIAL)
    console.print(legend, soft_wrap=True)
    for sequence in sequences[:num]:
        note = ", truncated: the end-of-turn token is missing" if sequence.truncated else ""
        console.print()
        facts = f"{sequence.row_id}: {len(sequence)} tokens, {sequence.num_learned} learned{note}"
        console.print(Text(facts, "bold"), soft_wrap=True)
        console.print(_as_text(sequence, tokenizer, plain=plain), soft_wrap=True)


def _as_text(sequence: TokenSequence, tokenizer: PreTrainedTokenizerBase, *, plain: bool) -> Text:
    special_ids = set(tokenizer.all_special_ids)
    special_ids |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    text = Text()
    was_learned = False
    for learned, special, part in _runs(sequence, tokenizer, special_ids):
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


def _runs(
    sequence: TokenSequence, tokenizer: PreTrainedTokenizerBase, special_ids: set[int]
) -> Iterator[tuple[bool, bool, str]]:
    """Yield the text of tokens that are alike, with whether they are learned and whether they are special."""
    tokens = list(zip(sequence.token_ids.tolist(), sequence.weights.tolist(), strict=True))
    done, shown = 0, ""
    for (learned, special), run in groupby(tokens, key=lambda token: (token[1] > 0, token[0] in special_ids)):
        done += len(list(run))
        # Decoding the beginning as a whole keeps the spaces that some tokenizers drop at the start of a text.
        text = tokenizer.decode(
            sequence.token_ids[:done].tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        yield learned, special, text[len(shown) :]
        shown = text


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_PROMPT:
        return text
    half = _LONGEST_PROMPT // 2
    return f"{text[:half]} […{len(text) - 2 * half:,} characters not shown…] {text[-half:]}"
