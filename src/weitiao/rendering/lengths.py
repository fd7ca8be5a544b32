"""How much text tokens stand for: what makes losses comparable between vocabularies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weitiao.rendering.items import Item, TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class TextLength(NamedTuple):
    """The length of the text that is learned, by its loss weights: in Unicode characters, and in bytes of UTF-8."""

    characters: float
    bytes: float


class TextLengths:
    """The length of what every token stands for; special tokens stand for no text.

    A character of several tokens counts where it begins.

    Args:
        tokenizer: With byte-level tokens, or SentencePiece's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        byte_level = "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
        vocabulary = tokenizer.get_vocab()
        self._of_token = np.zeros((max(vocabulary.values()) + 1, 2))
        added = tokenizer.added_tokens_decoder
        for token, index in vocabulary.items():
            if index not in added:
                text = bytes_of(token, byte_level=byte_level)
            else:
                text = b"" if added[index].special else token.encode()
            self._of_token[index] = sum(byte & 0xC0 != 0x80 for byte in text), len(text)

    def of(self, sequences: Iterable[TokenSequence]) -> TextLength:
        """The sum over the tokens of sequences, each by its weight."""
        total_2 = np.zeros(2)
        for sequence in sequences:
            total_2 += sequence.weights.astype(np.float64) @ self._of_token[sequence.token_ids]
        return TextLength(*total_2.tolist())

    def per_weight(self, items: Iterable[Item]) -> TextLength:
        """The mean per unit of weight over items, by which a mean loss is divided."""
        items = list(items)
        sums_2 = np.sum([item.weight * np.array(self.of(item.sequences)) for item in items], axis=0)
        return TextLength(*(sums_2 / sum(item.target_weight for item in items)).tolist())


# The byte that a character spells: printable ones of Latin-1 are themselves, the others follow U+0100 in their order.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(0x100 + place): byte for place, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)
}


def bytes_of(token: str, *, byte_level: bool) -> bytes:
    """The UTF-8, perhaps in part, that a token stands for."""
    if byte_level and all(letter in _BYTES for letter in token):
        return bytes(_BYTES[letter] for letter in token)
    if token.startswith("<0x") and token.endswith(">") and len(token) == 6:
        return bytes.fromhex(token[3:5])
    return token.replace("▁", " ").encode()
