"""What routers of a mixture of experts learn: the losses of every sequence alone, however they are computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import VOCABULARY, forest_rows, gradient, sequence_loss_sum
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import one_hot
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV3Config,
    DogeConfig,
    JetMoeConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen3MoeConfig,
)
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from workbench import steps_of, weitiao, write_recipe

from weitiao.errors import ModelError, RecipeError
from weitiao.forest.layout import build_forest
from weitiao.forest.plan import pack
from weitiao.models.attention import FOREST, set_backend
from weitiao.models.parts import checkpoint_layers
from weitiao.objectives.sft import Sft
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.study.train import train
from weitiao.training.config import RouterConfig
from weitiao.training.router import add_router_losses
from weitiao.yaml_text import read_yaml

EXPERTS, CHOSEN = 4, 2
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.15,
    "num_experts_per_tok": CHOSEN,
}  # fmt: skip
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
MIXTURES: dict[str, Callable[..., PretrainedConfig]] = {
    "mixtral": lambda **more: MixtralConfig(**SIZES, num_local_experts=EXPERTS, **more),
    "qwen3_moe": lambda **more: Qwen3MoeConfig(
        **SIZES, num_experts=EXPERTS, moe_intermediate_size=24, head_dim=8, norm_topk_prob=True, **more
    ),
    "deepseek_v3": lambda **more: DeepseekV3Config(
        **{**SIZES, **LATENT, "num_key_value_heads": 4}, n_routed_experts=EXPERTS, moe_intermediate_size=24, n_group=1,
        topk_group=1, n_shared_experts=1, first_k_dense_replace=0, **more
    ),
}  # fmt: skip


def mixture(family: str, attention: str) -> nn.Module:
    """The same random weights for every call with the same family, routers that are not even; eager ones in float64."""
    torch.manual_seed(0)
    config = MIXTURES[family](vocab_size=VOCABULARY)
    how = {"attn_implementation": attention, "experts_implementation": "eager"}  # grouped products know no float64
    model = AutoModelForCausalLM.from_config(config, **how)
    for name, parameter in model.named_parameters():
        if name.endswith("gate.weight"):
            nn.init.normal_(parameter, std=0.5)
    return (model.double() if attention == "eager" else model).train()


def losses_alone(model: nn.Module, row: TokenSequence) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The balancing loss and the z-loss of a sequence alone, token by token; and the logits of each layer."""
    ids = torch.from_numpy(row.token_ids[: np.flatnonzero(row.weights)[-1]].astype(np.int64))[None]
    layers = model.model(input_ids=ids, use_cache=False, output_router_logits=True).router_logits
    balance, z = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for logits in layers:
        shares, means = torch.zeros(EXPERTS, dtype=torch.float64), torch.zeros(EXPERTS, dtype=torch.float64)
        for token in logits:
            shares = shares + one_hot(token.topk(CHOSEN).indices, EXPERTS).sum(0) / len(logits)
            means = means + token.exp() / token.exp().sum() / len(logits)
            z = z + token.exp().sum().log() ** 2 / len(logits) / len(layers)
        balance = balance + EXPERTS * (shares * means).sum() / len(layers)
    return balance, z, list(layers)


