"""Sequences as people read them: the text of tokens that are alike, learned or not, special or not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from weitiao.rendering.items import TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Piece(NamedTuple):
    """A text, and what its tokens are."""

    text: str
    learned: bool
    special: bool


def pieces(sequence: TokenSequence, tokenizer: PreTrainedTokenizerBase) -> Iterator[Piece]:
    """Yield the text of neighbouring tokens that are alike."""
    special_ids = set(tokenizer.all_special_ids)
    special_ids |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokens = list(zip(sequence.token_ids.tolist(), sequence.weights.tolist(), strict=True))
    done, shown = 0, ""
    for (learned, special), run in groupby(tokens, key=lambda token: (token[1] > 0, token[0] in special_ids)):
        done += len(list(run))
        # Decoding the beginning as a whole keeps the spaces that some tokenizers drop at the start of a text.
        text = tokenizer.decode(
            sequence.token_ids[:done].tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        yield Piece(text[len(shown) :], learned, special)
        shown = text
