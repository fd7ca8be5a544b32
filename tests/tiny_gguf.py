"""Small GGUF files, written for the tests from small random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from brute_force_bpe import byte_alphabet
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NO_MERGES_LEAD_HERE = "qzq"
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"

_LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OTHER_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def train_vocabulary() -> tuple[list[str], list[str]]:
    """Tokens (3 special ones, 256 bytes, some words, and one that no merges lead to) and merges."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIALS, initial_alphabet=byte_alphabet(), show_progress=False
    )
    # Merges over blanks, digits and line ends make a wrong cut visible in the ids.
    backend.train_from_iterator(
        ["the order 1234 56 78\n\nof  the 12 day\n\n", "it's 2026, we'll see 100 99\n\n"] * 3, trainer
    )
    vocabulary = backend.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [*tokens, NO_MERGES_LEAD_HERE], [" ".join(pair) for pair in merges]


def random_model(family: str, vocab_size: int, *, tied: bool = True) -> PreTrainedModel:
    config_class, model_class = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[
        family
    ]
    config = config_class(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        tie_word_embeddings=tied,
    )
    return model_class(config).eval()


def interleave(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """The order of rows in a GGUF file of a Llama: rotary pairs side by side, not half a head apart."""
    head_size = weight.shape[0] // num_heads
    order = [
        head * head_size + half * head_size // 2 + pair
        for head in range(num_heads)
        for pair in range(head_size // 2)
        for half in range(2)
    ]
    return np.ascontiguousarray(weight[order])


def tensors_of(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """The model's weights under llama.cpp's names and in its layout."""
    config, tensors = model.config, {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        if name in _OTHER_NAMES:
            tensors[_OTHER_NAMES[name]] = weight
            continue
        _, _, layer, rest = name.split(".", 3)
        module, kind = rest.rsplit(".", 1)
        if config.model_type == "llama" and module.endswith("q_proj"):
            weight = interleave(weight, config.num_attention_heads)
        if config.model_type == "llama" and module.endswith("k_proj"):
            weight = interleave(weight, config.num_key_value_heads)
        tensors[f"blk.{layer}.{_LAYER_NAMES[module]}.{kind}"] = weight
    return tensors


def _spm_type(token: str) -> int:
    """Unknown, control, byte or normal."""
    return {"<unk>": 2, "<s>": 3, "</s>": 3}.get(token, 6 if token.startswith("<0x") else 1)


def train_sentencepiece() -> list[str]:
    """Three special tokens, 256 bytes, letters and words, in which a blank is the letter ▁."""
    backend = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=160, show_progress=False)
    text = "the order 1234 56 78\nof  the 12 day. it's 2026, we'll see the 100 99 orders of a day 模型"
    backend.train_from_iterator([f"▁{text.replace(' ', '▁')}"] * 3, trainer)
    vocabulary = backend.get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    return ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    vocabulary: tuple[list[str], list[str]],
    *,
    pre: str | None = "gpt-2",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    add_bos: bool | None = None,
    without: str = "",
    extra_tensors: dict[str, np.ndarray] | None = None,
    extra_strings: dict[str, str] | None = None,
    extra_floats: dict[str, float] | None = None,
) -> Path:
    """Write a model and a vocabulary as llama.cpp's converter does; matrices in the format `kind`.

    Without a pre-tokenizer the vocabulary is one of SentencePiece: the earlier a token stands, the higher its score.
    """
    config, (tokens, merges) = model.config, vocabulary
    writer: Any = gguf.GGUFWriter(path, config.model_type)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_token_list(tokens)
    if pre is None:
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_token_types([_spm_type(token) for token in tokens])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_types([3 if token in SPECIALS else 1 for token in tokens])
        writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    for key, value in (extra_strings or {}).items():
        writer.add_string(key, value)
    for key, number in (extra_floats or {}).items():
        writer.add_float32(key, number)
    for name, weight in (tensors_of(model) | (extra_tensors or {})).items():
        if name == without:
            continue
        stored = kind if weight.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