@pytest.mark.parametrize("family", MIXTURES)
def test_the_losses_of_routers_are_those_of_sequences_alone(family: str) -> None:
    rows, balance, z = forest_rows(), 0.3, 0.05
    plain = mixture(family, "eager")
    expected = {"router_balance": 0.0, "router_z": 0.0}
    counts = torch.zeros(2, EXPERTS)
    for row in rows:
        of_balance, of_z, layers = losses_alone(plain, row)
        (sequence_loss_sum(plain, row) + row.weight * (balance * of_balance + z * of_z)).backward()
        expected["router_balance"] += row.weight * of_balance.item()
        expected["router_z"] += row.weight * of_z.item()
        counts += torch.stack([one_hot(logits.topk(CHOSEN).indices, EXPERTS).sum((0, 1)) for logits in layers])
        each = [load_balancing_loss_func((logits,), EXPERTS, CHOSEN).item() for logits in layers]
        assert of_balance.item() == pytest.approx(sum(each) / len(each), rel=1e-5)  # what transformers has of a layer

    for share, every, backend in ((True, 0, "auto"), (False, 0, "auto"), (True, 0, "alone"), (True, 1, "auto")):
        objective = Sft(mixture(family, FOREST))
        checkpoint_layers(objective.model, every)
        set_backend(objective.model, backend)
        alone = objective(build_forest(as_items(rows), share_prefixes=share)).total.item()
        assert add_router_losses(objective, RouterConfig(balance=balance, z_loss=z)) is not None
        losses = objective(build_forest(as_items(rows), share_prefixes=share))
        assert losses.total.item() == alone  # what is shown stays the loss of the objective
        losses.total.backward()
        assert {name: one.item() for name, one in losses.metrics.items()} == pytest.approx(expected, rel=1e-5)
        assert losses.tables["routed"].tolist() == counts.tolist()
        reference = gradient(plain).float()
        assert (gradient(objective.model) - reference).norm() < 1e-5 * reference.norm()

    objective.zero_grad()
    for forest in pack(as_items(rows), token_budget=60, share_prefixes=True):  # forests add up
        objective(forest).total.backward()
    assert (gradient(objective.model) - reference).norm() < 1e-5 * reference.norm()
    assert not objective.eval()(build_forest(as_items(rows))).metrics  # a validation is that of the objective


def saved(family: str, tokenizer_from: Path, directory: Path, **settings: Any) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = MIXTURES[family](vocab_size=len(tokenizer), **settings, **ends)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def mixtral_dir(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("mixtral", tiny_llama_dir, tmp_path_factory.mktemp("mixtral"), router_aux_loss_coef=0.5)


def test_two_ranks_equal_one_and_the_log_says_what_is_routed_where(mixtral_dir: Path, tmp_path: Path) -> None:
    for number, ranks in enumerate(("one", "two"), 1):
        settings = {"max_steps": 3, "batch_size": 9, "token_budget": 150, "warmup": 0, "seed": 7}
        path = write_recipe(tmp_path / ranks, mixtral_dir, train=settings)
        path.write_text(json.dumps({**json.loads(path.read_text()), "method": {"type": "full"}}))
        done = weitiao("train", path, ranks=number)
        assert done.returncode == 0, done.stderr
        assert "routers of 2 layers learn; 0.5 times their balancing loss is added" in done.stderr
    one, two = (steps_of(tmp_path / ranks / "run") for ranks in ("one", "two"))
    for name in ("loss", "router_balance"):
        assert [line[name] for line in two] == pytest.approx([line[name] for line in one], rel=1e-5)
    assert two[0]["routed"] == one[0]["routed"]
    tokens = np.array(one[0]["routed"]["tokens"])
    assert tokens.shape == (2, EXPERTS)
    shares = tokens / tokens.sum(1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(1) / np.log(EXPERTS)
    assert one[0]["routed"]["evenness"] == pytest.approx(entropy.tolist(), abs=1e-4)
    assert one[-1]["router_balance"] < one[0]["router_balance"]


def test_routers_learn_only_where_they_are_meant_to(mixtral_dir: Path, tmp_path: Path) -> None:
    def run(name: str, method: dict[str, Any], router: dict[str, Any]) -> tuple[str, dict[str, Tensor]]:
        path = write_recipe(tmp_path / name, mixtral_dir, num_rows=12, train={"max_steps": 4, "router": router})
        path.write_text(json.dumps({**json.loads(path.read_text()), "method": method}))
        console = Console(record=True, width=200, file=(tmp_path / f"{name}.log").open("w"))
        (weights,) = (train(load_recipe(path), console=console).path / "final").glob("*model.safetensors")
        return console.export_text(), load_file(weights)

    before = load_file(mixtral_dir / "model.safetensors")
    gates = [name for name in before if name.endswith("gate.weight")]
    text, after = run("frozen", {"type": "full"}, {"learn": False})
    assert "routers of 2 layers are frozen; nothing is added" in text
    assert all(torch.equal(before[name], after[name]) for name in gates)
    text, _ = run("freeze", {"type": "freeze", "layers": 1}, {})  # the first layer is computed in the first epoch alone
    assert "learn; 0.5 times their balancing loss is added" in text
    first, *_, last = steps_of(tmp_path / "freeze/run")
    assert [one is None for one in last["routed"]["evenness"]] == [True, False]
    assert last["routed"]["tokens"][0] == [0] * EXPERTS
    assert first["routed"]["evenness"][0] is not None
    text, _ = run("lora", {"r": 2}, {})
    assert "are frozen; nothing is added" in text
    text, after = run("saved", {"r": 2, "modules_to_save": ["gate"]}, {"learn": True, "z_loss": 0.1})
    assert "learn; 0.5 times their balancing loss and 0.1 times their z-loss is added" in text
    assert sum("gate.weight" in name for name in after) == 2
    with pytest.raises(RecipeError, match=r"modules_to_save: \[gate\]"):
        run("lost", {"r": 2}, {"learn": True})


def test_a_dense_model_has_no_routers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, tiny_llama_dir, train={"router": {"balance": 0.1}}))
    with pytest.raises(RecipeError, match="LlamaForCausalLM has no routers"):
        train(recipe, console=Console(quiet=True))


