"""Processor time of a step of LoRA with fused layers and without, in turn: one thread, random weights.

Both as a training runs them (`put_fast_linears`). Beside it what a step keeps for its backward pass, weights left out.

python -m benchmarks.fused [llama qwen3 ...]
"""

from __future__ import annotations

import sys
import time
from statistics import median

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MixtralConfig,
    Olmo2Config,
    PretrainedConfig,
    Qwen3Config,
)

from weitiao.forest.layout import Forest, build_forest
from weitiao.methods.fused.layer import fuse_layers
from weitiao.models.attention import FOREST
from weitiao.models.products import put_fast_linears
from weitiao.objectives.sft import Sft
from weitiao.rendering.items import TokenSequence, as_items

STEPS = 5
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
_SIZES = {"vocab_size": 2000, "hidden_size": 1024, "num_hidden_layers": 3}
_HEADS = {"num_attention_heads": 16, "num_key_value_heads": 8}
_DENSE = {**_SIZES, **_HEADS, "intermediate_size": 3072}
_WIDE = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "query_pre_attn_scalar": 256}
FAMILIES: dict[str, PretrainedConfig] = {
    "smollm2": LlamaConfig(
        vocab_size=2000, hidden_size=576, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=9,
        num_key_value_heads=3,
    ),
    "llama": LlamaConfig(**_DENSE),
    "qwen3": Qwen3Config(**_DENSE, head_dim=128),
    "olmo2": Olmo2Config(**_DENSE),
    "gemma": GemmaConfig(**_DENSE, head_dim=64),
    "gemma3": Gemma3TextConfig(**_SIZES, **_WIDE, intermediate_size=3072, sliding_window=512),
    "mixtral": MixtralConfig(**_SIZES, **_HEADS, intermediate_size=1024, num_local_experts=8, sliding_window=None),
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stem = torch.randint(1900, (100,)).tolist()
    ends = [torch.randint(1900, (120,)).tolist() for _ in range(6)]
    rows = [TokenSequence.of(str(i), tuple(stem + end), (0.0,) * 100 + (1.0,) * 120) for i, end in enumerate(ends)]
    forest = build_forest(as_items(rows))
    for family in sys.argv[1:] or FAMILIES:
        models = [_adapted(family), _adapted(family)]
        fuse_layers(models[1])
        for model in models:
            put_fast_linears(model)
        seconds: tuple[list[float], list[float]] = ([], [])
        for step in range(STEPS + 1):
            for model, taken in zip(models, seconds, strict=True):
                start = time.process_time()
                Sft(model)(forest).total.backward()
                if step:  # the first warms up
                    taken.append(time.process_time() - start)
                model.zero_grad()
        plain, fused = map(median, seconds)
        kept = [kept_bytes(model, forest) / 2**20 for model in models]
        print(
            f"{family}: {plain:.2f} s, fused {fused:.2f} s: {plain / fused:.2f}x; keeps {kept[0]:.0f} MiB, fused "
            f"{kept[1]:.0f} MiB: {kept[1] / kept[0]:.2f}",
            flush=True,
        )


def kept_bytes(model: nn.Module, forest: Forest) -> int:
    """What autograd holds between forward and backward pass of a step, parameters left out."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = Sft(model)(forest).total  # alive until all is counted
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    del loss
    return sum(kept.values())


def _adapted(family: str) -> nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family], attn_implementation=FOREST)
    targets = ATTENTION if family == "mixtral" else [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
    adapted: nn.Module = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=16, target_modules=targets))
    return adapted.train()


if __name__ == "__main__":
    main()
