"""GGUF files of other families, written by llama.cpp's converter: the model that is read from one computes the same.

Every setting here is not what its configuration's class has by default, so that one that is not read shows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t
from gguf import GGUFReader, GGUFWriter
from sentencepiece import SentencePieceTrainer
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.export.converter import Converter
from weitiao.models.config import ModelConfig
from weitiao.models.gguf_settings import complete
from weitiao.models.load import load_model

pytestmark = pytest.mark.usefixtures("at_once")

BASE: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.1, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
HEADS = BASE | {"head_dim": 24}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def rotation(theta: float = 5000.0, **more: float) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


LOCAL = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 50_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
}
BPE: dict[str, Callable[[], t.PreTrainedConfig]] = {
    "Mixtral": lambda: t.MixtralConfig(**HEADS, **rotation(), num_local_experts=4, num_experts_per_tok=3),
    "Qwen2-MoE": lambda: t.Qwen2MoeConfig(**BASE, **EXPERTS, **rotation(), shared_expert_intermediate_size=48),
    "StarCoder2": lambda: t.Starcoder2Config(**BASE, **rotation(), norm_epsilon=1e-3),
}
SENTENCEPIECE: dict[str, Callable[[], t.PreTrainedConfig]] = {
    "Phi-4": lambda: t.Phi3Config(
        **BASE, **rotation(partial_rotary_factor=0.75), sliding_window=16, partial_rotary_factor=0.75
    ),
    "Gemma 2": lambda: t.Gemma2Config(
        **HEADS, query_pre_attn_scalar=24, sliding_window=16, attn_logit_softcapping=5.0, final_logit_softcapping=3.0
    ),
    "Gemma 3": lambda: t.Gemma3TextConfig(
        **HEADS | {"num_hidden_layers": 7}, query_pre_attn_scalar=24, sliding_window=16, rope_parameters=LOCAL
    ),
    "Nemotron": lambda: t.NemotronConfig(**BASE, **rotation(partial_rotary_factor=0.25), norm_eps=1e-3),
}  # fmt: skip


@pytest.fixture(scope="session")
def sentencepiece_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sentencepiece")
    SentencePieceTrainer.train(
        sentence_iterator=iter(Path(__file__).read_text(encoding="utf-8").splitlines()), vocab_size=600,
        model_prefix=str(home / "tokenizer"), model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    words = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (home / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", **words}))
    return home


@pytest.mark.parametrize("family", [*BPE, *SENTENCEPIECE])
def test_what_is_read_from_a_file_computes_what_was_written(
    family: str, sentencepiece_dir: Path, smollm2_dir: Path, tmp_path: Path
) -> None:
    source = smollm2_dir if family in BPE else sentencepiece_dir
    tokenizer = AutoTokenizer.from_pretrained(source)
    config = (BPE | SENTENCEPIECE)[family]()
    config.vocab_size = len(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases that do something
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    if family in SENTENCEPIECE:
        shutil.copy(source / "tokenizer.model", tmp_path / "model")
    Converter().model(tmp_path / "model", tmp_path / "model.gguf", "f32")
    again = load_model(ModelConfig(name=str(tmp_path / "model.gguf"), dtype="float32"), cache_dir=tmp_path / "cache")
    ids = torch.arange(80)[None] * 31 % config.vocab_size
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("layers", "scale"), [(42, 24), (46, 16)], ids=["9B", "27B"])
def test_queries_of_the_largest_gemma_are_scaled_as_llama_cpp_does(layers: int, scale: int, tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "head.gguf", "gemma2")
    writer.add_block_count(layers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    config = t.Gemma2Config(**HEADS | {"num_hidden_layers": layers})
    complete(tmp_path / "head.gguf", GGUFReader(tmp_path / "head.gguf"), config)
    assert config.query_pre_attn_scalar == scale
