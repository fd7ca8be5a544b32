"""The kinds of parts that a retention suite is made of: choices, instructions and passages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from weitiao.data.example import Example
from weitiao.evaluation.answers import write_answers
from weitiao.evaluation.likelihood import ChoiceItem, Likelihood, likelihoods, passage, score_choices
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
        batch_size: Answers written at once; None for the usual number.
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
    """

    name: str

    @property
    def needs_chat_template(self) -> bool:
        """Whether prompts are conversations."""
        return False

    @property
    @abstractmethod
    def num_items(self) -> int:
        """Questions, or passages."""

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
        held = self.__dict__["items"]
        return replace(self, items=tuple(held[i] for i in choose(len(held))))  # type: ignore[call-arg]


@dataclass(frozen=True)
class ChoicePart(Part):
    """Multiple choice by likelihood, and the loss of the right answers."""

    items: tuple[ChoiceItem, ...]
    delimiter: str = " "

    @property
    def num_items(self) -> int:
        return len(self.items)

    def identity(self) -> str:
        # the name of the metric stood behind the others when the first scores were kept
        return f"{repr(self)[:-1]}, metric='acc')"

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
        grades = {one.item.item_id: float(one.correct) for one in results}
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
    def num_items(self) -> int:
        return len(self.items)

    @property
    def needs_chat_template(self) -> bool:
        return True

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        texts = [text for item in self.items for text in (item.prompt, item.prompt + item.answer)]
        return num_tokens(tokenizer, texts) + GENERATED_TOKEN * self.max_new_tokens * len(self.items)

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        examples = [item.example for item in self.items]
        written = write_answers(
            scoring.model,
            scoring.tokenizer,
            examples,
            GenerationConfig(
                max_new_tokens=self.max_new_tokens,
                share_prefixes=scoring.share_prefixes,
                **({} if scoring.batch_size is None else {"batch_size": scoring.batch_size}),
            ),
            on_progress=lambda done, total: scoring.on_share(done / (total + 1)),
        )
        answers = {one.row_id: one.answer for one in written}
        grades = {item.item_id: float(follows(answers[item.item_id], item.constraints)) for item in self.items}
        likely = replace(scoring, on_share=lambda share: None).answer_likelihoods(examples)
        scoring.on_share(1.0)
        return (
            accuracy(self.name, grades, guessing=self._guessing(answers), answers=answers),
            loss_of(f"{self.name}-{ANSWERS}", likely),
        )

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

    @property
    def num_items(self) -> int:
        return len(self.passages)

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
