"""Weights of a converted GGUF file, against the model it was written from and a plain reading of its blocks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_gguf import interleave, random_model, train_vocabulary, write_gguf
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel

from weitiao.errors import ModelError
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.models.names import resolve_model

GGML = gguf.GGMLQuantizationType


@pytest.fixture(scope="module")
def vocabulary() -> tuple[list[str], list[str]]:
    return train_vocabulary()


@pytest.fixture(scope="module")
def llama(vocabulary: tuple[list[str], list[str]]) -> PreTrainedModel:
    return random_model("llama", len(vocabulary[0]))


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(3, 40).unsqueeze(0)).logits.float()


def q4_1(tensor: gguf.ReaderTensor) -> np.ndarray:
    """Blocks of 32 values: scale and minimum in half precision, then 16 bytes, low halves first."""
    blocks = np.asarray(tensor.data).reshape(-1, 20)
    scale, minimum = blocks[:, :4].copy().view(np.float16).astype(np.float32).T
    halves = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    values = halves.astype(np.float32) * scale[:, None] + minimum[:, None]
    return values.reshape(tuple(reversed(tensor.shape.tolist())))


def test_smollm2_weights_are_the_values_of_the_file(smollm2_dir: Path, smollm2_file: gguf.GGUFReader) -> None:
    saved = load_file(smollm2_dir / "model.safetensors")
    in_file = {tensor.name: tensor for tensor in smollm2_file.tensors}
    for layer in (0, 29):
        prefix = f"model.layers.{layer}"
        down = saved[f"{prefix}.mlp.down_proj.weight"].numpy()
        query = saved[f"{prefix}.self_attn.q_proj.weight"].numpy()
        key = saved[f"{prefix}.self_attn.k_proj.weight"].numpy()
        np.testing.assert_array_equal(down, q4_1(in_file[f"blk.{layer}.ffn_down.weight"]))
        np.testing.assert_array_equal(interleave(query, 9), q4_1(in_file[f"blk.{layer}.attn_q.weight"]))
        np.testing.assert_array_equal(interleave(key, 3), q4_1(in_file[f"blk.{layer}.attn_k.weight"]))
    assert len(saved) == len(in_file) == 272


def test_smollm2_answers_a_question(smollm2_dir: Path) -> None:
    from weitiao.models.load import load_tokenizer

    config = ModelConfig(name=str(smollm2_dir), dtype="float32")
    model, tokenizer = load_model(config), load_tokenizer(config)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt.input_ids.shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(("family", "tied"), [("llama", True), ("llama", False), ("qwen2", True)])
def test_a_converted_model_computes_what_its_origin_does(
    family: str, tied: bool, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    origin = random_model(family, len(vocabulary[0]), tied=tied)
    path = write_gguf(tmp_path / "tiny.gguf", origin, vocabulary)
    converted = load_model(ModelConfig(name=str(path), dtype="float32"), cache_dir=tmp_path / "cache")
    torch.testing.assert_close(logits(converted), logits(origin), rtol=1e-5, atol=1e-5)
    assert (converted.lm_head.weight is converted.model.embed_tokens.weight) is tied
    assert getattr(converted.config, "quantization_config", None) is None


@pytest.mark.parametrize(
    ("kind", "dtype"), [(GGML.F32, "F32"), (GGML.F16, "F16"), (GGML.BF16, "BF16"), (GGML.Q8_0, "F32")]
)
def test_half_precision_files_stay_so_and_quantised_ones_become_float32(
    kind: GGML, dtype: str, llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary, kind=kind)
    directory = resolve_model(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")
    saved = load_file(directory / "model.safetensors")
    expected = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[dtype]
    assert {tensor.dtype for tensor in saved.values()} == {expected}
    up = llama.model.layers[0].mlp.up_proj.weight.detach().numpy()
    stored = gguf.dequantize(gguf.quantize(up, kind), kind)
    np.testing.assert_array_equal(saved["model.layers.0.mlp.up_proj.weight"].float().numpy(), stored)


def test_plain_transformers_loads_the_converted_directory(
    llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary)
    directory = resolve_model(ModelConfig(name=str(path)), cache_dir=tmp_path / "cache")
    plain = AutoModelForCausalLM.from_pretrained(str(directory))
    torch.testing.assert_close(logits(plain), logits(llama), rtol=1e-5, atol=1e-5)


def refusal(path: Path, cache_dir: Path) -> str:
    with pytest.raises(ModelError) as caught:
        resolve_model(ModelConfig(name=str(path)), cache_dir=cache_dir)
    assert list(cache_dir.glob("*-v2")) == list(cache_dir.glob("*partial*")) == []
    return str(caught.value)


def test_a_weight_that_would_be_dropped_is_an_error(
    llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    odd = {"blk.0.odd.weight": np.ones(8, dtype=np.float32)}
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary, extra_tensors=odd)
    assert "no place for: ['blk.0.odd.weight']" in refusal(path, tmp_path / "cache")


def test_a_weight_that_is_missing_is_an_error(
    llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary, without="blk.1.ffn_up.weight")
    assert "model.layers.1.mlp.up_proj.weight" in refusal(path, tmp_path / "cache")


def test_scaled_rotary_positions_that_are_not_known_are_an_error(
    llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary, extra_strings={"llama.rope.scaling.type": "ntk"})
    assert "rotary positions (ntk)" in refusal(path, tmp_path / "cache")
    odd = {"rope_freqs.weight": np.linspace(1, 3, 8, dtype=np.float32)}
    path = write_gguf(tmp_path / "odd.gguf", llama, vocabulary, extra_tensors=odd)
    assert "factors of rotary positions" in refusal(path, tmp_path / "odd")


def test_a_setting_that_is_not_known_is_an_error(
    llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", llama, vocabulary, extra_floats={"llama.attention.scale": 0.5})
    assert "settings that are not read from GGUF: attention.scale" in refusal(path, tmp_path / "cache")


LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "rope_theta": 5000.0, "factor": 4.0}
YARN = {
    "rope_type": "yarn", "rope_theta": 5000.0, "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0,
}  # fmt: skip
NAMES = {
    "factor": "factor", "original_max_position_embeddings": "original_context_length", "beta_fast": "yarn_beta_fast",
}  # fmt: skip
"""Under which llama.cpp's converter writes settings."""


