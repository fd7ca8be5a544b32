"""A conversation with a model: turns in, pieces of text out."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

from peft import PeftModel
from torch import nn

from weitiao.data.example import Message
from weitiao.generation.answer_text import AnswerText
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import probe_answers, stop_ids, stream
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.render import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Conversation:
    """A model and what was said so far.

    Args:
        model: A causal language model with forest attention, with or without an adapter.
        tokenizer: With its chat template.
        config: How answers are written.
        system: The system message, when there is one.
        base: Answer without the adapter.

    Raises:
        ModelError: The model is of a family that cannot be run.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        config: GenerationConfig,
        *,
        system: str | None = None,
        base: bool = False,
    ) -> None:
        greeting = tuple(tokenizer(system or "Hello!")["input_ids"])
        probe_answers(model, [greeting], config)  # refuses a model here, not in the middle of a conversation
        self._model = model
        self._tokenizer = tokenizer
        self._config = config
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._base = base
        self._stop_ids = stop_ids(model, tokenizer)
        self._prompt = Prompts(tokenizer)
        self._reader = AnswerReader(tokenizer) if tokenizer.chat_template is not None else None
        self._num_answers = 0
        self.turns: list[Message] = []

    def reset(self) -> None:
        """Forget all turns but the system message."""
        self.turns.clear()

    def answer(self, text: str) -> Generator[str, None, None]:
        """Say something to the model.

        Args:
            text: The user's turn.

        Yields:
            The answer in pieces of whole characters. An answer that is broken off (the iterator is closed) stays in
            the conversation as far as it came; if nothing came, the user's turn is forgotten too.

        Raises:
            ModelError: The conversation fills the model's context.
            RenderingError: The tokenizer has no chat template, or it refuses the conversation.
        """
        question: Message = {"role": "user", "content": text}
        asked = [*self._system, *self.turns, question]
        prompt = self._prompt(asked)
        assert self._reader is not None, "a prompt needs a chat template"
        answer_text = AnswerText(self._tokenizer, without=self._reader.inserted(asked))
        said, complete = "", False
        number = self._num_answers  # the next answer draws other random numbers, even to the same question
        self._num_answers += 1
        try:
            with self._adapter():
                for token in stream(self._model, prompt, self._config, stop_ids=self._stop_ids, number=number):
                    if piece := answer_text.push(token):
                        said += piece
                        yield piece
            if rest := answer_text.finish():
                said += rest
                yield rest
            complete = True
        finally:
            if said or complete:
                self.turns += [question, {"role": "assistant", "content": said}]

    def _adapter(self) -> AbstractContextManager[object]:
        if self._base and isinstance(self._model, PeftModel):
            return cast("AbstractContextManager[object]", self._model.disable_adapter())
        return nullcontext()