def test_routers_are_found_in_every_form_and_what_is_not_of_tokens_is_left_alone() -> None:
    sizes = {**SIZES, "vocab_size": VOCABULARY, "num_key_value_heads": 4}
    jetmoe = JetMoeConfig(**sizes, kv_channels=8, num_local_experts=EXPERTS)  # attention hands on what its router said
    objective = Sft(AutoModelForCausalLM.from_config(jetmoe, attn_implementation=FOREST))
    assert "routers of 4 layers learn" in (add_router_losses(objective, RouterConfig()) or "")
    losses = objective.train()(build_forest(as_items(forest_rows())))
    assert losses.tables["routed"].sum(1).tolist() == [CHOSEN * sum(row.num_inputs for row in forest_rows())] * 4
    doge = DogeConfig(**sizes, is_moe=True, num_experts=16, moe_intermediate_size=24)  # two lists of keys, no experts
    objective = Sft(AutoModelForCausalLM.from_config(doge, attn_implementation=FOREST))
    set_backend(objective.model, "alone")
    assert add_router_losses(objective, RouterConfig()) is None
    with pytest.raises(ModelError, match="6 rows for 3 tokens"):
        add_router_losses(objective, RouterConfig(balance=0.1))


def test_it_is_said_where_peft_puts_adapters_on_experts_that_nobody_named(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base = saved("deepseek_v3", tiny_llama_dir, tmp_path / "base")
    console = Console(record=True, width=200, file=(tmp_path / "log").open("w"))
    train(load_recipe(write_recipe(tmp_path, base, num_rows=12, train={"max_steps": 1})), console=console)
    assert "PEFT puts adapters on down_proj, gate_up_proj of the experts in this family" in console.export_text()


def test_a_run_that_was_begun_without_a_balancing_loss_goes_on_without(mixtral_dir: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, mixtral_dir, num_rows=12, train={"max_steps": 2, "router": {"balance": 0}})
    path.write_text(json.dumps({**json.loads(path.read_text()), "method": {"type": "full"}}))
    run = train(load_recipe(path), console=Console(quiet=True)).path
    earlier = read_yaml(run / "recipe.yaml")
    del earlier["train"]["router"]  # as versions before wrote it
    (run / "recipe.yaml").write_text(json.dumps(earlier))
    console = Console(record=True, width=200, file=(tmp_path / "log").open("w"))
    train(load_recipe(run, ["train.max_steps=3"]), console=console)
    assert "routers of 2 layers learn; nothing is added" in console.export_text()
