"""Text to token ids, such that training sees the very tokens that inference sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from weitiao.data.reading.rows import BadRow
from weitiao.rendering.printing import any_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CACHED_PIECES = 100_000
_ANCHORS = ("\n", ".", "a", "1")
"""Texts to put in front of one that continues another; one that does not grow together with it serves."""


class Encoder:
    """Tokenises texts that share parts.

    A fast tokenizer treats what stands between two special tokens by itself, so a text is cut in front of each
    special token, and every distinct piece is tokenised once: a system text that all rows share costs nothing. A
    piece keeps the special token before it, for tokenizers that treat the beginning of a text differently. The ids
    are those of `tokenizer(text, add_special_tokens=False)`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}
        found: list[str] = []
        self._cuts: set[str] = set()
        if tokenizer.is_fast:
            normalizes = tokenizer.backend_tokenizer.normalizer is not None
            for token in tokenizer.added_tokens_decoder.values():
                if not (token.normalized and normalizes):
                    found.append(token.content)
                    if not (token.lstrip or token.single_word):
                        self._cuts.add(token.content)
        self._token = any_of(found)
        # SentencePiece-like tokenizers put a space in front of a text: two texts then do not make one.
        self._adds_space = tokenizer.decode(self.encode("a") + self.encode("a")) != "aa"

    def learn(self, texts: Iterable[str]) -> None:
        """Tokenise the new pieces of many texts at once; `encode` and `cut` then find them."""
        if len(self._pieces) > _CACHED_PIECES:
            self._pieces.clear()
        new = list(dict.fromkeys(piece for text in texts for piece in self._split(text) if piece not in self._pieces))
        if new:
            self._pieces.update(zip(new, self.batch(new), strict=True))

    def batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[list[int]]:
        """Return the ids of texts, straight from the tokenizer."""
        ids: list[list[int]] = self._tokenizer(
            list(texts),
            add_special_tokens=add_special_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = []
        for piece in self._split(text):
            known = self._pieces.get(piece)
            if known is None:
                if len(self._pieces) > _CACHED_PIECES:
                    self._pieces.clear()
                known = self._pieces[piece] = self.batch([piece])[0]
            ids += known
        return ids

    def cut(self, text: str, places: Sequence[int]) -> tuple[list[int], list[int]]:
        """Tokenise a text so that a token ends at each place.

        The ids are those of the whole text, unless a token would reach over a place, or the part before it would be
        cut into other tokens without what follows (a prompt that ends in a newline before an answer that starts with
        one). There, the parts are tokenised by themselves: what stands before the place is what a model is given, and
        what stands behind it is what it writes.

        Args:
            text: The text.
            places: Character offsets, ascending.

        Returns:
            The ids, and for each place the number of ids before it.
        """
        ids: list[int] = []
        counts: list[int] = []
        base = 0
        rest = self.encode(text)
        for place in places:
            head = self._continue(text[base:place]) if base else self.encode(text[:place])
            counts.append(len(ids) + len(head))
            if rest[: len(head)] != head:
                ids += head
                base = place
                rest = self._continue(text[base:])
        return ids + rest, counts

    def begins(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of a text, and the offset of the character at which each begins.

        Raises:
            BadRow: The tokenizer does not say where its tokens stand.
        """
        if not self._tokenizer.is_fast:
            raise BadRow("", "the tokenizer does not say where in the text its tokens stand")
        ids: list[int] = []
        begins: list[int] = []
        done = 0
        for piece in self._split(text):
            got = self._tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            ids += got["input_ids"]
            begins += [done + begin for begin, _ in got["offset_mapping"]]
            done += len(piece)
        return ids, begins

    def _continue(self, text: str) -> list[int]:
        """Return the ids of a text that continues another."""
        for before in _ANCHORS if self._adds_space else ():
            anchor = self.encode(before)
            ids = self.encode(before + text)
            if ids[: len(anchor)] == anchor:
                return ids[len(anchor) :]
        return self.encode(text)

    def _split(self, text: str) -> list[str]:
        starts = [match.start() for match in self._token.finditer(text) if match.group() in self._cuts]
        return [text[start:end] for start, end in pairwise([0, *starts, len(text)]) if start < end]
