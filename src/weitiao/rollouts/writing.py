"""From prompts to scored answers: what a model writes, read as answers and given their rewards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from weitiao.data.example import Example, asked
from weitiao.evaluation.metrics.base import Item as Answered
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion, stop_ids
from weitiao.methods.answering import answer
from weitiao.rendering.answers import AnswerReader
from weitiao.rendering.items import Item
from weitiao.rollouts.rewards import Rewards
from weitiao.rollouts.samples import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Write = Callable[[nn.Module, Sequence[Sequence[int]], GenerationConfig, frozenset[int]], list[Completion]]
"""Answers prompts: our own generation, or another engine that has the same weights."""


def write_here(
    model: nn.Module, prompts: Sequence[Sequence[int]], config: GenerationConfig, stops: frozenset[int]
) -> list[Completion]:
    """Answers by the model in memory."""
    return answer(model, prompts, config, stop_ids=stops, logprobs=True)


@dataclass(frozen=True, slots=True)
class Writer:
    """Lets a model answer prompts, and scores the answers.

    Attributes:
        examples: The rows, by their ids.
        tokenizer: With the chat template of the training.
        rewards: What answers are worth.
        write: What writes them.
    """

    examples: Mapping[str, Example]
    tokenizer: PreTrainedTokenizerBase
    rewards: Rewards
    write: Write = write_here

    def answers(
        self, model: nn.Module, prompts: Sequence[Item], num_samples: int, config: GenerationConfig
    ) -> list[Sample]:
        """So many answers to every prompt, not scored yet.

        Args:
            model: With forest attention; its training mode is off meanwhile.
            prompts: One sequence each.
            num_samples: Answers to each of them; they stand one after the other.
            config: How answers are written.
        """
        stops, reader = stop_ids(model, self.tokenizer), AnswerReader(self.tokenizer)
        tokens = [one.sequences[0].token_ids.tolist() for one in prompts for _ in range(num_samples)]
        samples = []
        for place, found in enumerate(self.write(model, tokens, config, stops)):
            group = place // num_samples
            row = self.examples[prompts[group].row_id]
            turns, expected = asked(row)
            answer = reader.read(turns, row.tools, found.token_ids, expected=expected)
            ids = found.token_ids if found.end is None else (*found.token_ids, found.end)
            sampled = {"sampled_logprob": found.logprobs}
            samples.append(Sample(row.row_id, group, answer, ids, found.stopped, columns=dict(sampled)))
        return samples

    def score(self, samples: Sequence[Sample]) -> None:
        """Give the samples their rewards; one that cannot be scored is marked as dropped."""
        items = []
        for one in samples:
            row = self.examples[one.row_id]
            turns, expected = asked(row)
            items.append(Answered(one.answer, expected, turns, row.columns, row.row_id))
        for one, (scores, fault) in zip(samples, self.rewards.score(items), strict=True):
            one.rewards, one.dropped = scores, fault
            one.reward = None if fault else self.rewards.total(scores)


def seed_of(*numbers: int) -> int:
    """A seed that depends on numbers, and on nothing else."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=6).digest())
