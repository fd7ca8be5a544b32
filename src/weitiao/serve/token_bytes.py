"""The bytes of single tokens: those of a character of several tokens are no text by themselves."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenBytes:
    """What each token of a vocabulary stands for.

    Args:
        tokenizer: Byte-level BPE, or SentencePiece with bytes for what has no piece.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        decoder = tokenizer.backend_tokenizer.decoder
        self._is_byte_level = decoder is not None and '"ByteLevel"' in json.dumps(json.loads(decoder.__getstate__()))
        self._tokenizer = tokenizer
        self._added: dict[int, bytes] = {
            number: token.content.encode() for number, token in tokenizer.added_tokens_decoder.items()
        }

    def __getitem__(self, token: int) -> bytes:
        if (added := self._added.get(token)) is not None:
            return added
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:  # a row of the embeddings beyond the vocabulary
            return b""
        if self._is_byte_level:
            return bytes(_BYTES[letter] for letter in piece)
        if found := _BYTE.fullmatch(piece):
            return bytes([int(found[1], 16)])
        return str(piece).replace("▁", " ").encode()

    def is_added(self, token: int) -> bool:
        """Whether it was added to the vocabulary, as those that end answers are."""
        return token in self._added

    def splits(self, text: bytes, num: int, last: int) -> Sequence[int] | None:
        """So many tokens with these bytes together, of which the last is known; longer ones first.

        Byte-level BPE cuts a character of few bytes in so few ways that the first is nearly always the only one.
        """
        before = text.removesuffix(self[last])
        return next(((*found, last) for found in self._ways(before, num - 1)), None)

    def _ways(self, text: bytes, num: int) -> Iterator[tuple[int, ...]]:
        if num == 0 or not text:
            if num == 0 and not text:
                yield ()
            return
        for end in range(len(text), 0, -1):
            for token in self._tokens.get(text[:end], ()):
                for rest in self._ways(text[end:], num - 1):
                    yield (token, *rest)

    @cached_property
    def _tokens(self) -> dict[bytes, list[int]]:
        found = defaultdict(list)
        for token in range(len(self._tokenizer)):
            found[self[token]].append(token)
        return dict(found)


def _byte_letters() -> dict[str, int]:
    """The letters by which byte-level BPE (GPT-2) writes bytes: the printable ones themselves, others from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_letters()
