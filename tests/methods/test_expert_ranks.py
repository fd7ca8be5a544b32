"""Experts with ranks of their own: the steps of separate linear layers, and what has no rank never moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig
from workbench import require_same_after_resume, steps_of, write_recipe

from weitiao.errors import ModelError
from weitiao.export.merge import merge
from weitiao.recipe import load_recipe, recipe_from_dict
from weitiao.study.train import train

EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
NUM_EXPERTS, RANK, ALPHA = 4, 4, 8
RANKS = {"experts": 2, "experts.3": 0, "experts.1.down_proj": 3, "layers.1.mlp.experts.0": 4}
UP, DOWN = [[2, 2, 2, 0], [4, 2, 2, 0]], [[2, 3, 2, 0], [4, 3, 2, 0]]
"""What that means: ranks by layer and expert."""
METHOD = {"target_modules": [], "target_parameters": EXPERTS, "r": RANK, "alpha": ALPHA, "expert_ranks": RANKS}
SETTINGS = {"max_steps": 4, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3}
OPTIMIZERS: list[dict[str, Any]] = [
    {"type": "adamw", "weight_decay": 0.1},
    {"type": "adamw8bit", "weight_decay": 0.1},
    {"type": "adafactor", "weight_decay": 0.1},
    {"type": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"type": "muon"},
    {"type": "lomo"},
    {"type": "adalomo"},
]


class Separate(nn.Module):
    """The experts of a layer, each of two linear layers with an adapter of its own rank beside each."""

    def __init__(self, experts: Any, first: dict[str, Tensor], up: list[int], down: list[int]) -> None:
        super().__init__()
        self.up = nn.ModuleList(
            _adapted(experts.gate_up_proj[e], first["gate_up_proj"][e, :rank]) for e, rank in enumerate(up)
        )
        self.down = nn.ModuleList(
            _adapted(experts.down_proj[e], first["down_proj"][e, :rank]) for e, rank in enumerate(down)
        )

    def forward(self, x_TD: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
        out = torch.zeros_like(x_TD)
        for expert in chosen_TK.unique().tolist():
            token, choice = (chosen_TK == expert).nonzero(as_tuple=True)
            gate, up = _run(self.up[expert], x_TD[token]).chunk(2, dim=-1)
            made = _run(self.down[expert], F.silu(gate) * up)
            out = out.index_add(0, token, weights_TK[token, choice, None] * made)
        return out


def _adapted(weight: Tensor, first: Tensor) -> nn.ParameterDict:
    made = nn.ParameterDict(
        {"base": weight.detach().clone(), "a": first.detach().clone(), "b": torch.zeros(len(weight), len(first))}
    )
    made["base"].requires_grad_(False)
    return made


def _run(layer: Any, x_ND: Tensor) -> Tensor:
    made: Tensor = x_ND @ layer["base"].T + ALPHA / RANK * (x_ND @ layer["a"].T) @ layer["b"].T
    return made


def separate(base: Path) -> nn.Module:
    """The model with separate experts that begin as PEFT begins with this seed."""
    plain = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager").requires_grad_(False)
    torch.manual_seed(7)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=[], target_parameters=EXPERTS)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for number, layer in enumerate(plain.model.layers):
        outer = wrapped.get_base_model().model.layers[number].mlp.experts
        first = {
            one.parameter_name: one.lora_A["default"].weight.view(NUM_EXPERTS, RANK, -1)
            for one in (outer, outer.base_layer)
        }
        layer.mlp.experts = Separate(layer.mlp.experts, first, UP[number], DOWN[number])
    made: nn.Module = plain
    return made


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    config = MixtralConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.15, num_experts_per_tok=2,
        num_local_experts=NUM_EXPERTS, sliding_window=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    made = tmp_path_factory.mktemp("mixtral")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def unused(run: Path) -> list[Tensor]:
    """What a saved adapter has beyond the ranks of its experts, by PEFT's layout: A by expert, B by rank."""
    file = load_file(run / "final" / "adapter_model.safetensors")
    found = []
    for key, tensor in file.items():
        layer = int(key.split(".layers.")[1].split(".")[0])
        inner = "experts.base_layer.lora_" in key
        ranks = (UP if inner else DOWN)[layer]
        for expert, rank in enumerate(ranks):
            if ".lora_A." in key:
                found.append(tensor.view(NUM_EXPERTS, RANK, -1)[expert, rank:])
            else:
                found.append(tensor.view(len(tensor), RANK, NUM_EXPERTS)[:, rank:, expert])
    return found


@pytest.mark.parametrize("fused", [True, False])
def test_they_learn_as_separate_layers_of_these_ranks(fused: bool, mixtral: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, mixtral, train=SETTINGS, method={**METHOD, "fused": fused})
    run = train(load_recipe(path)).path
    reference = separate(mixtral)
    sequences = plain_sequences(tmp_path / "rows.jsonl", mixtral)
    expected = plain_loop(reference, sequences, steps=4, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=5e-5)
    assert all(not one.any() for one in unused(run))

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    logits = reference.eval()(input_ids=ids).logits
    merged = merge(run, tmp_path / "merged").path
    for opened in (
        AutoPeftModelForCausalLM.from_pretrained(run / "final", attn_implementation="eager"),
        AutoModelForCausalLM.from_pretrained(merged, attn_implementation="eager"),
    ):
        torch.testing.assert_close(opened(input_ids=ids).logits, logits, atol=5e-4, rtol=1e-3)
    require_same_after_resume(run, 4, recipe=path)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: one["type"])
def test_what_is_beyond_a_rank_stays_zero_to_the_bit(optimizer: dict[str, Any], mixtral: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "max_steps": 3, "save_every": 9}
    path = write_recipe(tmp_path, mixtral, train=settings, method=METHOD, optimizer=optimizer)
    run = train(load_recipe(path)).path
    (line, *_, last) = steps_of(run)
    assert line["loss"] != last["loss"]
    assert all(not one.any() for one in unused(run))


def test_a_start_with_other_ranks_is_refused(mixtral: Path, tmp_path: Path) -> None:
    first = write_recipe(tmp_path / "first", mixtral, train={**SETTINGS, "max_steps": 1}, method=METHOD)
    train(load_recipe(first))
    method = {**METHOD, "start": "../first/run"}
    train(load_recipe(write_recipe(tmp_path / "same", mixtral, train={**SETTINGS, "max_steps": 1}, method=method)))
    del method["expert_ranks"]
    other = write_recipe(tmp_path / "other", mixtral, train={**SETTINGS, "max_steps": 1}, method=method)
    with pytest.raises(ModelError, match=r"expert 0 of model.layers.0.mlp.experts.\w+ has rank 2, not 4"):
        train(load_recipe(other))


@pytest.mark.parametrize(
    ("ranks", "what", "remedy"),
    [
        ({"experts.4": 1}, "no expert with an adapter named experts.4", "experts.3"),
        ({"experts.2": 5}, "experts.2 is to have rank 5, above the rank 4", "method.rank_pattern"),
        ({"self_attn.0": 1}, "no expert with an adapter named self_attn.0", "experts.0"),
    ],
)
def test_what_cannot_be_is_refused(ranks: dict[str, int], what: str, remedy: str, mixtral: Path) -> None:
    method = {**METHOD, "expert_ranks": ranks}
    settings = recipe_from_dict({"model": "m", "data": {"train": "t"}, "method": method})
    with pytest.raises(ModelError, match=what) as caught:
        settings.method.build().apply(AutoModelForCausalLM.from_pretrained(mixtral), seed=0)
    assert remedy in caught.value.remedy
