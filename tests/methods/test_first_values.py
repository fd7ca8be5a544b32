"""How LoRA may begin, against PEFT used directly; what is saved fits the base model as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from reference import plain_loop, plain_sequences
from torch import nn
from transformers import AutoModelForCausalLM
from workbench import require_same_after_resume, steps_of, write_recipe

from weitiao.errors import ModelError, RecipeError
from weitiao.export.merge import merge
from weitiao.methods.lora import LoraConfig as OurConfig
from weitiao.methods.open import open_model
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.recipe import load_recipe, recipe_from_dict
from weitiao.rendering.items import TokenSequence
from weitiao.seeding import shuffled
from weitiao.study.train import train

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SETTINGS = {"max_steps": 4, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3, "share_prefixes": False}


def batches(sequences: list[TokenSequence]) -> list[dict[str, torch.Tensor]]:
    """What the first steps of a run with seed 7 learn from, padded on the right."""
    order = [i for epoch in range(4) for i in shuffled(len(sequences), seed=7, epoch=epoch)]
    made = []
    for step in range(16):
        # a target needs no state behind it, so the last token of a row is never computed
        rows = [torch.tensor(sequences[i].token_ids.tolist())[:-1] for i in order[8 * step : 8 * step + 8]]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        made.append({"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()})
    return made


@pytest.mark.parametrize("init", ["gaussian", "orthogonal", "pissa", "pissa_niter_2", "olora", "eva"])
def test_steps_equal_those_of_peft_and_the_result_fits_the_base(
    init: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir, train=SETTINGS, method={"r": 4, "init": init})
    run = train(load_recipe(path)).path
    torch.manual_seed(7)
    eva = EvaConfig(rho=1.0) if init == "eva" else None
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR, init_lora_weights=init, eva_config=eva
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager"), config)
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    if init == "eva":
        initialize_lora_eva_weights(model, batches(sequences), show_progress_bar=False)
    expected = plain_loop(model, sequences, steps=4, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=5e-5)

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    logits = model.eval()(input_ids=ids).logits
    for opened in (
        open_model(run, attention="eager").model,
        AutoPeftModelForCausalLM.from_pretrained(run / "final", attn_implementation="eager"),
    ):
        torch.testing.assert_close(opened(input_ids=ids).logits, logits, atol=5e-4, rtol=1e-3)
    assert json.loads((run / "final" / "adapter_config.json").read_text())["r"] == (4 if model_is_whole(init) else 8)
    require_same_after_resume(run, 4, recipe=path)


def model_is_whole(init: str) -> bool:
    """Whether the base keeps all its weights when adapters begin so."""
    return not init.startswith(("pissa", "olora"))


def test_loftq_makes_up_for_rounding_as_well_as_the_rank_allows(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 1, "learning_rate": 1e-30})
    settings = ["model.quantization=nf4", "method.init=loftq"]
    run = train(load_recipe(path, settings)).path
    tuned = open_model(run, attention="sdpa").model
    exact = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    layers = {name: one for name, one in tuned.named_modules() if isinstance(one, LoraLayer)}
    assert len(layers) == 14
    for name, layer in layers.items():
        weight = exact.get_submodule(name.removeprefix("base_model.model.")).weight.detach()
        rounded: Any = dequantize_module_weight(layer.base_layer)
        sizes = torch.linalg.svdvals(weight - rounded)
        left = weight - rounded - layer.get_delta_weight("default").detach()
        assert left.norm() == pytest.approx(float(sizes[4:].norm()), rel=1e-4)  # Eckart and Young: no rank 4 is nearer
        assert left.norm() < (weight - rounded).norm()
    ids = torch.tensor([[5, 7, 13, 9, 301, 11]])
    alone = AutoModelForCausalLM.from_pretrained(merge(run, tmp_path / "merged").path)
    torch.testing.assert_close(alone(input_ids=ids).logits, tuned(input_ids=ids).logits, atol=1e-3, rtol=1e-3)


def test_what_cannot_begin_so_is_said(tiny_llama_dir: Path) -> None:
    model = {"name": str(tiny_llama_dir), "dtype": "float32"}
    for settings, what in (
        ({"init": "pisa"}, "String should match pattern"),
        ({"init": "pissa", "dora": True}, "init=pissa does not go together with dora"),
        ({"init": "olora", "bias": "all"}, "init=olora does not go together with bias"),
        ({"init": "eva", "rank_pattern": {"q_proj": 2}}, "init=eva does not go together with rank_pattern"),
    ):
        with pytest.raises(RecipeError, match=what):
            recipe_from_dict({"model": model, "data": {"train": "t"}, "method": settings})
    with pytest.raises(RecipeError, match="loftq needs a base model that is quantised"):
        OurConfig(init="loftq").build().apply(load_model(ModelConfig(**model)), seed=0)
    with pytest.raises(RecipeError, match="pissa needs a base model that is not quantised"):
        OurConfig(init="pissa").build().apply(load_model(ModelConfig(**model, quantization="nf4")), seed=0)
    with pytest.raises(ModelError, match="k_proj has only 32 singular values, fewer than 40"):
        OurConfig(init="pissa", r=40).build().apply(load_model(ModelConfig(**model)), seed=0)
