"""From test rows to the answers that a model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.data.example import Example, Message
from weitiao.errors import RenderingError
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.metrics import normalized

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

Progress = Callable[[int, int], None]
"""Called with the answers that are ready and how many there will be."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to one test row.

    Attributes:
        row_id: The `Example.row_id`.
        messages: The turns that were the prompt.
        expected: The answer that the row has.
        answer: What the model wrote, without special tokens.
        num_tokens: Tokens that were generated for it.
        stopped: Whether the model ended the answer itself; if not, the limit of new tokens cut it off.
        correct: Whether the two agree, in so far as `evaluate.normalize` says what counts.
    """

    row_id: str
    messages: tuple[Message, ...]
    expected: str
    answer: str
    num_tokens: int
    stopped: bool
    correct: bool


def is_gradable(example: Example) -> bool:
    """Whether the row asks something and has the text of the right answer; raw text and mere tool calls have none."""
    return bool(example.prompt) and bool(example.answer)


def predict(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    config: EvaluationConfig,
    *,
    on_progress: Progress | None = None,
) -> tuple[Prediction, ...]:
    """Let the model answer test rows and compare.

    The last assistant turn of a row is what is expected; the turns before it are the prompt, rendered exactly as in
    training.

    Args:
        model: The model with forest attention, with or without adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        examples: Gradable rows (`is_gradable`).
        config: The recipe section `evaluate`.
        on_progress: Told how many answers are ready.

    Returns:
        One prediction per row, in order.

    Raises:
        RenderingError: The template refuses a row, the tokenizer has none, or a prompt fills the model's context.
    """
    from weitiao.generation.generate import generate, stop_ids
    from weitiao.rendering.render import render_prompt

    prompts = [render_prompt(tokenizer, example.prompt, example.tools) for example in examples]
    _require_room(model, examples, prompts)
    stops = stop_ids(model, tokenizer)
    completions = generate(model, prompts, config.generation, stop_ids=stops, on_progress=on_progress)
    predictions = []
    for example, completion in zip(examples, completions, strict=True):
        answer = tokenizer.decode(completion.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        predictions.append(
            Prediction(
                row_id=example.row_id,
                messages=example.prompt,
                expected=example.answer,
                answer=answer,
                num_tokens=len(completion.token_ids),
                stopped=completion.stopped,
                correct=normalized(answer, config.normalize) == normalized(example.answer, config.normalize),
            )
        )
    return tuple(predictions)


def _require_room(model: nn.Module, examples: Sequence[Example], prompts: Sequence[Sequence[int]]) -> None:
    """Name the rows that cannot be answered before time is spent on the others."""
    from weitiao.models.parts import causal_model

    context = getattr(causal_model(model).config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return
    long = [(example, prompt) for example, prompt in zip(examples, prompts, strict=True) if len(prompt) >= context]
    if long:
        example, prompt = long[0]
        more = f", and {len(long) - 1:,} more rows" if len(long) > 1 else ""
        raise RenderingError(
            f"{example.row_id}: its prompt of {len(prompt):,} tokens leaves no room for an answer in the model's "
            f"context of {context:,}{more}.",
            "Shorten or remove these test rows, or use a model with a longer context.",
        )
