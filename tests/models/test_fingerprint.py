"""The name of a model's exact weights."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from weitiao.errors import ModelError
from weitiao.models.fingerprint import model_fingerprint


def saved_again(directory: Path, target: Path, **settings: object) -> Path:
    AutoModelForCausalLM.from_pretrained(str(directory)).save_pretrained(target, **settings)
    return target


def test_a_copy_another_sharding_and_another_tokenizer_are_the_same_model(tiny_llama_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_llama_dir, tmp_path / "copy")
    (copy / "tokenizer.json").unlink()
    sharded = saved_again(tiny_llama_dir, tmp_path / "sharded", max_shard_size="100KB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    assert model_fingerprint(tiny_llama_dir) == model_fingerprint(copy) == model_fingerprint(sharded)


@pytest.mark.parametrize("row", [0, -1])
def test_other_weights_of_the_same_shapes_are_another_model(row: int, tiny_llama_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(tiny_llama_dir))
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[row] += 1e-6
    model.save_pretrained(tmp_path / "other")
    assert model_fingerprint(tiny_llama_dir) != model_fingerprint(tmp_path / "other")


def test_other_shapes_and_number_formats_are_another_model(tiny_llama_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(tiny_llama_dir))
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    model.resize_token_embeddings(model.config.vocab_size + 8)
    model.save_pretrained(tmp_path / "larger")
    names = {model_fingerprint(path) for path in (tiny_llama_dir, tmp_path / "half", tmp_path / "larger")}
    assert len(names) == 3


def test_the_time_does_not_grow_with_the_model(smollm2_dir: Path) -> None:
    start = time.perf_counter()
    model_fingerprint(smollm2_dir)
    assert time.perf_counter() - start < 1.0


def test_a_damaged_file_is_an_error(tiny_llama_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_llama_dir, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"no weights in here")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        model_fingerprint(copy)
