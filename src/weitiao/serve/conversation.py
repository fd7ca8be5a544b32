"""A conversation with a model: turns in, pieces of the answer out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from weitiao.data.example import Message
from weitiao.errors import ModelError
from weitiao.serve.engine import Engine, Request
from weitiao.serve.text import Answer, ModelText, Piece, write


class Conversation:
    """A model and what was said so far.

    Args:
        engine: Writes the answers.
        text: Of its model.
        how: How answers are written; the prompt is that of each turn.
        system: The system message, when there is one.
    """

    def __init__(self, engine: Engine, text: ModelText, how: Request, *, system: str | None = None) -> None:
        self._engine, self._text = engine, text
        self._how = replace(how, stop_ids=text.stop_ids)
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._num_answers = 0
        self.turns: list[Message] = []

    def reset(self) -> None:
        """Forget all turns but the system message."""
        self.turns.clear()

    async def answer(self, text: str) -> AsyncGenerator[Piece, None]:
        """Say something to the model.

        Args:
            text: The user's turn.

        Yields:
            The answer in pieces of whole characters. An answer that is broken off (the generator is closed) stays in
            the conversation as far as it came; if nothing came, the user's turn is forgotten too.

        Raises:
            ModelError: The conversation fills the model's context.
            RenderingError: The tokenizer has no chat template, or it refuses the conversation.
            ServeError: The engine died.
        """
        question: Message = {"role": "user", "content": text}
        prompt = self._text.chat([*self._system, *self.turns, question])
        if len(prompt.ids) >= (context := self._engine.served.context):
            raise ModelError(
                f"A prompt of {len(prompt.ids):,} tokens leaves no room for an answer in the context of {context:,}.",
                "Begin a new conversation, or use a model with a longer context.",
            )
        # the next answer draws other random numbers, even to the same question
        request = replace(self._how, prompt=prompt.ids, seed=self._how.seed + self._num_answers)
        self._num_answers += 1
        said, complete = "", False
        try:
            async with aclosing(write(self._engine, request, Answer(self._text, prompt))) as pieces:
                async for piece in pieces:
                    said += piece.content
                    yield piece
            complete = True
        finally:
            if said or complete:
                self.turns += [question, {"role": "assistant", "content": said}]
