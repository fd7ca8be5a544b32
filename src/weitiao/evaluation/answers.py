"""From test rows to the answers that a model gives, and their grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from weitiao.data.example import Example, Message
from weitiao.errors import RenderingError
from weitiao.evaluation.likelihood import Progress
from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.generation.config import GenerationConfig

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Prediction:
    """The model's answer to one test row.

    Attributes:
        row_id: The `Example.row_id`.
        messages: The turns that were the prompt.
        expected: The answer that the row has.
        answer: What the model wrote, without special tokens and what belongs to the template (see `AnswerReader`).
        num_tokens: Tokens that were generated for it.
        stopped: Whether the model ended the answer itself; if not, the limit of new tokens cut it off.
        correct: Whether the first metric grades it 1.
        grades: The grade of each metric, 0 to 1; empty before `graded`.
        columns: The other columns of the row.
    """

    row_id: str
    messages: tuple[Message, ...]
    expected: str
    answer: str
    num_tokens: int
    stopped: bool
    correct: bool
    grades: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, example: Example, answer: str, *, num_tokens: int, stopped: bool) -> Prediction:
        """What somebody answered to a row, not graded yet."""
        prompt, expected = example.prompt, example.answer
        return cls(example.row_id, prompt, expected, answer, num_tokens, stopped, False, columns=example.columns)

    @property
    def item(self) -> Item:
        """What a metric looks at."""
        return Item(self.answer, self.expected, self.messages, self.columns, self.row_id)


def is_gradable(example: Example) -> bool:
    """Whether the row asks something and has the text of the right answer; raw text and mere tool calls have none."""
    return bool(example.prompt) and bool(example.answer) and example.numbers.get("mark", 1) > 0


def check_rows(examples: Sequence[Example], metrics: Sequence[Metric]) -> None:
    """Refuse rows that a metric cannot grade, before time is spent on answers.

    Raises:
        WeitiaoError: The message names the row.
    """
    for example in examples:
        for metric in metrics:
            metric.check(Item("", example.answer, example.prompt, example.columns, example.row_id))


def write_answers(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    generation: GenerationConfig,
    *,
    on_progress: Progress | None = None,
) -> list[Prediction]:
    """Let the model answer test rows.

    The last assistant turn of a row is what is expected; the turns before it are the prompt, rendered exactly as in
    training.

    Args:
        model: The model with forest attention, with or without adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        examples: Gradable rows (`is_gradable`).
        generation: How answers are written.
        on_progress: Told how many answers are ready.

    Returns:
        One answer per row, in order, not graded yet.

    Raises:
        RenderingError: The template refuses a row, the tokenizer has none, or a prompt fills the model's context.
    """
    from weitiao.generation.generate import stop_ids
    from weitiao.methods.answering import answer
    from weitiao.rendering.answers import AnswerReader

    prompts = prompts_of(tokenizer, examples, room_in=model)
    stops = stop_ids(model, tokenizer)
    written = answer(model, prompts, generation, stop_ids=stops, on_progress=on_progress)
    reader = AnswerReader(tokenizer)
    return [
        Prediction.of(
            asked,
            reader.read(asked.prompt, asked.tools, one.token_ids, expected=asked.answer),
            num_tokens=len(one.token_ids),
            stopped=one.stopped,
        )
        for asked, one in zip(examples, written, strict=True)
    ]


def prompts_of(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, room_in: nn.Module | None = None
) -> list[list[int]]:
    """The prompts of test rows as token ids.

    Args:
        tokenizer: With the chat template of the training.
        examples: The rows.
        room_in: A model in whose context every prompt has to leave room for an answer.

    Raises:
        RenderingError: The template refuses a row, the tokenizer has none, or a prompt fills the model's context.
    """
    from weitiao.rendering.render import Prompts

    prompt = Prompts(tokenizer)
    prompts = [prompt(one.prompt, one.tools, where=one.row_id) for one in examples]
    if room_in is not None:
        _require_room(room_in, examples, prompts)
    return prompts


def graded(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> tuple[Prediction, ...]:
    """The same answers with the grades of these metrics, whatever grades they have.

    Args:
        predictions: Answers to gradable rows, whoever gave them.
        metrics: At least one; the first says what is correct.

    Raises:
        WeitiaoError: A row cannot be graded; the message names it.
    """
    items = [one.item for one in predictions]
    grades = {metric.title: metric.grade_all(items) for metric in metrics}
    by_row = (dict(zip(grades, found, strict=True)) for found in zip(*grades.values(), strict=True))
    first = metrics[0].title
    return tuple(
        replace(one, grades=found, correct=found[first] == 1) for one, found in zip(predictions, by_row, strict=True)
    )


def _require_room(model: nn.Module, examples: Sequence[Example], prompts: Sequence[Sequence[int]]) -> None:
    """Name the rows that cannot be answered before time is spent on the others."""
    from weitiao.models.parts import causal_model, context_length

    context = context_length(causal_model(model).config)
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