@pytest.mark.parametrize("scaling", [LLAMA3, LINEAR, YARN], ids=["llama3", "linear", "yarn"])
def test_scaled_rotary_positions_are_those_of_the_model(
    scaling: dict[str, Any], llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    config = copy.deepcopy(llama.config)
    config.rope_parameters = scaling
    scaled = LlamaForCausalLM(config).eval()
    scaled.load_state_dict(llama.state_dict())
    if scaling["rope_type"] == "llama3":  # llama.cpp's converter writes by how much each frequency is divided
        plain = 5000.0 ** (-torch.arange(0, 16, 2) / 16)
        extra: dict[str, Any] = {
            "extra_tensors": {"rope_freqs.weight": (plain / scaled.model.rotary_emb.inv_freq).numpy()}
        }
    else:
        extra = {
            "extra_strings": {"llama.rope.scaling.type": scaling["rope_type"]},
            "extra_floats": {
                f"llama.rope.scaling.{NAMES[name]}": value for name, value in scaling.items() if name in NAMES
            },
        }
    path = write_gguf(tmp_path / "tiny.gguf", scaled, vocabulary, **extra)
    found = load_model(ModelConfig(name=str(path), dtype="float32"), cache_dir=tmp_path / "cache")
    ids = torch.arange(100)[None] % config.vocab_size
    expected = scaled(input_ids=ids).logits
    torch.testing.assert_close(found(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert (llama(input_ids=ids).logits - expected).abs().max() > 0.01


@pytest.mark.parametrize("kept", [0, 3, 100, 5_000, -1_000])
def test_a_cut_off_file_is_an_error(
    kept: int, llama: PreTrainedModel, vocabulary: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", llama, vocabulary).read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:kept])
    assert "is not a whole GGUF file" in refusal(path, tmp_path / "cache")
