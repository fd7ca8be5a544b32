"""NEFTune: noise on the embeddings while a model learns (https://arxiv.org/abs/2310.05914, algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weitiao.forest.layout import sequence_lengths
from weitiao.models.parts import causal_model, decoder


def add_embedding_noise(model: nn.Module, alpha: float) -> None:
    """Add uniform noise within `alpha / sqrt(L D)` to every embedding, in training mode alone.

    L is the length of the token's sequence and D the width. A token that several sequences of a forest share has one
    noise for all of them, by the longest; where nothing is shared, it is that of the paper.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
        alpha: Of the paper, which has 5 to 15.
    """
    noise = _Noise(alpha)
    decoder(model).register_forward_pre_hook(noise.begin, with_kwargs=True)
    causal_model(model).get_input_embeddings().register_forward_hook(noise.add)


class _Noise:
    """Between the call of a decoder, which is handed the forest, and that of its embedding, which is not."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._lengths_T: Tensor | None = None

    def begin(self, network: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        lengths_T = torch.from_numpy(sequence_lengths(kwargs["forest"].layout)) if network.training else None
        self._lengths_T = lengths_T

    def add(self, embedding: nn.Module, args: Any, embedded_1TD: Tensor) -> Tensor:
        if self._lengths_T is None:
            return embedded_1TD
        width = embedded_1TD.shape[-1]
        bounds_T = self._alpha / (self._lengths_T.to(embedded_1TD.device) * width).sqrt()
        noise_1TD = (torch.rand_like(embedded_1TD) * 2 - 1) * bounds_T[None, :, None]
        return embedded_1TD + noise_1TD.to(embedded_1TD.dtype)
