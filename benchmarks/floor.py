"""The floor of a training step: the time of its matrix products alone, on this machine, in this process.

Twice: the products of the frozen weights and of the head, and with them those that attention cannot avoid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PretrainedConfig

from weitiao.forest.layout import Forest
from weitiao.models.parts import causal_model
from weitiao.models.products import product

HEAD_ROWS = 341  # as many rows as the chunked loss takes at once with 49,152 entries in the vocabulary


def frozen_weights(model: nn.Module) -> list[torch.Tensor]:
    """The weights of all linear layers of the decoder, adapters and head left out."""
    head = causal_model(model).get_output_embeddings()
    return [
        module.weight.detach()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in name
    ]


def floor_seconds(model: nn.Module, forests: Sequence[Forest], *, samples: int = 4) -> tuple[float, float]:
    """Seconds that the products take for these forests: those of the frozen weights and of the head, and of attention.

    For a forest of T tokens and N targets: `x W^T` forward and `dy W` backward with T rows for every linear layer, and
    the same with N rows for the head, by the faster library. In attention a segment's tokens and its descendants
    see the segment: two products forward and four backward over these pairs of tokens and no others, all heads that
    share keys at once; of a segment with itself half of what the square takes. Adapters and everything element-wise,
    the softmax too, are in neither.
    Some forests, evenly spread, are measured (the better of two tries); the sum is scaled to all by their tokens.
    """
    weights = frozen_weights(model)
    head = next(causal_model(model).get_output_embeddings().parameters()).detach()
    config = causal_model(model).config
    chosen = [forests[i * len(forests) // samples] for i in range(samples)] if len(forests) > samples else list(forests)
    scale = sum(len(f.layout) for f in forests) / sum(len(f.layout) for f in chosen)
    products = sum(min(_products(weights, head, forest) for _ in range(2)) for forest in chosen)
    layer = sum(min(_attention(config, forest) for _ in range(2)) for forest in chosen)
    return products * scale, layer * config.num_hidden_layers * scale


def _products(weights: Sequence[torch.Tensor], head: torch.Tensor, forest: Forest) -> float:
    num_tokens, num_targets = len(forest.layout), len(forest.targets)
    inputs = {size: torch.full((num_tokens, size), 0.1) for size in {s for w in weights for s in w.shape}}
    hidden = torch.full((HEAD_ROWS, head.shape[1]), 0.1)
    begun = time.perf_counter()
    for weight in weights:
        product(inputs[weight.shape[1]], weight)
        product(inputs[weight.shape[0]], weight.t())
    for start in range(0, num_targets, HEAD_ROWS):
        logits = product(hidden[: min(HEAD_ROWS, num_targets - start)], head)
        product(logits, head.t())
    return time.perf_counter() - begun


def _attention(config: PretrainedConfig, forest: Forest) -> float:
    """Seconds of one layer."""
    segments = forest.layout.segments
    inside = sum(_pairs(config, one.end - one.start, one.end - one.start) for one in segments) / 2
    return inside + sum(_pairs(config, one.subtree_end - one.end, one.end - one.start) for one in segments)


def _pairs(config: PretrainedConfig, num_queries: int, num_keys: int) -> float:
    """Seconds of the six products of so many queries with so many keys, in all heads."""
    if not num_queries:
        return 0.0
    num_heads, shared = config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads
    queries = torch.full((num_heads, shared * num_queries, config.head_dim), 0.1)
    keys = torch.full((num_heads, num_keys, config.head_dim), 0.1)
    scores = torch.empty(num_heads, shared * num_queries, num_keys)
    read, learned = torch.empty_like(queries), torch.empty_like(keys)
    begun = time.perf_counter()
    for _ in range(2):  # scores and answers; their gradients to scores and to queries
        torch.bmm(queries, keys.mT, out=scores)
        torch.bmm(scores, keys, out=read)
    for _ in range(2):  # the gradients to keys and to values
        torch.bmm(scores.mT, queries, out=learned)
    return time.perf_counter() - begun
