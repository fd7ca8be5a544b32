"""Text as its tokens come: whole characters only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNFINISHED = "\ufffd"
"""What a tokenizer puts for bytes that are no character (yet)."""


class AnswerText:
    """Tokens to text as they come: only whole characters are handed out.

    Args:
        tokenizer: Decodes them.
        without: What is left out where the text begins with it: what the template puts in front of an answer.
        special: Whether the texts of special tokens are handed out, too.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, without: str = "", special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._special = special
        self._without = without
        self._held = ""  # the beginning, as long as it may become what is left out
        self._tokens: list[int] = []
        self._context = 0  # text is decoded from here on, so that a tokenizer which trims the start of a text does not
        self._given = 0  # tokens whose text was handed out

    def push(self, token: int) -> str:
        """Take the next token; returns the text that is complete with it, often empty."""
        self._tokens.append(token)
        fresh = self._fresh()
        return "" if fresh.endswith(UNFINISHED) else self._after_beginning(self._give(fresh))

    def finish(self) -> str:
        """The rest, when no more tokens come."""
        return self._after_beginning(self._give(self._fresh()), last=True)

    def _after_beginning(self, piece: str, *, last: bool = False) -> str:
        held = self._held + piece
        if self._without.startswith(held) and held != self._without and not last:
            self._held = held
            return ""
        rest, self._held, self._without = held.removeprefix(self._without), "", ""
        return rest

    def _fresh(self) -> str:
        before = self._decode(self._tokens[self._context : self._given])
        return self._decode(self._tokens[self._context :])[len(before) :]

    def _give(self, fresh: str) -> str:
        if fresh:
            self._context, self._given = self._given, len(self._tokens)
        return fresh

    def _decode(self, tokens: Sequence[int]) -> str:
        text = self._tokenizer.decode(tokens, skip_special_tokens=not self._special, clean_up_tokenization_spaces=False)
        return cast(str, text)
