"""LoRA on stacks of experts, beside parts that learn as a whole, and tokens: steps, files and merging as with PEFT."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from reference import gradient, plain_loop, plain_sequences
from transformers import AutoModelForCausalLM, AutoTokenizer, GptOssConfig, MixtralConfig, Qwen3MoeConfig
from workbench import require_same_after_resume, steps_of, write_recipe

from weitiao.errors import ModelError, RecipeError
from weitiao.export.merge import merge
from weitiao.methods.lora import LoraConfig as Lora
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe, recipe_from_dict
from weitiao.study.train import train

EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "num_experts_per_tok": 2,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "experts of mixtral": ("mixtral", {"target_modules": ["q_proj"], "target_parameters": EXPERTS}),
    "experts of qwen3": ("qwen3", {"target_modules": [], "target_parameters": EXPERTS[:1], "rslora": True}),
    "whole parts": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["model.norm", "layers.1.mlp"]}),
    "a tied head": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "tokens": ("llama", {"target_modules": ["q_proj"], "trainable_token_indices": [1, 2, 70]}),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> dict[str, Path]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    ends = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    mixtral = MixtralConfig(**SIZES, **ends, num_local_experts=4, sliding_window=None)
    qwen3 = Qwen3MoeConfig(**SIZES, **ends, head_dim=8, num_experts=4, moe_intermediate_size=16)
    made = {"llama": tiny_llama_dir}
    for name, config in (("mixtral", mixtral), ("qwen3", qwen3)):
        made[name] = tmp_path_factory.mktemp(name)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(config).save_pretrained(made[name])
        tokenizer.save_pretrained(made[name])
    return made


@pytest.mark.parametrize("name", CASES)
def test_steps_files_and_merging_are_those_of_peft(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    family, method = CASES[name]
    settings = {"max_steps": 4, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3, "threads": 2}
    path = write_recipe(tmp_path, bases[family], train=settings, method=method)
    run = train(load_recipe(path)).path
    torch.manual_seed(7)
    options = {("use_rslora" if key == "rslora" else key): value for key, value in method.items()}
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, **options)
    plain = AutoModelForCausalLM.from_pretrained(bases[family], attn_implementation="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = get_peft_model(plain, config)
    sequences = plain_sequences(tmp_path / "rows.jsonl", bases[family])
    expected = plain_loop(model, sequences, steps=4, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=5e-5)

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    logits = model.eval()(input_ids=ids).logits
    merged = merge(run, tmp_path / "merged").path
    for opened in (
        open_model(run, attention="eager").model,
        AutoPeftModelForCausalLM.from_pretrained(run / "final", attn_implementation="eager"),
        AutoModelForCausalLM.from_pretrained(merged, attn_implementation="eager"),
    ):
        torch.testing.assert_close(opened(input_ids=ids).logits, logits, atol=5e-4, rtol=1e-3)
    require_same_after_resume(run, 4, recipe=path)


@pytest.mark.parametrize("family", ["mixtral", "qwen3", "gpt_oss"])
def test_adapters_of_experts_never_make_a_matrix_of_the_size_of_the_weights(
    family: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    if family == "gpt_oss":  # with biases, transposed
        bases = {family: tmp_path / family}
        AutoModelForCausalLM.from_config(
            GptOssConfig(**SIZES, vocab_size=120, num_local_experts=4, head_dim=8)
        ).save_pretrained(bases[family])
    found: dict[bool, tuple[torch.Tensor, int]] = {}
    for fused in (False, True):
        model = AutoModelForCausalLM.from_pretrained(bases[family], attn_implementation="eager")
        method = Lora(r=2, target_parameters=EXPERTS, target_modules=[], fused=fused).build()
        adapted = method.apply(model, seed=0)
        torch.manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.3)
        own = {parameter.untyped_storage().data_ptr() for parameter in adapted.parameters()}
        stacks = {tuple(sorted(one.shape)) for one in model.parameters() if one.ndim == 3}
        kept = 0

        def note(tensor: torch.Tensor, own: set[int] = own, stacks: set[tuple[int, ...]] = stacks) -> torch.Tensor:
            nonlocal kept
            kept += tuple(sorted(tensor.shape)) in stacks and tensor.untyped_storage().data_ptr() not in own
            return tensor

        ids = torch.arange(3, 103)[None]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = adapted.train()(input_ids=ids, labels=ids).loss
        loss.backward()
        found[fused] = gradient(adapted), kept
    (plain, _), (thin, kept) = found[False], found[True]
    assert found[False][1] > 0
    assert kept == 0
    assert (thin - plain).norm() < 1e-5 * plain.norm()


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"target_parameters": EXPERTS, "dropout": 0.1}, "target_parameters does not go together with dropout"),
        ({"target_parameters": EXPERTS, "dora": True}, "target_parameters does not go together with dora"),
        ({"target_modules": []}, "target_modules may be empty only beside"),
        ({"init": "pissa", "modules_to_save": ["norm"]}, "init=pissa does not go together with modules_to_save"),
    ],
)
def test_what_peft_cannot_do_together_is_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        recipe_from_dict({"model": "m", "data": {"train": "t"}, "method": settings})


@pytest.mark.parametrize(
    ("family", "method", "what", "remedy"),
    [
        ("qwen3", {"target_parameters": ["experts.gate_proj"]}, "no stack of matrices named", "experts.gate_up_proj"),
        ("llama", {"target_parameters": ["experts.up"]}, "no stack of matrices named experts.up", "another model"),
        ("llama", {"modules_to_save": ["lm_haed"]}, "has no part named lm_haed", "lm_head"),
        ("llama", {"type": "peft", "tuner": "loha", "modules_to_save": ["nrm"]}, "no part named nrm", "norm"),
        ("llama", {"trainable_token_indices": [9999]}, "tokens, and none is 9999", "Choose from 0"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(
    family: str, method: dict[str, Any], what: str, remedy: str, bases: dict[str, Path]
) -> None:
    settings = recipe_from_dict({"model": "m", "data": {"train": "t"}, "method": method})
    model = AutoModelForCausalLM.from_pretrained(bases[family])
    with pytest.raises(ModelError, match=what) as caught:
        settings.method.build().apply(model, seed=0)
    assert remedy in caught.value.remedy
