"""Opening adapters: of this program and of others, whole and damaged, beside their base model and away from it."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from workbench import save_adapter

from weitiao.errors import ModelError, RunError
from weitiao.export.merge import merge
from weitiao.generation.generate import stop_ids
from weitiao.methods.base import base_model
from weitiao.methods.lora import LoraConfig
from weitiao.methods.open import find_final, open_model
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_model, load_tokenizer

NEW = ["<order>", "</order>", "<item>"]


def randomize(model: nn.Module, size: float = 0.1) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * size)


def saved_by_peft(base: Path, directory: Path, config: peft.PeftConfig, *, new: list[str] | None = None) -> Path:
    """An adapter as plain PEFT leaves it, after a training with new tokens when there are some."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    if new:
        tokenizer.add_tokens(new)
        model.resize_token_embeddings(len(tokenizer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, config)
        randomize(adapted)
        adapted.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def lora(**settings: Any) -> peft.LoraConfig:
    return peft.LoraConfig(r=4, task_type="CAUSAL_LM", **{"target_modules": ["q_proj"], **settings})


def our_adapter(base: Path, directory: Path, **settings: Any) -> Path:
    config = ModelConfig(name=str(base), dtype="float32")
    model = LoraConfig(r=4).build().apply(load_model(config), seed=0)
    randomize(model)
    fingerprint = model_fingerprint(base)
    save_adapter(directory, model, load_tokenizer(config), base=str(base), fingerprint=fingerprint, **settings)
    return directory


@pytest.fixture(scope="module")
def untied_dir(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> Path:
    """The tiny Llama with a head of its own."""
    directory = tmp_path_factory.mktemp("untied")
    config = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).config
    config.tie_word_embeddings = False
    with torch.random.fork_rng():
        torch.manual_seed(3)
        AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(directory)
    return directory


def logits_of(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modules_to_save": ["lm_head", "embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"trainable_token_indices": [300, 301]},
    ],
    ids=["embeddings-saved", "modules-to-save", "lora", "token-indices"],
)
def test_an_adapter_with_new_tokens_opens_and_merges(
    settings: dict[str, Any], tied: bool, tiny_llama_dir: Path, untied_dir: Path, tmp_path: Path
) -> None:
    base = tiny_llama_dir if tied else untied_dir
    adapter = saved_by_peft(base, tmp_path / "adapter", lora(**settings), new=NEW)
    plain = AutoModelForCausalLM.from_pretrained(base)
    size = len(AutoTokenizer.from_pretrained(base)) + len(NEW)
    plain.resize_token_embeddings(size, mean_resizing=False)
    ids = torch.tensor([[5, 7, size - 3, 9, size - 1, 11, 300, 301]])
    expected = logits_of(PeftModel.from_pretrained(plain, adapter).eval(), ids)
    opened = open_model(adapter, base=ModelConfig(name=str(base), dtype="float32"), attention="sdpa")
    torch.testing.assert_close(logits_of(opened.model, ids), expected)
    assert opened.tokenizer.convert_tokens_to_ids(NEW) == [size - 3, size - 2, size - 1]
    merged = merge(adapter, tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(merged.path)
    torch.testing.assert_close(logits_of(found, ids), expected, atol=2e-4, rtol=1e-4)
    assert found.config.vocab_size == size == len(AutoTokenizer.from_pretrained(merged.path))


def test_new_tokens_whose_embeddings_the_adapter_lacks_are_refused(untied_dir: Path, tmp_path: Path) -> None:
    adapter = saved_by_peft(untied_dir, tmp_path / "adapter", lora(target_modules=["q_proj", "lm_head"]), new=NEW)
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({k: v for k, v in weights.items() if "lora" in k}, adapter / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="3 tokens that its base model does not have"):
        open_model(adapter)


@pytest.mark.parametrize(
    "config",
    [
        peft.IA3Config(
            task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
        peft.LoHaConfig(r=4, target_modules=["q_proj"]),
        peft.LoKrConfig(r=4, target_modules=["q_proj"]),
        peft.VeraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        peft.OFTConfig(oft_block_size=4, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        peft.AdaLoraConfig(total_step=10, target_modules=["q_proj"], task_type="CAUSAL_LM"),
        lora(use_dora=True),
        lora(modules_to_save=["lm_head"]),
        lora(target_modules=["q_proj", "lm_head"]),
        lora(target_modules=["embed_tokens"]),
    ],
    ids=lambda config: f"{config.peft_type.value}-{sorted(config.target_modules)}",
)
def test_adapters_of_other_kinds_open_and_merge(config: peft.PeftConfig, tiny_llama_dir: Path, tmp_path: Path) -> None:
    """On tied embeddings, where what changes the head must not change the input embedding."""
    adapter = saved_by_peft(tiny_llama_dir, tmp_path / "adapter", config)
    ids = torch.tensor([[5, 7, 13, 9, 301, 11]])
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    without = logits_of(base, ids)
    expected = logits_of(PeftModel.from_pretrained(base, adapter).eval(), ids)
    assert (expected - without).abs().max() > 1e-3
    opened = open_model(adapter, attention="sdpa")
    torch.testing.assert_close(logits_of(opened.model, ids), expected)
    found = AutoModelForCausalLM.from_pretrained(merge(adapter, tmp_path / "merged").path)
    torch.testing.assert_close(logits_of(found, ids), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PROMPT_TUNING"),
        (peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "PREFIX_TUNING"),
        (peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), "P_TUNING"),
        (peft.AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=1), "ADAPTION_PROMPT"),
        (peft.LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"]), "is a reward model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_adapters_that_cannot_be_run_are_refused_by_name(
    config: peft.PeftConfig, what: str, tmp_path: Path, tiny_llama_dir: Path
) -> None:
    config.save_pretrained(str(tmp_path / "adapter"))
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for use in (
        lambda: open_model(tmp_path / "adapter", base=ModelConfig(name=str(tiny_llama_dir))),
        lambda: merge(tmp_path / "adapter", tmp_path / "merged", base=ModelConfig(name=str(tiny_llama_dir))),
    ):
        with pytest.raises(ModelError, match=what):
            use()


def rewrite(directory: Path, name: str, content: str | bytes) -> None:
    (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def without_tensor(directory: Path, add: str = "") -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(directory / "adapter_model.safetensors")
    name = sorted(weights)[0]
    tensor = weights.pop(name)
    if add:
        weights |= {name: tensor, add: tensor.clone()}
    save_file(weights, directory / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda d: rewrite(d, "adapter_config.json", ""), "adapter_config.json is empty"),
        (lambda d: rewrite(d, "adapter_config.json", "[1]"), "adapter_config.json holds a JSON list"),
        (lambda d: rewrite(d, "adapter_config.json", '{"peft_type": "NEW"}'), "cannot be loaded: .*peft 0"),
        (lambda d: rewrite(d, "weitiao_base.json", "[]"), "weitiao_base.json holds a JSON list"),
        (lambda d: rewrite(d, "weitiao_base.json", "{}"), "weitiao_base.json names no base model"),
        (lambda d: rewrite(d, "adapter_model.safetensors", b"\0" * 20), "not a whole safetensors file"),
        (
            lambda d: rewrite(d, "adapter_model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
            "pointer of Git LFS",
        ),
        (lambda d: (d / "adapter_model.safetensors").rename(d / "adapter_model.bin"), "is a pickle"),
        (without_tensor, "its file lacks 1 tensors, base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"),
        (lambda d: without_tensor(d, "base_model.model.model.layers.9.mlp.x"), r"no place for 1 .*layers\.9\.mlp\.x"),
        (lambda d: rewrite(d, "tokenizer.json", "{"), "tokenizer.json is not JSON"),
    ],
)
def test_a_damaged_adapter(damage: Callable[[Path], object], what: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter = our_adapter(tiny_llama_dir, tmp_path / "adapter")
    damage(adapter)
    with pytest.raises(ModelError, match=what):
        open_model(adapter)


def test_an_adapter_names_its_base_as_the_recipe_does(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Not by the place from which it was loaded, which for a GGUF file is a cache of this machine."""
    config = ModelConfig(name=str(tiny_llama_dir))
    model = LoraConfig(r=4).build().apply(load_model(config), seed=0)
    directory = tmp_path / "adapter"
    save_adapter(directory, model, load_tokenizer(config), base="org/name", fingerprint="0" * 16, revision="v2")
    values = json.loads((directory / "adapter_config.json").read_text())
    assert (values["base_model_name_or_path"], values["revision"]) == ("org/name", "v2")
    assert base_model(directory) == ModelConfig(name="org/name", revision="v2")
    (directory / "weitiao_base.json").unlink()
    assert base_model(directory) == ModelConfig(name="org/name", revision="v2")


def test_a_run_brings_the_whole_model_section_of_its_recipe(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """A base model with code of its own opens without another word; the bare adapter does not let it run."""
    base = shutil.copytree(tiny_llama_dir, tmp_path / "base")
    (base / "modeling_own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n",
        encoding="utf-8",
    )
    values = json.loads((base / "config.json").read_text())
    values |= {"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.OwnConfig"}}
    values["auto_map"]["AutoModelForCausalLM"] = "modeling_own.OwnModel"
    (base / "config.json").write_text(json.dumps(values))
    config = ModelConfig(name=str(base), dtype="float32", trust_remote_code=True)
    model = LoraConfig(r=4).build().apply(load_model(config), seed=0)
    save_adapter(
        tmp_path / "run" / "final", model, load_tokenizer(config), base=str(base), fingerprint=model_fingerprint(base)
    )
    (tmp_path / "run" / "recipe.yaml").write_text(json.dumps({"model": config.model_dump()}))
    for target in (tmp_path / "run", tmp_path / "run" / "final"):
        assert type(open_model(target, attention="sdpa").model.get_base_model()).__name__ == "OwnModel"
    merged = merge(tmp_path / "run", tmp_path / "merged").path
    plain = AutoModelForCausalLM.from_pretrained(merged, trust_remote_code=True)
    assert type(plain).__name__ == "OwnModel"
    alone = (tmp_path / "run" / "final").rename(tmp_path / "alone")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        open_model(alone, attention="sdpa")
    assert "trust_remote_code" in caught.value.remedy
    (tmp_path / "run" / "final").mkdir()
    shutil.copytree(alone, tmp_path / "run" / "final", dirs_exist_ok=True)
    (tmp_path / "run" / "recipe.yaml").write_text("model: [")
    with pytest.raises(RunError, match="damaged"):
        open_model(tmp_path / "run")


def test_run_and_base_that_were_moved_together_find_each_other(tiny_llama_dir: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_llama_dir, tmp_path / "here" / "models" / "base")
    our_adapter(base, tmp_path / "here" / "runs" / "a" / "final")
    (tmp_path / "here").rename(tmp_path / "there")
    there = tmp_path / "there"
    expected = str(there / "models" / "base")
    assert base_model(there / "runs" / "a" / "final").name == expected
    assert open_model(there / "runs" / "a" / "final").model.config._name_or_path == expected
    # another model of the same name that lies nearer is not taken for it
    decoy = shutil.copytree(expected, there / "runs" / "models" / "base")
    content = bytearray((decoy / "model.safetensors").read_bytes())
    content[-8:] = b"\1" * 8
    (decoy / "model.safetensors").write_bytes(content)
    assert base_model(there / "runs" / "a" / "final").name == expected
    shutil.rmtree(expected)
    with pytest.raises(ModelError, match="no file or directory") as caught:
        open_model(there / "runs" / "a" / "final")
    assert "--base-model" in caught.value.remedy
    opened = open_model(there / "runs" / "a" / "final", base=ModelConfig(name=str(tiny_llama_dir)))
    assert isinstance(opened.model, PeftModel)


def test_an_adapter_of_another_tool_finds_a_base_that_is_named_relative_to_it(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    adapter = saved_by_peft(tiny_llama_dir, tmp_path / "x" / "adapter", lora())
    values = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(values | {"base_model_name_or_path": "../base"}))
    shutil.copytree(tiny_llama_dir, tmp_path / "x" / "base")
    open_model(adapter)
    (adapter / "adapter_config.json").write_text(json.dumps(values | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="names no base model") as caught:
        open_model(adapter)
    assert "--base-model" in caught.value.remedy


def test_an_adapter_directory_tells_other_programs_where_to_stop(tiny_llama_dir: Path, tmp_path: Path) -> None:
    adapter = our_adapter(tiny_llama_dir, tmp_path / "adapter")
    opened = open_model(adapter)
    ends = GenerationConfig.from_pretrained(adapter).eos_token_id
    assert set(ends if isinstance(ends, list) else [ends]) == stop_ids(opened.model, opened.tokenizer)


def test_names_that_no_file_can_have_are_no_adapter() -> None:
    assert find_final("a" * 5000) is None
