"""The floor of a training step: the time of its matrix products alone, on this machine, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn

from weitiao.forest.layout import Forest
from weitiao.models.parts import causal_model

HEAD_ROWS = 341  # as many rows as the chunked loss takes at once with 49,152 entries in the vocabulary


def frozen_weights(model: nn.Module) -> list[torch.Tensor]:
    """The weights of all linear layers of the decoder, adapters and head left out."""
    head = causal_model(model).get_output_embeddings()
    return [
        module.weight.detach()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    ]


def floor_seconds(model: nn.Module, forests: Sequence[Forest], *, samples: int = 4) -> float:
    """Seconds that the products of the frozen weights and of the head take for these forests.

    For a forest of T tokens and N targets: `x W^T` forward and `dy W` backward with T rows for every linear layer, and
    the same with N rows for the head. Attention, adapters and everything element-wise are not in it. Some forests,
    evenly spread, are measured (the better of two tries); the sum is scaled to all by their tokens.
    """
    weights = frozen_weights(model)
    head = next(causal_model(model).get_output_embeddings().parameters()).detach()
    chosen = [forests[i * len(forests) // samples] for i in range(samples)] if len(forests) > samples else list(forests)
    measured = sum(min(_products(weights, head, forest) for _ in range(2)) for forest in chosen)
    return measured * sum(len(f.layout) for f in forests) / sum(len(f.layout) for f in chosen)


def _products(weights: Sequence[torch.Tensor], head: torch.Tensor, forest: Forest) -> float:
    num_tokens, num_targets = len(forest.layout), len(forest.targets)
    inputs = {size: torch.full((num_tokens, size), 0.1) for size in {s for w in weights for s in w.shape}}
    hidden = torch.full((HEAD_ROWS, head.shape[1]), 0.1)
    begun = time.perf_counter()
    for weight in weights:
        torch.mm(inputs[weight.shape[1]], weight.t())
        torch.mm(inputs[weight.shape[0]], weight)
    for start in range(0, num_targets, HEAD_ROWS):
        logits = torch.mm(hidden[: min(HEAD_ROWS, num_targets - start)], head.t())
        torch.mm(logits, head)
    return time.perf_counter() - begun
