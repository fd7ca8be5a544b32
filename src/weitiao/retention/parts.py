"""The kinds of parts that a retention suite is made of: choices, instructions, passages, and tasks of the user."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from weitiao.data.example import Example
from weitiao.evaluation.answers import Prediction, write_answers
from weitiao.evaluation.choice import ChoiceItem, score_choices
from weitiao.evaluation.likelihood import Likelihood, likelihoods, passage
from weitiao.generation.config import GenerationConfig
from weitiao.retention.constraints import follows
from weitiao.retention.scores import PartScores, accuracy, loss_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from weitiao.rendering.items import TokenSequence

OnShare = Callable[[float], None]
"""Called with the share of a part that is done, 0 to 1."""

GENERATED_TOKEN = 2.0
"""Work of a generated token, in tokens of a likelihood; for the forecast of the time left."""

ANSWERS = "answers"
"""Ending of the name under which the loss of a part's known-good answers stands."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """A model that is scored, and how the work is cut up, which must not change a score.

    Attributes:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        on_share: Told how much of a part is done.
        token_budget: Tokens computed at once.
        batch_size: Answers written at once; None leaves it to the part.
        share_prefixes: Whether common beginnings are computed once.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    on_share: OnShare
    token_budget: int
    batch_size: int | None = None
    share_prefixes: bool = True

    def likelihoods(self, sequences: Sequence[TokenSequence]) -> list[Likelihood]:
        """The log-likelihood of the targets of every sequence."""
        return likelihoods(
            self.model,
            sequences,
            token_budget=self.token_budget,
            share_prefixes=self.share_prefixes,
            on_progress=lambda done, total: self.on_share(done / total),
        )

    def answer_likelihoods(self, examples: Sequence[Example]) -> dict[str, Likelihood]:
        """How likely what each example has to be learned from is, its end-of-turn token included, by row id.

        Raises:
            RenderingError: An example cannot be rendered, or is longer than the model's context.
        """
        from weitiao.models.parts import causal_model, context_length
        from weitiao.rendering.config import RenderingConfig
        from weitiao.rendering.render import render

        context = context_length(causal_model(self.model).config)
        config = RenderingConfig(turns="last", on_long="error")
        sequences = render(examples, self.tokenizer, config, max_context=context or 2**31).sequences
        found = self.likelihoods(sequences)
        return {sequence.row_id: one for sequence, one in zip(sequences, found, strict=True)}

    def answered(
        self,
        name: str,
        examples: Sequence[Example],
        generation: GenerationConfig,
        grade: Callable[[Sequence[Prediction]], Iterable[float]],
        guessing: Callable[[Mapping[str, str]], float],
    ) -> tuple[PartScores, ...]:
        """The grades of what the model answers, and the loss of the answers that are known to be good.

        Args:
            name: Of the part.
            examples: Prompts with their known-good answers.
            generation: How answers are written.
            grade: The grade of every answer.
            guessing: What the answers, by row id, would be graded if the model knew nothing.
        """
        batch_size = generation.batch_size if self.batch_size is None else self.batch_size
        written = write_answers(
            self.model,
            self.tokenizer,
            examples,
            generation.model_copy(update={"batch_size": batch_size, "share_prefixes": self.share_prefixes}),
            on_progress=lambda done, total: self.on_share(done / (total + 1)),
        )
        answers = {one.row_id: one.answer for one in written}
        grades = {one.row_id: found for one, found in zip(written, grade(written), strict=True)}
        likely = replace(self, on_share=lambda share: None).answer_likelihoods(examples)
        self.on_share(1.0)
        return (
            accuracy(name, grades, guessing=guessing(answers), answers=answers),
            loss_of(f"{name}-{ANSWERS}", likely),
        )


