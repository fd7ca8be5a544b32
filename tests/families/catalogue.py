"""Small random members of the families that people tune, from the configuration classes of `transformers`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as t
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

VOCABULARY = 400
BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 96, "initializer_range": 0.15, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GROUPED = BASE | {"num_key_value_heads": 2}
HEADS = GROUPED | {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1,
}  # fmt: skip
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
SSM = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_expand": 2, "mamba_d_state": 8, "mamba_chunk_size": 16}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip

FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "Llama 1, 2": lambda: t.LlamaConfig(**BASE),
    "Llama 3": lambda: t.LlamaConfig(**GROUPED, rope_parameters=LLAMA3),
    "Llama 4 (text)": lambda: t.Llama4TextConfig(
        **HEADS, intermediate_size_mlp=48, num_local_experts=2, num_experts_per_tok=1
    ),
    "SmolLM3": lambda: t.SmolLM3Config(**GROUPED),
    "Mistral": lambda: t.MistralConfig(**GROUPED, sliding_window=12),
    "Mixtral": lambda: t.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "Qwen1.5, 2, 2.5": lambda: t.Qwen2Config(**GROUPED),
    "Qwen2-MoE": lambda: t.Qwen2MoeConfig(**GROUPED, **EXPERTS, shared_expert_intermediate_size=16),
    "Qwen3": lambda: t.Qwen3Config(**HEADS),
    "Qwen3-MoE": lambda: t.Qwen3MoeConfig(**HEADS, **EXPERTS),
    "Qwen3-Next": lambda: t.Qwen3NextConfig(**HEADS, **EXPERTS, **LINEAR, shared_expert_intermediate_size=16),
    "Qwen3.5 (text)": lambda: t.Qwen3_5TextConfig(**HEADS, **LINEAR),
    "DeepSeek-V2": lambda: t.DeepseekV2Config(**BASE, **LATENT),
    "DeepSeek-V3": lambda: t.DeepseekV3Config(**BASE, **LATENT),
    "GLM-4 (0414)": lambda: t.Glm4Config(**HEADS),
    "ChatGLM (glm)": lambda: t.GlmConfig(**HEADS),
    "GLM-4.5 (MoE)": lambda: t.Glm4MoeConfig(
        **HEADS, n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, first_k_dense_replace=1
    ),
    "Pythia (GPT-NeoX)": lambda: t.GPTNeoXConfig(**BASE, rotary_pct=0.5),
    "OLMo": lambda: t.OlmoConfig(**GROUPED),
    "OLMo 2": lambda: t.Olmo2Config(**GROUPED),
    "OLMo 3": lambda: t.Olmo3Config(**GROUPED, sliding_window=12),
    "OLMoE": lambda: t.OlmoeConfig(**GROUPED, num_experts=4, num_experts_per_tok=2),
    "Gemma 2": lambda: t.Gemma2Config(**HEADS, query_pre_attn_scalar=8, sliding_window=12),
    "Gemma 3 (text)": lambda: t.Gemma3TextConfig(**HEADS, query_pre_attn_scalar=8, sliding_window=12),
    "Phi-3, Phi-4": lambda: t.Phi3Config(**GROUPED),
    "Granite 3": lambda: t.GraniteConfig(**GROUPED, logits_scaling=8.0, residual_multiplier=0.5),
    "Granite 4 (hybrid)": lambda: t.GraniteMoeHybridConfig(
        **GROUPED, **SSM, layer_types=["mamba", "attention"], num_local_experts=0, shared_intermediate_size=48
    ),
    "Cohere (Command R)": lambda: t.CohereConfig(**GROUPED, logit_scale=0.0625),
    "Cohere 2": lambda: t.Cohere2Config(**GROUPED, sliding_window=12),
    "gpt-oss": lambda: t.GptOssConfig(**HEADS, num_local_experts=4, num_experts_per_tok=2, sliding_window=12),
    "LFM2": lambda: t.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "Falcon-H1": lambda: t.FalconH1Config(**GROUPED, **SSM, mamba_d_ssm=64),
    "Nemotron-H": lambda: t.NemotronHConfig(
        **HEADS, mamba_num_heads=8, mamba_head_dim=8, ssm_state_size=8, n_groups=1, chunk_size=16,
        layers_block_type=["mamba", "attention"],
    ),
    "Mamba 2": lambda: t.Mamba2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_heads=8, head_dim=8, state_size=8, n_groups=1,
        chunk_size=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip


@cache
def _weights(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family](), attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases that do something
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def plain(family: str) -> PreTrainedModel:
    """A copy of the family's model, with its own eager attention."""
    return copy.deepcopy(_weights(family))


def save(family: str, directory: Path, tokenizer: Any) -> Path:
    """The model as a directory of plain `transformers`."""
    plain(family).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
