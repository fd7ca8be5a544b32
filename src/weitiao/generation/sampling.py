"""The next token of every sequence from its logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weitiao.generation.config import GenerationConfig

LIKELY_TOKENS = 1024
"""Tokens in which top-p looks first: to sort a whole vocabulary took as long as to run a small model."""


class Sampler:
    """Takes the most likely token, or draws one.

    Every prompt has a stream of random numbers of its own, so its answer does not depend on the batch it is in.

    Args:
        config: Temperature, top-k, top-p and seed.
        numbers: The number of each sequence among all prompts.
    """

    def __init__(self, config: GenerationConfig, numbers: Sequence[int]) -> None:
        self._config = config
        self._streams = [np.random.default_rng((config.seed, number)) for number in numbers]

    def sample(self, logits_BV: Tensor, rows: Sequence[int]) -> list[int]:
        """Token ids, one for each row of logits; `rows` says which sequence each belongs to."""
        if self._config.temperature == 0:
            greedy: list[int] = logits_BV.argmax(dim=1).tolist()
            return greedy
        uniform_B = torch.tensor([self._streams[row].random() for row in rows], dtype=torch.float64)
        return draw(logits_BV, uniform_B.to(logits_BV.device), self._config)


def draw(logits_BV: Tensor, uniform_B: Tensor, config: GenerationConfig) -> list[int]:
    """Draw from the distribution that temperature, top-k and top-p (in this order) leave.

    Args:
        logits_BV: Logits.
        uniform_B: A random number of [0, 1) for each row, in float64: where in the cumulated distribution to look.
        config: Temperature above 0, top-k, top-p.

    Returns:
        B token ids.
    """
    scores, tokens = logits_BV.float() / config.temperature, None
    if config.top_k is not None and config.top_k < scores.shape[1]:
        scores, tokens = scores.topk(config.top_k, dim=1)
    probabilities = scores.double().softmax(dim=1)
    if config.top_p < 1:
        if tokens is None:
            probabilities, tokens = _most_likely(probabilities, config.top_p)
        before = probabilities.cumsum(dim=1) - probabilities
        probabilities = probabilities.masked_fill(before >= config.top_p, 0)
    cumulated = probabilities.cumsum(dim=1)
    wanted_B1 = uniform_B.unsqueeze(1) * cumulated[:, -1:]
    places_B1 = torch.searchsorted(cumulated, wanted_B1, right=True).clamp_(max=cumulated.shape[1] - 1)
    chosen_B1 = places_B1 if tokens is None else tokens.gather(1, places_B1)
    drawn: list[int] = chosen_B1.squeeze(1).tolist()
    return drawn


def _most_likely(probabilities_BV: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """Falling probabilities and their tokens, enough in each row for the probability `mass`."""
    vocabulary = probabilities_BV.shape[1]
    likely, tokens = probabilities_BV.topk(min(LIKELY_TOKENS, vocabulary), dim=1)
    if (likely.sum(dim=1) < mass).any():
        likely, tokens = probabilities_BV.sort(dim=1, descending=True)
    return likely, tokens
