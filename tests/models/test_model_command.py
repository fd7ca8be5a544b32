"""`weitiao model info` and `get`, and weights in pickles, on real directories and a hub on this machine."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_names import serve
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig
from workbench import weitiao

from weitiao.errors import ModelError
from weitiao.models.config import ModelConfig
from weitiao.models.description import describe_model
from weitiao.models.load import load_model


def test_what_a_model_is_is_said(tiny_llama_dir: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    (model / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: [en]\n---\n# A model\n", encoding="utf-8")
    found = json.loads(weitiao("model", "info", model, "--json").stdout)
    plain = AutoModelForCausalLM.from_pretrained(model)
    assert found["num_parameters"] == found["num_active"] == plain.num_parameters()
    assert (found["num_layers"], found["num_heads"], found["num_key_heads"]) == (2, 4, 2)
    assert found["context"] == 512
    assert found["tied"] is True
    assert found["template"] is True
    assert found["licence"] == "apache-2.0"
    assert found["stored"] == ["F32"]
    assert found["weight_bytes"]["bfloat16"] == 2 * plain.num_parameters()
    shown = weitiao("model", "info", model)
    assert "LlamaForCausalLM" in shown.stdout
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["<|one|>", "<|two|>"])
    tokenizer.save_pretrained(model)
    rows = plain.get_input_embeddings().weight.shape[0]
    assert f"{len(tokenizer) - rows} tokens have no embedding" in weitiao("model", "info", model).stdout
    assert "weitiao plan --model" in shown.stderr


def test_of_experts_those_that_compute_a_token_are_counted(tiny_llama_dir: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    config = MixtralConfig(
        vocab_size=400, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=1, sliding_window=64,
    )  # fmt: skip
    plain = AutoModelForCausalLM.from_config(config)
    plain.save_pretrained(model)
    found = describe_model(ModelConfig(name=str(model)))
    one_expert = 3 * 16 * 24
    assert found.num_parameters - found.num_active == 2 * 3 * one_expert
    assert found.special == ("mixture of experts: 1 of 4 for each token", "sliding window of 64 tokens")


def test_a_model_is_fetched_and_its_files_held_against_the_hubs_hashes(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with serve(tiny_llama_dir) as endpoint:
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub")}
        command = [sys.executable, "-m", "weitiao", "model", "get", "someone/tiny", "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["num_checked"] == found["num_files"] == len(list(tiny_llama_dir.iterdir()))
        weights = Path(found["path"]) / "model.safetensors"
        with weights.resolve().open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\1\2\3\4")
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "model.safetensors is damaged" in again.stderr.replace("\n", " ")


@pytest.mark.parametrize("sharded", [False, True])
def test_weights_in_pickles_are_read_with_consent_alone(sharded: bool, tiny_llama_dir: Path, tmp_path: Path) -> None:
    state = load_file(tiny_llama_dir / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"]  # tied ones stood twice in such files
    model = shutil.copytree(tiny_llama_dir, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    if sharded:
        parts = {name: f"pytorch_model-{1 + i % 2:05d}-of-00002.bin" for i, name in enumerate(state)}
        for part in set(parts.values()):
            torch.save({name: tensor for name, tensor in state.items() if parts[name] == part}, model / part)
        (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": parts}))
    else:
        torch.save(state, model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle") as refused:
        load_model(ModelConfig(name=str(model)))
    assert "allow_pickle" in refused.value.remedy
    config = ModelConfig(name=str(model), allow_pickle=True, dtype="float32")
    found = load_model(config, cache_dir=tmp_path / "cache").state_dict()
    expected = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    if sharded:
        (model / "pytorch_model-00002-of-00002.bin").unlink()
        with pytest.raises(ModelError, match="lacks 1 of its weights files"):
            load_model(config, cache_dir=tmp_path / "cache")


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def test_code_in_a_pickle_never_runs(tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = shutil.copytree(tiny_llama_dir, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": _Runs()}))
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(ModelConfig(name=str(model), allow_pickle=True), cache_dir=tmp_path / "cache")
    assert not (tmp_path / "ran").exists()
