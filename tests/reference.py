"""An independent reference: each sequence alone through the plain model, summed by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    Olmo3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    get_cosine_schedule_with_warmup,
)

from weitiao.rendering.items import TokenSequence
from weitiao.seeding import shuffled

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
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}


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
        "olmo3": lambda: Olmo3Config(**_GROUPED, sliding_window=64),
        "qwen2_moe": lambda: Qwen2MoeConfig(**_GROUPED, **_EXPERTS, shared_expert_intermediate_size=24),
        "qwen3_moe": lambda: Qwen3MoeConfig(**_GROUPED, **_EXPERTS, head_dim=16),
        "gemma": lambda: GemmaConfig(**_GROUPED, head_dim=16),
        "gemma3": lambda: Gemma3TextConfig(**_GROUPED, head_dim=16, query_pre_attn_scalar=16, sliding_window=64),
        "gemma2": lambda: Gemma2Config(**_GROUPED, head_dim=8, query_pre_attn_scalar=8, sliding_window=12),
        "gpt_oss": lambda: GptOssConfig(
            **_GROUPED, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=12, pad_token_id=0
        ),
    }[family]()


FAMILIES = ("llama", "mistral", "mistral-window", "mixtral", "qwen2", "qwen3", "gpt_neox", "olmo2", "gemma2", "gpt_oss")


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


def plain_sequences(rows: Path, model: Path) -> list[TokenSequence]:
    """Rows of `workbench.write_rows` as token ids by hand: the template's text, learned from the answer to its end."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    made = []
    for number, line in enumerate(rows.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        prompt = f"<|im_start|>user\n{row['instruction']}\n{row['input']}<|im_end|>\n<|im_start|>assistant\n"
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = tokenizer(row["output"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
        weights = [0.0] * len(start) + [1.0] * len(answer)
        made.append(TokenSequence.of(str(number), tuple(start + answer), tuple(weights)))
    return made


def plain_loop(
    model: nn.Module,
    sequences: list[TokenSequence],
    *,
    steps: int,
    seed: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    weigh: str = "tokens",
    optimizer: torch.optim.Optimizer | None = None,
    max_norm: float = 1.0,
) -> list[float]:
    """The losses of steps of 8 sequences, each alone through the model; AdamW, a cosine to zero, norms up to 1."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if optimizer is None:
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, steps)
    order = shuffled(len(sequences), seed=seed, epoch=0)
    found = []
    for step in range(steps):
        batch = [sequences[i] for i in order[step * 8 : step * 8 + 8]]
        sums, lengths = [sequence_loss_sum(model, s) for s in batch], [s.weight for s in batch]
        by_rows = sum(one / length for one, length in zip(sums, lengths, strict=True)) / len(batch)
        loss = sum(sums) / sum(lengths) if weigh == "tokens" else by_rows
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found
