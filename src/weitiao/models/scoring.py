"""How attention weighs its keys, beyond which of them it sees: what a layer asks for with every call."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scoring:
    """From products of queries and keys to weights.

    Attributes:
        scale: Factor of the products.
        window: A query sees so many tokens, itself included; all before it where it is None.
        softcap: Scores s become c tanh(s / c) (Gemma 2, https://arxiv.org/abs/2408.00118, section 2).
        sinks: For each of the H heads, the score of a key that every query sees and whose value is zero (gpt-oss,
            https://arxiv.org/abs/2508.10925, section 2.2).
    """

    scale: float
    window: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Scores [..., Q, S] in float32 of query [..., Q, D] and key [..., S, D], before any mask."""
        scores = (query @ key.transpose(-1, -2)).float() * self.scale
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)

    def beside_sinks(self, out: Tensor, lse: Tensor) -> Tensor:
        """What is left of attention when the sinks take their share.

        Args:
            out: [..., Q, D], normalised without them.
            lse: [..., Q], log-sum-exp of its scores.

        Returns:
            Of the shape of `out`: the weights of all keys together are exp(lse) / (exp(lse) + exp(sink)).
        """
        if self.sinks is None:
            return out
        return out * torch.sigmoid(lse - self.sinks_like(lse)).unsqueeze(-1).to(out.dtype)

    def sinks_like(self, lse: Tensor) -> Tensor:
        """The sinks [K, G, 1] or [H, 1] beside a log-sum-exp [..., K, G, Q] or [..., H, Q]."""
        assert self.sinks is not None
        heads = lse.shape[-2:-1] if lse.shape[-2] == len(self.sinks) else lse.shape[-3:-1]
        return self.sinks.to(lse.dtype).reshape(*heads, 1)


def weighed(query: Tensor, key: Tensor, value: Tensor, mask_TT: Tensor, scoring: Scoring) -> Tensor:
    """Attention in plain products, for scores that no kernel makes: [H, T, D].

    Args:
        query: [H, T, D].
        key, value: [K, T, D], H a multiple of K.
        mask_TT: What a query sees.
        scoring: How scores are made.
    """
    num_key_heads = key.shape[0]
    heads = (num_key_heads, query.shape[0] // num_key_heads)
    scores = scoring.scores(query.unflatten(0, heads), key.unsqueeze(1)).masked_fill(~mask_TT, -torch.inf)
    out = scores.softmax(-1).to(value.dtype) @ value.unsqueeze(1)
    if scoring.sinks is not None:
        out = scoring.beside_sinks(out, scores.logsumexp(-1))
    return out.flatten(0, 1)
