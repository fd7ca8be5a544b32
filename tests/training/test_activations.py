"""Activations computed twice, or kept on the disk: the same weights bit for bit, in a fraction of the memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from rich.console import Console
from torch import nn
from transformers import GPTNeoXJapaneseConfig, GPTNeoXJapaneseForCausalLM, LlamaConfig, LlamaForCausalLM
from workbench import final_weights, steps_of, write_recipe

from weitiao.errors import ModelError, RecipeError
from weitiao.forest.layout import build_forest
from weitiao.machine.cgroup import give_back_memory
from weitiao.models.attention import FOREST
from weitiao.models.parts import checkpoint_layers
from weitiao.objectives.sft import Sft
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.study.plan import way_of
from weitiao.study.prepared import prepare
from weitiao.study.train import train
from weitiao.training.offload import offloading

QUIET = Console(quiet=True)


@pytest.mark.parametrize("fused", [True, False])
def test_wherever_activations_wait_the_weights_are_the_same_bytes(
    fused: bool, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 3, "seed": 7}, method={"fused": fused})
    expected = final_weights(train(load_recipe(path), console=QUIET).path)
    for number, setting in enumerate(["offload_activations=disk", "checkpointing=true", "checkpointing=2"]):
        settings = [f"train.{setting}", f"run_dir={tmp_path / str(number)}"]
        if setting == "checkpointing=true":
            settings.append("train.offload_activations=disk")
        run = train(load_recipe(path, settings), console=QUIET).path
        assert final_weights(run) == expected
        assert len(steps_of(run)) == 3
        assert sorted(one.name for one in run.iterdir()) == sorted(one.name for one in (tmp_path / "run").iterdir())


def test_below_frozen_layers_nothing_is_computed_backwards_and_noise_is_never_kept(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir, num_rows=16, train={"epochs": 2})
    path.write_text(path.read_text().replace('"r": 4', '"type": "freeze", "layers": 1'))
    weights, told = {}, {}
    for name in ("plain", "checkpointing=true", "neftune=5"):
        said: list[str] = []
        settings = [f"run_dir={tmp_path / name}", *([f"train.{name}"] if "=" in name else [])]
        run = train(load_recipe(path, settings), console=QUIET, tell=said.append).path
        weights[name], told[name] = (run / "final" / "model.safetensors").read_bytes(), "\n".join(said)
    assert "1 of 2 layers are frozen below: what they give is kept" in told["plain"]
    assert "1 of 2 layers are frozen below: what they give is kept" in told["checkpointing=true"]
    assert weights["checkpointing=true"] == weights["plain"]
    assert "What the frozen layers give is not kept" in told["neftune=5"]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    made = LlamaForCausalLM._from_config(config, attn_implementation=FOREST)
    return made.train()


def held(model: nn.Module, around: Callable[[], AbstractContextManager[Any]]) -> tuple[int, list[torch.Tensor]]:
    """Bytes of memory that stand between the forward and the backward pass, and the gradients behind it."""
    row = torch.arange(400) * 7 % 64
    items = as_items([TokenSequence.of("a:1", row.tolist(), [0.0] + [1.0] * 399)] * 6)
    forest = build_forest(items, share_prefixes=False)
    model.zero_grad()
    gc.collect()
    give_back_memory()  # what other tests freed would be taken again unseen
    before = psutil.Process().memory_info().rss
    with around():
        loss = Sft(model)(forest).total
    gc.collect()
    give_back_memory()
    kept = psutil.Process().memory_info().rss - before
    loss.backward()
    return kept, [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_on_the_disk_activations_take_a_fraction_of_the_memory(model: nn.Module, tmp_path: Path) -> None:
    device = torch.device("cpu")
    held(model, offloading(None, model, device, tmp_path))  # what PyTorch keeps for itself is there from now on
    plain, expected = held(model, offloading(None, model, device, tmp_path))
    kept, gradients = held(model, offloading("disk", model, device, tmp_path))
    assert plain > 40 * 2**20
    assert kept < 0.25 * plain
    assert all(map(torch.equal, gradients, expected))
    assert not list(tmp_path.iterdir())


def test_what_would_save_nothing_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir)
    with pytest.raises(RecipeError, match="on a CPU the activations are in the host's memory already"):
        train(load_recipe(path, ["train.offload_activations=memory"]), console=QUIET)
    with pytest.raises(RecipeError, match="checkpointing must be at least 1"):
        load_recipe(path, ["train.checkpointing=0"])


def test_layers_that_cannot_be_computed_twice_are_refused() -> None:
    config = GPTNeoXJapaneseConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    with pytest.raises(ModelError, match="the layers of GPTNeoXJapaneseForCausalLM cannot be computed a second time"):
        checkpoint_layers(GPTNeoXJapaneseForCausalLM(config), 1)


def test_weights_that_come_to_a_gpu_layer_by_layer_need_every_layer_computed_again(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mapped, gpu = write_recipe(tmp_path, tiny_llama_dir), "model.map_weights=true", torch.device("cuda")
    told: list[str] = []
    way = way_of(prepare(load_recipe(path, [mapped]), gpu, told.append).recipe, "cuda")
    assert way.train.checkpointing is True
    assert way.map_weights
    assert "model.map_weights: a layer's weights go when it has run" in told[-1]
    assert prepare(load_recipe(path, [mapped]), torch.device("cpu"), told.append).recipe.train.checkpointing is False
    with pytest.raises(RecipeError, match="every layer and not one of 2"):
        prepare(load_recipe(path, [mapped, "train.checkpointing=2"]), gpu, told.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="in the memory of each"):
        prepare(load_recipe(path, [mapped]), gpu, told.append)
