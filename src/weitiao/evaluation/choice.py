"""Multiple choice by likelihood: the model's choice is the continuation that it holds most likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.evaluation.likelihood import Likelihood, Progress, continuation, likelihoods

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with several answers, one of them right.

    Attributes:
        item_id: Its name.
        question: The whole text before the answer, such as `Question: ...\\nAnswer:`.
        choices: The answers, without the space before them.
        answer: Index of the right one.
    """

    item_id: str
    question: str
    choices: tuple[str, ...]
    answer: int

    def __post_init__(self) -> None:
        assert 0 <= self.answer < len(self.choices)


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """What a model makes of an item.

    Attributes:
        item: The item.
        likelihoods: Of each choice after the question.
    """

    item: ChoiceItem
    likelihoods: tuple[Likelihood, ...]

    @property
    def log_likelihoods(self) -> list[float]:
        """Of each choice, summed over its tokens, in nats."""
        return [one.log_likelihood for one in self.likelihoods]

    @property
    def choice(self) -> int:
        """The most likely choice; of equal ones the first."""
        return max(range(len(self.likelihoods)), key=self.log_likelihoods.__getitem__)

    @property
    def correct(self) -> bool:
        """Whether the most likely choice is right (`acc` of lm-evaluation-harness)."""
        return self.choice == self.item.answer

    @property
    def answer_likelihood(self) -> Likelihood:
        """How likely the right choice is. Its loss moves where the share of right choices does not."""
        return self.likelihoods[self.item.answer]


def score_choices(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[ChoiceItem],
    *,
    token_budget: int,
    delimiter: str = " ",
    share_prefixes: bool = True,
    on_progress: Progress | None = None,
) -> list[ChoiceResult]:
    """Score multiple-choice items: each question is computed once, each choice is a branch behind it.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        tokenizer: Its tokenizer.
        items: The items.
        token_budget: Tokens computed at once.
        delimiter: What stands between question and choice.
        share_prefixes: Compute what the choices have in common once; the result is the same.
        on_progress: Told how many choices are done, and how many there are.

    Returns:
        One result per item, in order.

    Raises:
        DataError: A question with a choice is longer than the model's context, or a choice has no token of its own.
    """
    sequences = [
        continuation(tokenizer, item.item_id, item.question, delimiter + choice)
        for item in items
        for choice in item.choices
    ]
    scored = iter(
        likelihoods(model, sequences, token_budget=token_budget, share_prefixes=share_prefixes, on_progress=on_progress)
    )
    return [ChoiceResult(item, tuple(next(scored) for _ in item.choices)) for item in items]
