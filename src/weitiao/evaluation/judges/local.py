"""A judge model on this machine, by the likelihood of the letters A and B.

A small model asked for a letter often writes a sentence, or the first letter whatever it thinks of it; what it writes
then has to be parsed, and much of it cannot be. The likelihood of the two letters always gives a preference, is exact
and deterministic, costs one pass over the question and no generation, and questions share their beginnings.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from weitiao.data.example import Example, Message
from weitiao.evaluation.judges.pairwise import LETTERS, JudgeConfig, Reply, read_question
from weitiao.evaluation.likelihood import likelihoods
from weitiao.rendering.items import TokenIds, TokenSequence

if TYPE_CHECKING:
    from weitiao.methods.open import OpenModel


class LocalJudge:
    """Compares the likelihood of the letters A and B as the reply.

    Args:
        config: How it is asked.
        opened: The model, with forest attention.
        weights: Short name of its weights: judgements of other weights under the same name are others.

    Attributes:
        name: Model, weights and question.
        letter_shares: For every question so far, the probability of the two letters together.
    """

    def __init__(self, config: JudgeConfig, opened: OpenModel, *, weights: str) -> None:
        self.question = read_question(config)
        self.name = f"{config.model}@{weights[:8]}/{self.question.name}"
        self.letter_shares: list[float] = []
        self._opened = opened
        self._token_budget = config.token_budget

    def spent(self) -> None:
        return None

    def answer(self, questions: Sequence[tuple[Message, ...]]) -> list[Reply | None]:
        """The letter that is the more likely reply to each question; a tie when both are equally likely.

        Raises:
            RenderingError: The model's chat template refuses the question.
            DataError: A question is longer than the model's context.
        """
        sequences = self._replies(questions)
        found = likelihoods(self._opened.model, sequences, token_budget=self._token_budget)
        replies: list[Reply | None] = []
        for first, second in zip(found[::2], found[1::2], strict=True):
            a, b = first.log_likelihood, second.log_likelihood
            self.letter_shares.append(math.exp(a) + math.exp(b))
            replies.append("first" if a > b else "second" if b > a else "tie")
        return replies

    def _replies(self, questions: Sequence[tuple[Message, ...]]) -> list[TokenSequence]:
        """Each question with either letter as the reply, as in training; only the letter is a target.

        The end-of-turn token behind it is left out: how likely it is says whether the model would go on, not which
        answer it prefers.
        """
        from weitiao.forest.layout import common_prefix_length
        from weitiao.rendering.config import RenderingConfig
        from weitiao.rendering.render import render

        examples = [
            Example(
                f"a question to the judge {self._opened.name}", (*question, {"role": "assistant", "content": letter})
            )
            for question in questions
            for letter in LETTERS
        ]
        # `likelihoods` refuses what is longer than the context
        config = RenderingConfig(turns="last", on_long="error")
        sequences = render(examples, self._opened.tokenizer, config, max_context=sys.maxsize).sequences
        replies = []
        for first, second in zip(sequences[::2], sequences[1::2], strict=True):
            one, other = first.token_ids, second.token_ids
            start = common_prefix_length(one, other)
            same_end = common_prefix_length(one[: start - 1 : -1], other[: start - 1 : -1])
            replies += [_target(first.row_id, ids[: len(ids) - same_end], start) for ids in (one, other)]
        return replies


def _target(row_id: str, ids: TokenIds, start: int) -> TokenSequence:
    assert 0 < start < len(ids), "the letters are tokens that differ"
    return TokenSequence.of(row_id, ids, [0.0] * start + [1.0] * (len(ids) - start))