@dataclass(frozen=True, slots=True)
class Instruction:
    """A prompt whose answer a program can check.

    Attributes:
        item_id: Its name.
        prompt: The user turn.
        constraints: See `constraints.CHECKERS`.
        answer: A known-good answer, which meets them.
    """

    item_id: str
    prompt: str
    constraints: Mapping[str, Mapping[str, Any]]
    answer: str

    @property
    def example(self) -> Example:
        """The prompt with its known-good answer."""
        turns = ({"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.answer})
        return Example(self.item_id, turns)


@dataclass(frozen=True)
class Part(ABC):
    """A part of the suite.

    Attributes:
        name: What tables call it.
        holds: Attribute that has its items.
    """

    name: str
    holds: ClassVar[str] = "items"

    @property
    def needs_chat_template(self) -> bool:
        """Whether prompts are conversations."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages of others that grade the answers."""
        return ()

    def identity(self) -> str:
        """Changes when an item, or how it is asked and graded, does."""
        return repr(self)

    @abstractmethod
    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        """About how much is to be computed, in tokens."""

    @abstractmethod
    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        """Score a model: one or two kinds of grades for the same items."""

    def subset(self, choose: Callable[[int], Iterable[int]]) -> Self:
        """The same part with the items that `choose` picks out of so many, by index."""
        held = getattr(self, self.holds)
        chosen: dict[str, Any] = {self.holds: tuple(held[i] for i in choose(len(held)))}
        return replace(self, **chosen)


@dataclass(frozen=True)
class ChoicePart(Part):
    """Multiple choice by likelihood, and the loss of the right answers."""

    items: tuple[ChoiceItem, ...]
    delimiter: str = " "
    metric: Literal["acc", "acc_norm"] = "acc"

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        texts = [item.question + self.delimiter.join(item.choices) for item in self.items]
        return num_tokens(tokenizer, texts)

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        results = score_choices(
            scoring.model,
            scoring.tokenizer,
            self.items,
            token_budget=scoring.token_budget,
            delimiter=self.delimiter,
            share_prefixes=scoring.share_prefixes,
            on_progress=lambda done, total: scoring.on_share(done / total),
        )
        right = (one.correct_normalized if self.metric == "acc_norm" else one.correct for one in results)
        grades = {one.item.item_id: float(is_right) for one, is_right in zip(results, right, strict=True)}
        guessing = sum(1 / len(item.choices) for item in self.items) / len(self.items)
        return (
            accuracy(self.name, grades, guessing=guessing),
            loss_of(f"{self.name}-{ANSWERS}", {one.item.item_id: one.answer_likelihood for one in results}),
        )


@dataclass(frozen=True)
class InstructionPart(Part):
    """Prompts with checkable answers, and the loss of known-good answers.

    What guessing gives is measured: how often the model's answer to one prompt meets the constraints of another.
    """

    items: tuple[Instruction, ...]
    max_new_tokens: int

    @property
    def needs_chat_template(self) -> bool:
        return True

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        texts = [text for item in self.items for text in (item.prompt, item.prompt + item.answer)]
        return num_tokens(tokenizer, texts) + GENERATED_TOKEN * self.max_new_tokens * len(self.items)

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        def grade(written: Sequence[Prediction]) -> list[float]:
            return [float(follows(one.answer, item.constraints)) for item, one in zip(self.items, written, strict=True)]

        examples = [item.example for item in self.items]
        generation = GenerationConfig(max_new_tokens=self.max_new_tokens)
        return scoring.answered(self.name, examples, generation, grade, self._guessing)

    def _guessing(self, answers: Mapping[str, str]) -> float:
        met = [
            follows(answer, item.constraints)
            for item in self.items
            for item_id, answer in answers.items()
            if item_id != item.item_id
        ]
        return sum(met) / len(met) if met else 0.0


@dataclass(frozen=True)
class PassagePart(Part):
    """The loss on texts, all their tokens."""

    passages: Mapping[str, str] = field(default_factory=dict)

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        return num_tokens(tokenizer, list(self.passages.values()))

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        sequences = [passage(scoring.tokenizer, name, text) for name, text in self.passages.items()]
        found = scoring.likelihoods(sequences)
        return (loss_of(self.name, dict(zip(self.passages, found, strict=True))),)

    def subset(self, choose: Callable[[int], Iterable[int]]) -> Self:
        names = list(self.passages)
        return replace(self, passages={names[i]: self.passages[names[i]] for i in choose(len(names))})


def num_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """How many tokens texts have together."""
    return float(sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts))
