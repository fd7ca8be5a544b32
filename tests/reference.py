"""An independent reference: each sequence alone through the plain model, summed by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from weitiao.rendering.items import TokenSequence

VOCABULARY = 120
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}


def family_config(family: str) -> PretrainedConfig:
    """A small random member of a family."""
    return {
        "llama": lambda: LlamaConfig(**_GROUPED),
        "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=None),
        "mistral-window": lambda: MistralConfig(**_GROUPED, sliding_window=12),
        "mixtral": lambda: MixtralConfig(**_GROUPED, num_local_experts=4, num_experts_per_tok=2, sliding_window=None),
        "qwen2": lambda: Qwen2Config(**_GROUPED),
        "qwen3": lambda: Qwen3Config(**_GROUPED, head_dim=16),
        "gpt_neox": lambda: GPTNeoXConfig(**_SIZES, rotary_pct=0.5),
        "olmo2": lambda: Olmo2Config(**_GROUPED),
    }[family]()


FAMILIES = ("llama", "mistral", "mistral-window", "mixtral", "qwen2", "qwen3", "gpt_neox", "olmo2")


def build(family: str, attention: str) -> nn.Module:
    """The same random weights for every call with the same family."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(family_config(family), attn_implementation=attention).eval()


def forest_rows(seed: int = 0) -> list[TokenSequence]:
    """Rows that share long and short beginnings, with fractional weights and a row that stands alone."""
    rng = random.Random(seed)

    def tokens(num: int) -> list[int]:
        return [rng.randrange(VOCABULARY) for _ in range(num)]

    stem = tokens(25)
    branch = stem + tokens(6)
    bodies = [stem + tokens(9), stem + tokens(1), branch + tokens(20), branch + tokens(4), branch, tokens(30)]
    return [
        TokenSequence.of(
            f"rows.jsonl:{i + 1}", tuple(ids), tuple([0.0] + [rng.choice([0.0, 1.0, 0.5]) for _ in ids[1:]])
        )
        for i, ids in enumerate(bodies)
    ]


def sequence_loss_sum(model: nn.Module, sequence: TokenSequence) -> Tensor:
    """Weighted loss sum of a sequence alone, through the model's own forward and all its logits."""
    ids = torch.from_numpy(sequence.token_ids.astype(np.int64))[None]
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
    losses = F.cross_entropy(logits, ids[0, 1:], reduction="none")
    return (losses * torch.tensor(sequence.weights[1:])).sum()


def loss_and_gradient(model: nn.Module, sequences: Sequence[TokenSequence]) -> tuple[float, Tensor]:
    """Loss sum over all sequences, and the gradient of everything that learns, flattened."""
    model.zero_grad()
    total = 0.0
    for sequence in sequences:
        loss = sequence_loss_sum(model, sequence)
        loss.backward()
        total += loss.item()
    return total, gradient(model)


def gradient(model: nn.Module) -> Tensor:
    """The gradient of everything that learns, flattened."""
    parts = [
        (torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters() if p.requires_grad
    ]
    return torch.cat(parts)
