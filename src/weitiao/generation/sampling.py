"""The next token of every sequence: the most likely one, or one that is drawn, and how likely it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weitiao.generation.config import GenerationConfig

LIKELY_TOKENS = 1024
"""Tokens in which top-p looks first: to sort a whole vocabulary took as long as to run a small model."""

BLOCK = 256
"""Neighbouring tokens whose probability is added up first: a draw finds the block, and then the token in it."""

_LOGITS_AT_ONCE = 2**20
"""On a CPU: what is made of them then stays in its caches, and in memory that it has already."""


class Sampler:
    """Takes the most likely token, or draws one.

    Every prompt has a stream of random numbers of its own, so its answer does not depend on the batch it is in.

    Args:
        config: Temperature, top-k, top-p and seed.
        numbers: The number of each sequence among all prompts.
        note: A list for each sequence, which gets the log-probability of every token at this temperature, before top-k
            and top-p.
    """

    def __init__(
        self, config: GenerationConfig, numbers: Sequence[int], note: Sequence[list[float]] | None = None
    ) -> None:
        self._config, self._note = config, note
        self._streams = [stream_of(config.seed, number) for number in numbers]

    def sample(self, logits_BV: Tensor, rows: Sequence[int]) -> list[int]:
        """Token ids, one for each row of logits; `rows` says which sequence each belongs to."""
        size = max(1, _LOGITS_AT_ONCE // logits_BV.shape[1]) if logits_BV.device.type == "cpu" else len(rows)
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]
        return [token for part in parts for token in self._sampled(logits_BV[part], rows[part])]

    def _sampled(self, logits_BV: Tensor, rows: Sequence[int]) -> list[int]:
        scores_BV, lse_B1 = _scores(logits_BV, self._config), None
        if self._config.temperature == 0:
            chosen_B1 = scores_BV.argmax(dim=1, keepdim=True)
        else:
            uniform_B = torch.tensor([self._streams[row].random() for row in rows], dtype=torch.float64)
            chosen_B1, lse_B1 = _drawn(scores_BV, uniform_B.to(scores_BV.device), self._config)
        if self._note is not None:
            lse_B1 = scores_BV.logsumexp(1, keepdim=True) if lse_B1 is None else lse_B1
            for row, value in zip(rows, (scores_BV.gather(1, chosen_B1) - lse_B1).flatten().tolist(), strict=True):
                self._note[row].append(value)
        tokens: list[int] = chosen_B1.flatten().tolist()
        return tokens


def choose(logits_BV: Tensor, configs: Sequence[GenerationConfig], streams: Sequence[np.random.Generator]) -> list[int]:
    """The next token of each row, which has settings and random numbers of its own."""
    tokens: list[int] = logits_BV.argmax(dim=1).tolist()
    alike: dict[tuple[float, int | None, float], list[int]] = {}
    for row, one in enumerate(configs):
        if one.temperature > 0:
            alike.setdefault((one.temperature, one.top_k, one.top_p), []).append(row)
    for rows in alike.values():
        uniform_B = torch.tensor([streams[row].random() for row in rows], dtype=torch.float64)
        drawn_B1 = draw(logits_BV[rows], uniform_B.to(logits_BV.device), configs[rows[0]])
        for row, token in zip(rows, drawn_B1.flatten().tolist(), strict=True):
            tokens[row] = token
    return tokens


def stream_of(seed: int, number: int = 0) -> np.random.Generator:
    """The random numbers of a prompt: of its number among others, and of the seed."""
    return np.random.default_rng((seed, number))


def draw(logits_BV: Tensor, uniform_B: Tensor, config: GenerationConfig) -> Tensor:
    """Draw from the distribution that temperature, top-k and top-p (in this order) leave.

    Args:
        logits_BV: Logits.
        uniform_B: A random number of [0, 1) for each row, in float64: where in the cumulated distribution to look.
        config: Temperature above 0, top-k, top-p.

    Returns:
        Token ids [B, 1].
    """
    return _drawn(_scores(logits_BV, config), uniform_B, config)[0]


def _drawn(scores_BV: Tensor, uniform_B: Tensor, config: GenerationConfig) -> tuple[Tensor, Tensor | None]:
    """Token ids [B, 1]; and, where it fell off, the log-sum-exp [B, 1] of all scores."""
    tokens = None
    if config.top_k is not None and config.top_k < scores_BV.shape[1]:
        scores_BV, tokens = scores_BV.topk(config.top_k, dim=1)
    if config.top_p == 1:
        highest_B1 = scores_BV.amax(1, keepdim=True)
        places_B1, sum_B1 = _place(_weights(scores_BV, highest_B1), uniform_B)
        if tokens is None:
            return places_B1, highest_B1 + sum_B1.log()
        return tokens.gather(1, places_B1), None
    probabilities = scores_BV.double().softmax(dim=1)
    if tokens is None:
        probabilities, tokens = _most_likely(probabilities, config.top_p)
    before = probabilities.cumsum(dim=1) - probabilities
    probabilities = probabilities.masked_fill(before >= config.top_p, 0)
    return tokens.gather(1, _place(probabilities.unsqueeze(1), uniform_B)[0]), None


def _scores(logits_BV: Tensor, config: GenerationConfig) -> Tensor:
    return logits_BV.float() if config.temperature in (0, 1) else logits_BV.float() / config.temperature


def _weights(scores_BV: Tensor, highest_B1: Tensor) -> Tensor:
    """exp(score - highest), by blocks [B, V / BLOCK, BLOCK]; there are zeros behind the last."""
    num_rows, vocabulary = scores_BV.shape
    weights = scores_BV.new_empty(num_rows, -(-vocabulary // BLOCK), BLOCK)
    flat = weights.view(num_rows, -1)
    torch.sub(scores_BV, highest_B1, out=flat[:, :vocabulary]).exp_()
    flat[:, vocabulary:] = 0
    return weights


def _place(weights_BNM: Tensor, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """The place [B, 1] in a row of N blocks of M weights up to which there is this share of their sum, and the sum."""
    sums_BN = weights_BNM.sum(2).double().cumsum(1)
    block_B1, left_B1 = _find(sums_BN, uniform_B.unsqueeze(1) * sums_BN[:, -1:])
    inner_BM = weights_BNM[torch.arange(len(weights_BNM), device=weights_BNM.device), block_B1.squeeze(1)]
    place_B1, _ = _find(inner_BM.double().cumsum(1), left_B1)
    return block_B1 * weights_BNM.shape[2] + place_B1, sums_BN[:, -1:]


def _find(cumulated_BN: Tensor, wanted_B1: Tensor) -> tuple[Tensor, Tensor]:
    """The first place with more than a cumulated weight, at most the last that weighs; and what is left of it there."""
    last_B1 = (cumulated_BN < cumulated_BN[:, -1:]).sum(1, keepdim=True)
    places_B1 = torch.searchsorted(cumulated_BN, wanted_B1, right=True).minimum(last_B1)
    before_B1 = cumulated_BN.gather(1, (places_B1 - 1).clamp(min=0)).masked_fill(places_B1 == 0, 0)
    return places_B1, wanted_B1 - before_B1


def _most_likely(probabilities_BV: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """Falling probabilities and their tokens, enough in each row for the probability `mass`."""
    vocabulary = probabilities_BV.shape[1]
    likely, tokens = probabilities_BV.topk(min(LIKELY_TOKENS, vocabulary), dim=1)
    if (likely.sum(dim=1) < mass).any():
        likely, tokens = probabilities_BV.sort(dim=1, descending=True)
    return likely, tokens
