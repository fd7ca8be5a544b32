"""From the tokens that a model wrote to its answer: without what belongs to the template.

A model that was trained on a template's text writes what the template puts in front of answers (an empty think block,
the header of a turn), and reasoning that the template takes out of earlier turns. Neither is part of the answer. Both
are found by asking the template: what it prints between a prompt and a content, and what is left of the answer when it
prints it as an earlier turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow
from weitiao.rendering.printing import Printer, unused_character

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class AnswerReader:
    """Reads answers under a tokenizer's chat template.

    Args:
        tokenizer: With its chat template.

    Raises:
        RenderingError: The tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._printer = Printer(tokenizer)

    def read(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        token_ids: Sequence[int],
        *,
        expected: str = "",
    ) -> str:
        """The answer in what a model wrote.

        Args:
            messages: The turns that asked for it.
            tools: Their tool definitions.
            token_ids: What was written, without the token that ended it.
            expected: The answer that it will be compared with. One that brings its reasoning is compared with the
                reasoning.

        Returns:
            The text without special tokens.
        """
        inserted, opened = self._between(messages, tools)
        written = self._decode(token_ids, skip_special=False)
        rest = written.removeprefix(inserted)
        if self._without_reasoning(expected) != expected:
            return opened + self._plain(rest)
        answer = self._without_reasoning(rest)
        return self._decode(token_ids, skip_special=True) if answer == written else self._plain(answer)

    def inserted(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> str:
        """What a model writes in front of the next answer because the template does, without special tokens."""
        return self._plain(self._between(messages, tools)[0])

    def opens_reasoning(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> bool:
        """Whether the prompt for the next answer ends in an open think tag, so that the model goes on reasoning."""
        prompt = self._printer.print(messages, tools, for_answer=True)
        return self.takes_reasoning and prompt.rstrip().endswith("<think>")

    @cached_property
    def takes_reasoning(self) -> bool:
        """Whether the template takes what stands between think tags out of earlier answers: it is no part of them."""
        return self._without_reasoning("<think>\na\n</think>\n\nb") == "b"

    def _between(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> tuple[str, str]:
        """What the template prints before an answer and not in the prompt, and what in the prompt and not before it."""
        try:
            prompt = self._printer.print(messages, tools, for_answer=True)
            mark = unused_character(prompt)
            header, found, _ = self._printer.print([*messages, _answer(mark)], tools).partition(mark)
        except BadRow:  # then nothing is known of it, and nothing is taken away
            return "", ""
        if not found:
            return "", ""
        return (
            header[len(prompt) :] if header.startswith(prompt) else "",
            prompt[len(header) :] if prompt.startswith(header) else "",
        )

    def _without_reasoning(self, answer: str) -> str:
        """What is left of an answer when more turns follow, if the template takes its beginning away."""
        turns = [{"role": "user", "content": "a"}, _answer(answer), {"role": "user", "content": "b"}]
        try:
            text = self._printer.print(turns)
            place = self._printer.find(text, turns, 1, ())
        except BadRow:
            return answer
        kept = answer if place is None else text[place.start : place.end].strip()
        taken = answer.rstrip().removesuffix(kept)
        return kept if taken.strip() and taken != answer.rstrip() else answer

    def _plain(self, text: str) -> str:
        return self._printer.special.sub("", text)

    def _decode(self, token_ids: Sequence[int], *, skip_special: bool) -> str:
        text = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text


def _answer(content: str) -> Message:
    return {"role": "assistant", "content": content}
