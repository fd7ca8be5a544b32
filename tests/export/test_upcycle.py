"""A dense model becomes a mixture of experts: the same logits, plain files, all experts in use when balanced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    MistralConfig,
    OlmoConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)
from workbench import steps_of, weitiao, write_recipe, write_rows

from weitiao.errors import ModelError
from weitiao.export import upcycle as made
from weitiao.models.config import ModelConfig
from weitiao.recipe import load_recipe
from weitiao.study.train import train

SIZES: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.15,
}  # fmt: skip
LONG = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
DENSE: dict[str, tuple[PretrainedConfig, int, str]] = {
    "llama": (LlamaConfig(**SIZES, tie_word_embeddings=True, rope_parameters=LONG), 0, "MixtralForCausalLM"),
    "mistral": (MistralConfig(**SIZES, sliding_window=7), 0, "MixtralForCausalLM"),
    "qwen3": (Qwen3Config(**SIZES, head_dim=16), 0, "Qwen3MoeForCausalLM"),
    "llama, shared": (LlamaConfig(**SIZES), 1, "Qwen2MoeForCausalLM"),
    "mistral, shared": (MistralConfig(**SIZES, sliding_window=7), 1, "Qwen2MoeForCausalLM"),
    "qwen2, shared": (Qwen2Config(**SIZES), 1, "Qwen2MoeForCausalLM"),
}


def dense(config: PretrainedConfig, directory: Path, dtype: torch.dtype = torch.float32) -> ModelConfig:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(directory)
    return ModelConfig(name=str(directory))


@pytest.mark.parametrize("name", DENSE)
def test_a_mixture_begins_as_the_dense_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, shared, architecture = DENSE[name]
    source = dense(config, tmp_path / "dense")
    monkeypatch.setattr(made, "_FILE_BYTES", 40_000)  # several files
    found = made.upcycle(source, tmp_path / "moe", experts=4, top_k=2, shared=shared, seed=0)
    plain = AutoModelForCausalLM.from_pretrained(source.name, attn_implementation="eager").eval()
    mixture, loading = AutoModelForCausalLM.from_pretrained(
        tmp_path / "moe", attn_implementation="eager", output_loading_info=True
    )
    assert not any(loading.values())
    ids = torch.randint(0, 120, (2, 60))
    torch.testing.assert_close(mixture.eval()(ids).logits, plain(ids).logits, atol=1e-5, rtol=1e-4)

    assert (found.architecture, found.num_parameters) == (architecture, mixture.num_parameters())
    assert len(list((tmp_path / "moe").glob("*.safetensors"))) > 1
    experts = sum(p.numel() for p in mixture.parameters() if p.ndim == 3)
    assert found.num_active == found.num_parameters - experts // 2
    written: dict[str, torch.Tensor] = {}
    for file in (tmp_path / "moe").glob("*.safetensors"):
        written |= load_file(file)
    mixture.save_pretrained(tmp_path / "again")  # the files are those that transformers writes
    saved = load_file(tmp_path / "again/model.safetensors")
    assert saved.keys() == written.keys()
    assert all(torch.equal(tensor, written[name]) for name, tensor in saved.items())


def test_the_number_format_stays(tmp_path: Path) -> None:
    source = dense(LlamaConfig(**SIZES), tmp_path / "dense", torch.bfloat16)
    made.upcycle(source, tmp_path / "moe", experts=2, top_k=1, shared=1, seed=0)
    assert {tensor.dtype for tensor in load_file(tmp_path / "moe/model-00001.safetensors").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "moe/config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("config", "settings", "what"),
    [
        (LlamaConfig(**SIZES), {"top_k": 5}, "top-k 5: a token cannot go to more than the 4 experts"),
        (OlmoConfig(**SIZES), {}, "attention of a olmo"),
        (LlamaConfig(**SIZES, attention_bias=True), {}, "llama with biases"),
        (Qwen3Config(**SIZES, use_sliding_window=True, max_window_layers=1), {}, "qwen3 with windows in some layers"),
        (Qwen2Config(**SIZES), {}, "attention of a qwen2, and 0 shared"),
    ],
)
def test_what_cannot_become_a_mixture_is_refused(
    config: PretrainedConfig, settings: dict[str, int], what: str, tmp_path: Path
) -> None:
    source = dense(config, tmp_path / "dense")
    with pytest.raises(ModelError, match=what):
        made.upcycle(source, tmp_path / "moe", **{"experts": 4, "top_k": 2, "shared": 0, "seed": 0} | settings)
    assert not (tmp_path / "moe").exists()


def test_half_a_download_and_an_unknown_class_are_refused(tmp_path: Path) -> None:
    source = dense(LlamaConfig(**SIZES), tmp_path / "dense")
    config, weights = tmp_path / "dense/config.json", tmp_path / "dense/model.safetensors"
    settings = {"experts": 4, "top_k": 2, "shared": 0, "seed": 0}
    known = config.read_text()
    config.write_text(known.replace('"llama"', '"foobar"'))
    with pytest.raises(ModelError, match="foobar"):
        made.upcycle(source, tmp_path / "moe", **settings)
    config.write_text(known)
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"model\.safetensors is not a whole safetensors file"):
        made.upcycle(source, tmp_path / "moe", **settings)


def test_all_experts_stay_in_use_with_the_balancing_loss_and_not_without(tiny_llama_dir: Path, tmp_path: Path) -> None:
    done = weitiao("moe", "upcycle", tiny_llama_dir, tmp_path / "moe", "--experts", "8", "--top-k", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["architecture"] == "MixtralForCausalLM"
    assert AutoTokenizer.from_pretrained(tmp_path / "moe").chat_template
    with pytest.raises(ModelError, match="a mixture of experts already"):
        made.upcycle(ModelConfig(name=str(tmp_path / "moe")), tmp_path / "x", experts=4, top_k=2, shared=0, seed=0)

    least = {}
    for balance in (0.0, 0.02):
        settings = {"epochs": 8, "learning_rate": 0.003, "router": {"balance": balance}}
        held_out = write_rows(tmp_path / "held-out.jsonl", 12, start=900)
        path = write_recipe(tmp_path / f"{balance}", tmp_path / "moe", train=settings, data={"test": str(held_out)})
        path.write_text(json.dumps({**json.loads(path.read_text()), "method": {"type": "full"}}))
        run = train(load_recipe(path), console=Console(quiet=True)).path
        tokens = torch.tensor([line["routed"]["tokens"] for line in steps_of(run)[-5:]]).sum(0).double()
        least[balance] = (8 * tokens / tokens.sum(1, keepdim=True)).min().item()  # 1 is an even share
    assert least[0.0] < 0.1
    assert least[0.02] > 0.2

    done = weitiao("moe", "usage", run, "--by", "answer", "--json")
    assert done.returncode == 0, done.stderr
    usage = json.loads(done.stdout)
    assert (usage["rows"], len(usage["layers"]), len(usage["classes"])) == (12, 2, 12)
    assert min(usage["after"]["evenness"]) > max(usage["before"]["evenness"])
    total = torch.tensor([spread["tokens"] for _, spread in usage["classes"].values()]).sum(0)
    assert total.tolist() == usage["after"]["tokens"]
    assert all(0 <= one <= 1 for one in usage["speciality"])
    model = AutoModelForCausalLM.from_pretrained(run / "final").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "final")
    expected = torch.zeros(2, 8, dtype=torch.long)
    for line in held_out.read_text().splitlines():
        row = json.loads(line)
        turns = [
            {"role": "user", "content": f"{row['instruction']}\n{row['input']}"},
            {"role": "assistant", "content": row["output"]},
        ]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)[:-2]  # the last is <|im_end|>, a newline follows
        logits = model.model(input_ids=torch.tensor([ids]), output_router_logits=True).router_logits
        for layer, one in enumerate(logits):
            expected[layer] += torch.bincount(one.topk(2).indices.flatten(), minlength=8)
    assert usage["after"]["tokens"] == expected.tolist()
    shown = weitiao("moe", "usage", run)
    assert shown.returncode == 0, shown.stderr
    assert "Even before" in shown.stdout
    page = weitiao("report", run)
    assert page.returncode == 0, page.stderr
    assert (run / "report.html").read_text().count('class="heat"') == 2
