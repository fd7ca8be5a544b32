"""Every method against plain transformers and PEFT: the same steps, the same bytes after a resume, plain files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, IA3Config, LoHaConfig, get_peft_model
from reference import plain_loop, plain_sequences
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from workbench import require_same_after_resume, steps_of, weitiao, write_recipe, write_rows

from weitiao.errors import ModelError, RecipeError
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe, recipe_from_dict
from weitiao.study.train import train

METHODS: dict[str, dict[str, Any]] = {
    "full": {"type": "full"},
    "last layer": {"type": "freeze", "layers": 1},
    "first layer, head and norm": {"type": "freeze", "layers": -1, "head": True, "modules": ["model.norm"]},
    "bitfit": {"type": "bitfit"},
    "adapter": {"type": "adapter", "size": 6, "activation": "relu"},
    "adapter behind feed-forward": {"type": "adapter", "size": 5, "places": "feed_forward"},
    "ia3": {"type": "peft", "tuner": "ia3"},
    "loha": {"type": "peft", "tuner": "LoHa", "r": 2, "target_modules": ["q_proj", "down_proj"]},
}


def plain(name: str, directory: Path) -> nn.Module:
    """The model of plain transformers or PEFT with what learns in it."""
    config = AutoConfig.from_pretrained(directory)
    if name == "bitfit":
        config.attention_bias = config.mlp_bias = True
    model = AutoModelForCausalLM.from_pretrained(directory, config=config, attn_implementation="eager")
    if name in ("ia3", "loha"):
        made = {"ia3": IA3Config, "loha": LoHaConfig}[name]
        settings = {key: value for key, value in METHODS[name].items() if key not in ("type", "tuner")}
        return get_peft_model(model, made(task_type="CAUSAL_LM", **settings))
    if name.startswith("adapter"):
        return with_adapters(model, **METHODS[name])
    for key, parameter in model.named_parameters():
        if name == "bitfit" and key.endswith(".bias"):
            nn.init.zeros_(parameter)
        learns = {
            "full": True,
            "last layer": ".layers.1." in key,
            "first layer, head and norm": ".layers.0." in key
            or key in ("model.embed_tokens.weight", "model.norm.weight"),
            "bitfit": key.endswith(".bias"),
        }
        parameter.requires_grad_(learns[name])
    return model


class Adapted(nn.Module):
    """A part of a layer and the bottleneck behind it, by the paper."""

    def __init__(self, part: nn.Module, size: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.part = part
        self.down, self.up = nn.Linear(64, size), nn.Linear(size, 64)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.activation = activation

    def forward(self, *inputs: Any, **named: Any) -> Any:
        out = self.part(*inputs, **named)
        x = out[0] if isinstance(out, tuple) else out
        y = x + self.up(self.activation(self.down(x)))
        return (y, *out[1:]) if isinstance(out, tuple) else y


def with_adapters(model: nn.Module, type: str, size: int, places: str = "both", activation: str = "gelu") -> nn.Module:
    model.requires_grad_(False)
    function = {"relu": torch.relu, "gelu": nn.functional.gelu}[activation]
    for layer in model.model.layers:
        if places == "both":
            layer.self_attn = Adapted(layer.self_attn, size, function)
        layer.mlp = Adapted(layer.mlp, size, function)
    return model


def recipe(directory: Path, model: Path, method: dict[str, Any]) -> Path:
    settings = {"max_steps": 5, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3}
    path = write_recipe(directory, model, train=settings)
    path.write_text(json.dumps({**json.loads(path.read_text()), "method": method}, indent=1))
    return path


@pytest.mark.parametrize("name", METHODS)
def test_steps_equal_a_plain_loop_and_a_resume_leaves_the_same_bytes(
    name: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir, METHODS[name])
    run = train(load_recipe(path)).path
    torch.manual_seed(7)
    model = plain(name, tiny_llama_dir)
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    expected = plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=2e-5)
    assert expected[-1] < expected[0]

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    logits = model.eval()(input_ids=ids).logits
    if name.startswith("adapter"):
        opened = open_model(run, attention="eager").model
    else:  # by what any other program loads it
        loader = AutoPeftModelForCausalLM if METHODS[name]["type"] == "peft" else AutoModelForCausalLM
        opened = loader.from_pretrained(run / "final", attn_implementation="eager")
    torch.testing.assert_close(opened(input_ids=ids).logits, logits, atol=2e-4, rtol=1e-4)
    require_same_after_resume(run, 5, recipe=path)


def test_a_whole_model_goes_through_the_commands(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir, METHODS["full"])
    write_rows(tmp_path / "test.jsonl", 3, start=80)
    run = train(load_recipe(path, ["data.test=test.jsonl", "evaluate.generation.max_new_tokens=2"])).path
    assert json.loads(weitiao("eval", run, "--json").stdout)["exact_match"]["n"] == 3
    assert weitiao("eval", run, "--base", "--json").returncode == 0
    merged = weitiao("merge", run, tmp_path / "merged")
    assert merged.returncode == 2
    assert "whole model" in merged.stderr


def test_bottleneck_adapters_go_through_the_commands(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir, METHODS["adapter"])
    write_rows(tmp_path / "test.jsonl", 3, start=80)
    run = train(load_recipe(path, ["data.test=test.jsonl", "evaluate.generation.max_new_tokens=2"])).path
    assert json.loads(weitiao("eval", run, "--json").stdout)["exact_match"]["n"] == 3
    merged = weitiao("merge", run, tmp_path / "merged")
    assert merged.returncode == 2
    assert "not linear and cannot be merged" in merged.stderr
    weights = run / "final" / "adapter_model.safetensors"
    save_file({key: value for key, value in load_file(weights).items() if "layers.1" in key}, weights)
    with pytest.raises(ModelError, match="its tensors are not those that the model has places for"):
        open_model(run)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="does not fit LlamaForCausalLM"):
        open_model(run)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ({"type": "peft", "tuner": "lohaa"}, "PEFT has no tuner lohaa; near it are loha"),
        (
            {"type": "peft", "tuner": "ia3", "target_module": ["q_proj"]},
            "has no setting target_module; near it",
        ),
        ({"type": "peft", "tuner": "loha", "r": "many"}, "r='many': Input should be a valid integer"),
        ({"type": "peft", "tuner": "prefix-tuning"}, "puts virtual tokens before the input"),
        ({"type": "peft", "tuner": "adalora", "total_step": 9}, "has to be told of every step"),
        ({"type": "freeze", "layer": 4}, "unknown key `method.layer`.\nDid you mean `layers`?"),
    ],
)
def test_a_wrong_setting_is_named(method: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        recipe_from_dict({"model": {"name": "m"}, "data": {"train": "t"}, "method": method})


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ({"type": "freeze", "layers": 3}, "has 2 decoder layers, not 3"),
        ({"type": "freeze", "layers": 0}, "no parameter learns"),
        ({"type": "freeze", "layers": 0, "modules": ["mpl"]}, "has no part named mpl"),
        ({"type": "peft", "tuner": "loha", "target_modules": ["w1"]}, "PEFT cannot put loha into LlamaForCausalLM"),
    ],
)
def test_what_the_model_does_not_have_is_named(method: dict[str, Any], what: str, tiny_llama_dir: Path) -> None:
    settings = recipe_from_dict({"model": {"name": "m"}, "data": {"train": "t"}, "method": method})
    with pytest.raises(ModelError, match=what):
        settings.method.build().apply(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), seed=0)


def test_each_method_learns_as_fast_as_is_usual_for_it() -> None:
    def rate(**sections: Any) -> float:
        return recipe_from_dict({"model": {"name": "m"}, "data": {"train": "t"}, **sections}).train.learning_rate

    assert rate() == 2e-4
    assert rate(method={"type": "full"}) == 2e-5
    assert rate(method={"type": "full"}, train={"learning_rate": 1e-4}) == 1e-4
    assert rate(method={"type": "bitfit"}) == 1e-3
