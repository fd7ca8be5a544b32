"""GGUF of models with scaled rotary positions and of DeepSeek's: llama.cpp computes what transformers does, and so does
the model that is read from the file again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export.conftest import make_run, table_of
from sentencepiece import SentencePieceTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV3Config,
    Phi3Config,
    PreTrainedModel,
)
from workbench import weitiao

from weitiao.errors import ModelError
from weitiao.export.converter import Converter
from weitiao.export.llama_engine import LlamaEngine
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "initializer_range": 0.1,
}  # fmt: skip
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
    "v_head_dim": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1, "scoring_func": "sigmoid",
}  # fmt: skip
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1 + i / 20 for i in range(8)],
    "long_factor": [1 + i * 0.8 for i in range(8)],
}  # fmt: skip
LENGTHS = 150, 300
"""Within the context of before the scaling, of 256 tokens, and beyond it."""
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] + '</s>' }}{% else %}"
    "{{ 'User: ' + m['content'] + '\nAssistant: ' }}{% endif %}{% endfor %}"
)


def logits(model: PreTrainedModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return found


def require_same(path: Path, model: PreTrainedModel, ids: tuple[int, ...]) -> None:
    """llama.cpp gives a file's tokens the log-probabilities that transformers gives them."""
    expected = logits(model, ids)[:-1].double().log_softmax(-1).gather(1, torch.tensor(ids)[1:, None])[:, 0]
    (found,) = LlamaEngine(path, 1).logprobs(((ids, tuple(range(1, len(ids)))),))
    np.testing.assert_allclose(found, expected, atol=0.01)  # the cache of llama.cpp is in float16


def test_llama_cpp_computes_deepseek_and_yarn_as_transformers_does(smollm2_dir: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    scaled = {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 256,
    }  # fmt: skip
    config = DeepseekV3Config(
        **{**SIZES, **LATENT}, rope_parameters=scaled, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    path = tmp_path / "model.gguf"
    Converter().model(tmp_path / "model", path, "f32")
    for length in LENGTHS:
        require_same(path, model, tuple(place * 31 % 9000 for place in range(length)))
    with pytest.raises(ModelError, match="architecture 'deepseek2', which is not supported"):
        load_model(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Phi-3 of long context with a SentencePiece vocabulary, whose model is beside it."""
    home = tmp_path_factory.mktemp("phi")
    (home / "base").mkdir()
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(home / "base" / "tokenizer"), vocab_size=700,
        model_type="bpe", byte_fallback=True, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    words = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, **words}
    (home / "base" / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = AutoTokenizer.from_pretrained(home / "base")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(home / "base")
    config = Phi3Config(
        **SIZES, vocab_size=len(tokenizer), sliding_window=None, rope_parameters=LONGROPE, bos_token_id=1,
        eos_token_id=2, pad_token_id=2, original_max_position_embeddings=256,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(home / "base")
    return home


def test_a_vocabulary_that_the_converter_reads_from_sentencepiece_alone(phi: Path, tmp_path: Path) -> None:
    run = make_run(phi, phi / "base")
    done = weitiao("export", run, "--to", "gguf-f32,merged", "--output", tmp_path / "exports", "--json")
    assert done.returncode in (0, 4), done.stderr
    agreement = table_of(done)["gguf-f32"]["agreement"]
    assert agreement["other_ids"] == 0 and agreement["mean_difference"] < 2e-3
    path, merged = (tmp_path / "exports" / name for name in ("gguf-f32/model-f32.gguf", "merged"))
    model = AutoModelForCausalLM.from_pretrained(merged)
    again = load_model(ModelConfig(name=str(path), dtype="float32"), cache_dir=tmp_path / "cache")
    for length in LENGTHS:
        ids = tuple(place * 31 % 700 for place in range(length))
        require_same(path, model, ids)
        torch.testing.assert_close(logits(again, ids), logits(model, ids), atol=1e-4, rtol=1e-4)
    short, long = (logits(model, ids[:length])[:40] for length in LENGTHS)
    assert (short - long).abs().max() > 0.01  # by the length of a row
