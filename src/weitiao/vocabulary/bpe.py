"""The vocabulary and the merges of a BPE tokenizer, byte-level or SentencePiece, and how new words come behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from tokenizers import Regex, Tokenizer, pre_tokenizers

from weitiao.errors import ModelError

SPACE = "▁"
"""How SentencePiece spells a space."""

# What SentencePiece keeps apart when it learns words: spaces only in front, single digits, letters from other signs.
_SENTENCEPIECE_WORD = rf"{SPACE}*(?:\p{{L}}\p{{M}}*)+|\p{{N}}|{SPACE}*[^{SPACE}\p{{L}}\p{{M}}\p{{N}}]+|{SPACE}+"


class Bpe:
    """A BPE tokenizer that can grow.

    New merges stand behind all old ones, so they join what the old ones leave: a text is cut as before wherever no new
    word applies. New tokens get the ids behind all that there are.

    Args:
        tokenizer: Byte-level BPE (GPT-2, Qwen, Llama 3), or SentencePiece's (Llama 2, Gemma).
        name: What errors call it.

    Attributes:
        byte_level: Whether tokens are bytes, spelled as GPT-2 does; else they are characters.
        ids: Token to id, added tokens included.
        new: The tokens that were added here, in the order of their ids.
        asked: Those of them that were asked for, and are not only parts that lead to one.

    Raises:
        ModelError: It is of another kind.
    """

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        self._state: dict[str, Any] = json.loads(tokenizer.to_str())
        model, cut = self._state["model"], json.dumps(self._state["pre_tokenizer"])
        self.byte_level = '"ByteLevel"' in cut
        spaces = SPACE in json.dumps([self._state["normalizer"], self._state["pre_tokenizer"]], ensure_ascii=False)
        affixed = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if model["type"] != "BPE" or affixed or not (self.byte_level or spaces):
            raise ModelError(
                f"The tokenizer of {name} is neither byte-level BPE nor SentencePiece's BPE ({model['type']}).",
                "Choose a model whose tokenizer is one of the two; single tokens can be added to any, with --tokens.",
            )
        added = {one["content"]: one["id"] for one in self._state["added_tokens"]}
        self.ids: dict[str, int] = model["vocab"] | added
        self.new: list[str] = []
        self.asked: set[str] = set()
        self._first = self._next = max(self.ids.values()) + 1
        self._ranks: dict[tuple[str, str], int] = {}
        for left, right in (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]):
            self._ranks.setdefault((left, right), len(self._ranks))
        self._bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        split = pre_tokenizers.Split(Regex(_SENTENCEPIECE_WORD), "isolated")
        self._words = tokenizer.pre_tokenizer if self.byte_level else split

    def spelling(self, text: str) -> str | None:
        """How a text would be spelled as one token; None where it is cut before merges, and so can be none."""
        spelled = text if self.byte_level else text.replace(" ", SPACE)
        if len(self._words.pre_tokenize_str(spelled)) != 1:
            return None
        return self._bytes.pre_tokenize_str(text)[0][0] if self.byte_level else spelled

    def pieces(self, spelled: str) -> list[str]:
        """The tokens that the merges make of the letters of a word, the earliest merge first."""
        parts = list(spelled)
        while len(parts) > 1:
            rank, at = min((self._ranks.get(pair, math.inf), place) for place, pair in enumerate(pairwise(parts)))
            if rank == math.inf:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def add_token(self, token: str) -> None:
        """Give a token an id, unless it has one."""
        if token not in self.ids:
            self.ids[token] = self._next
            self._next += 1
            self.new.append(token)

    def merge(self, left: str, right: str) -> None:
        """Join two tokens wherever no earlier merge applies."""
        self._ranks.setdefault((left, right), len(self._ranks))
        self.add_token(left + right)

    def add_words(self, words: Iterable[str]) -> None:
        """Make words tokens, the first of them joined first, and single characters before all others.

        A word is joined from the pieces that it has by then, from the left. Its merges come behind those of all words
        before it, and so nothing later takes it apart.
        """
        for word in sorted(words, key=lambda word: len(word) > 1):
            spelled = self.spelling(word)
            if spelled is None or self.ids.get(spelled, self._first) < self._first:
                continue
            for letter in spelled:
                self.add_token(letter)
            self.asked.add(spelled)
            while len(parts := self.pieces(spelled)) > 1:
                self.merge(parts[0], parts[1])

    def backend(self, *, words_apart: bool = False) -> Tokenizer:
        """The tokenizer with what was added.

        Args:
            words_apart: Cut text into words before merges, where SentencePiece's tokenizers take it whole.
        """
        state = self._state | {"model": dict(self._state["model"])}
        if self.new:  # added tokens among them: their ids would be those of new words if they stood nowhere else
            state["model"]["vocab"] = dict(sorted(self.ids.items(), key=lambda one: one[1]))
        state["model"]["merges"] = [list(pair) for pair in self._ranks]
        backend = Tokenizer.from_str(json.dumps(state))
        if words_apart and not self.byte_level:
            own = [] if backend.pre_tokenizer is None else [backend.pre_tokenizer]
            backend.pre_tokenizer = pre_tokenizers.Sequence([*own, self._words])
        return backend
