"""Merging an adapter: the model on disk answers as base and adapter do, and one that does not is refused."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from workbench import save_adapter

from weitiao.cli.use import merge as merge_command
from weitiao.errors import ModelError
from weitiao.export.check import TOLERANCES, MergeError, compare, last_logits, probe_prompts, require_agreement
from weitiao.export.merge import merge
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.methods.lora import LoraConfig as Lora
from weitiao.methods.open import open_model
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_model, load_tokenizer
from weitiao.rendering.render import Prompts

MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tmp_path: Path, tiny_llama_dir: Path) -> MakeAdapter:
    """Makes an adapter directory with random values of a size, for LoRA with these settings."""

    def make(*, size: float = 0.2, base: Path = tiny_llama_dir, **settings: Any) -> Path:
        config = ModelConfig(name=str(base))
        model = Lora(r=4, **settings).build().apply(load_model(config), seed=0)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape) * size)
        directory = tmp_path / "adapter"
        save_adapter(directory, model, load_tokenizer(config), base=str(base), fingerprint=model_fingerprint(base))
        return directory

    return make


def logits_of(model: Any, tokenizer: Any, text: str) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


@pytest.mark.parametrize(
    "settings",
    [{}, {"rslora": True, "target_modules": ["q_proj", "down_proj"]}, {"dora": True}],
    ids=["lora", "rslora", "dora"],
)
def test_plain_transformers_loads_the_result_and_gets_the_adapters_logits(
    make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    adapter = make_adapter(**settings)
    merged = merge(adapter, tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    text = "user: 今天 12 + 30? def f(x): return x 🙂"
    of_base = logits_of(base, tokenizer, text)
    expected = logits_of(PeftModel.from_pretrained(base, adapter).eval(), tokenizer, text)
    found = logits_of(AutoModelForCausalLM.from_pretrained(merged.path).eval(), tokenizer, text)
    assert (expected - of_base).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    assert merged.agreement.relative_difference < 1e-4
    assert merged.agreement.top1_agreement == 1.0


def test_result_is_a_whole_model_directory(make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path) -> None:
    merged = merge(make_adapter(), tmp_path / "models" / "merged")
    names = {file.name for file in merged.path.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not any("adapter" in name for name in names)
    original = AutoTokenizer.from_pretrained(tiny_llama_dir)
    assert AutoTokenizer.from_pretrained(merged.path).chat_template == original.chat_template
    assert [entry.name for entry in merged.path.parent.iterdir()] == ["merged"]
    assert merged.num_parameters == AutoModelForCausalLM.from_pretrained(tiny_llama_dir).num_parameters()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_rounded_to_the_format_asked_for(make_adapter: MakeAdapter, tmp_path: Path, dtype: Any) -> None:
    exact = merge(make_adapter(), tmp_path / "exact")
    rounded = merge(tmp_path / "adapter", tmp_path / "rounded", dtype=dtype)
    assert (exact.dtype, rounded.dtype) == ("float32", dtype)
    assert rounded.agreement.relative_difference > exact.agreement.relative_difference
    wanted = getattr(torch, dtype)
    found = AutoModelForCausalLM.from_pretrained(rounded.path, dtype="auto").state_dict()
    for name, weight in AutoModelForCausalLM.from_pretrained(exact.path).state_dict().items():
        assert found[name].dtype == wanted
        assert torch.equal(found[name], weight.to(wanted)), name


def test_the_format_is_that_of_the_base_when_none_is_asked_for(
    make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    base = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny_llama_dir, dtype=torch.bfloat16).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(base)
    assert merge(make_adapter(base=base), tmp_path / "merged").dtype == "bfloat16"


def test_plain_transformers_stops_where_we_do(make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path) -> None:
    """The base knows another end than the template's turns have, and settings that transformers refuses to save."""
    base = tmp_path / "base"
    config = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).config
    config.tie_word_embeddings, config.eos_token_id = False, 0
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_config(config)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.eos_token = "<|endoftext|>"
    prompt = Prompts(tokenizer)([{"role": "user", "content": "what colour?"}])

    def save() -> None:
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        settings = {"eos_token_id": [0], "do_sample": False, "temperature": 0.6, "top_k": 7}
        (base / "generation_config.json").write_text(json.dumps(settings))

    def generated(directory: Path) -> list[int]:
        ids = torch.tensor([prompt])
        found = AutoModelForCausalLM.from_pretrained(directory).generate(ids, max_new_tokens=30)
        return found[0, len(prompt) :].tolist()

    save()
    answer = generated(merge(make_adapter(base=base), tmp_path / "first").path)
    place = next(place for place in range(2, 20) if answer[place] not in answer[:place])
    with torch.no_grad():  # what the model says there is now called <|im_end|>
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        rows = [answer[place], end]
        model.lm_head.weight[rows] = model.lm_head.weight[rows[::-1]]
    save()
    merged = merge(make_adapter(base=base), tmp_path / "merged").path
    assert generated(merged) == [*answer[:place], end]
    opened = open_model(tmp_path / "adapter")
    ends = stop_ids(opened.model, opened.tokenizer)
    (ours,) = generate(opened.model, [prompt], GenerationConfig(max_new_tokens=30), stop_ids=ends)
    assert (list(ours.token_ids), ours.stopped) == (answer[:place], True)
    settings = json.loads((merged / "generation_config.json").read_text())
    assert set(settings["eos_token_id"]) == ends == {0, end}
    assert (settings["temperature"], settings["top_k"]) == (0.6, 7)


def test_trained_biases_are_merged_too(make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path) -> None:
    base = tmp_path / "biased"
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    config = model.config
    config.attention_bias = True
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(base)
    merged = merge(make_adapter(base=base, bias="all"), tmp_path / "merged")
    assert merged.agreement.relative_difference < 1e-4


def test_an_adapter_that_changes_nothing_is_merged(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    agreement = merge(make_adapter(size=0.0), tmp_path / "merged").agreement
    assert agreement.lost_effect is None
    assert agreement.adapter_effect < 1e-6


def test_an_adapter_on_a_tied_head_gives_the_head_a_weight_of_its_own(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """Merged into the shared tensor, it would change the input embedding as well."""
    merged = merge(make_adapter(target_modules=["lm_head", "q_proj"]), tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(merged.path)
    assert not torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)
    assert merged.agreement.relative_difference < 1e-4


def test_tied_embeddings_stay_tied_where_no_adapter_is_on_them(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(merge(make_adapter(), tmp_path / "merged").path)
    assert model.config.tie_word_embeddings
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_merge_in_which_rounding_eats_the_adapter_leaves_nothing(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter(size=0.0005)
    with pytest.raises(MergeError, match="does not answer as base and adapter do"):
        merge(adapter, tmp_path / "merged", dtype="bfloat16")
    assert not (tmp_path / "merged").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("dtype", list(TOLERANCES))
@pytest.mark.parametrize("size", [0.01, 0.2])
def test_a_merge_that_lost_the_adapter_is_refused(
    make_adapter: MakeAdapter, tiny_llama_dir: Path, dtype: str, size: float
) -> None:
    adapter = make_adapter(size=size)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()
    prompts = probe_prompts(AutoTokenizer.from_pretrained(adapter), max_context=512)
    without = last_logits(base, prompts)
    reference = last_logits(PeftModel.from_pretrained(base, adapter).eval(), prompts)
    agreement = compare(reference, without, without)
    assert agreement.lost_effect == pytest.approx(1.0)
    with pytest.raises(MergeError) as error:
        require_agreement(agreement, dtype)
    assert error.value.exit_code == 3
    require_agreement(compare(reference, reference, without), dtype)


def test_one_wrong_weight_is_enough_to_be_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    merged = merge(make_adapter(), tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(merged.path).eval()
    prompts = probe_prompts(AutoTokenizer.from_pretrained(merged.path), max_context=512)
    reference = last_logits(model, prompts)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] += 0.5
    agreement = compare(reference, last_logits(model, prompts), [torch.zeros_like(one) for one in reference])
    with pytest.raises(MergeError):
        require_agreement(agreement, "float32")


def test_a_logit_that_is_no_number_is_refused() -> None:
    reference = [torch.randn(4, 9), torch.randn(3, 9)]
    for place in (0, 1):
        other = [one.clone() for one in reference]
        other[place][1, 2] = float("nan")
        agreement = compare(reference, other, [torch.zeros_like(one) for one in reference])
        with pytest.raises(MergeError):
            require_agreement(agreement, "bfloat16")


def test_probes_are_of_many_kinds_and_fit_the_context(tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    prompts = probe_prompts(tokenizer, max_context=100)
    text = tokenizer.batch_decode([list(ids) for ids in prompts])
    assert any("微调" in one for one in text)
    assert any("def " in one for one in text)
    assert any("2024" in one for one in text)
    assert any(one.startswith("<|im_start|>user") and one.endswith("<|im_start|>assistant\n") for one in text)
    assert {min(map(len, prompts)) < 5, max(map(len, prompts)) == 100} == {True}


def test_an_output_that_holds_something_is_left_alone(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    output = tmp_path / "taken"
    output.mkdir()
    (output / "precious.txt").write_text("mine")
    with pytest.raises(ModelError, match="taken"):
        merge(make_adapter(), output)
    assert (output / "precious.txt").read_text() == "mine"


def test_a_model_that_does_not_fit_on_the_disk_leaves_nothing(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a file cannot grow beyond it, as on a full disk
    try:
        with pytest.raises(ModelError, match="cannot be written"):
            merge(adapter, tmp_path / "merged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]


_PEAKS = """
import sys, threading
from pathlib import Path
from weitiao.export.source import Source
from weitiao.models.config import ModelConfig

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

def watch():
    while not done.wait(0.002):
        peaks.append(own())

def write(final, base):
    source = Source(final, ModelConfig(name=base), "", frozenset(), threads=1, work=final.parent)
    source.write_whole(final.with_name(final.name + "-whole"), "float32")

small, large = sys.argv[1:3]
write(Path(sys.argv[3]), small)  # what is imported and allocated once
for one in map(Path, sys.argv[4:]):
    before, peaks, done = own(), [0], threading.Event()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    write(one, large)
    done.set()
    watcher.join()
    print(max(peaks) - before)
"""


def test_whole_models_are_written_in_the_memory_of_a_layer(
    make_adapter: MakeAdapter, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    """Merged, or as they were tuned whole; to the bit what they are in memory."""
    config = LlamaConfig(
        vocab_size=400, hidden_size=768, intermediate_size=2048, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    large, full = tmp_path / "large", tmp_path / "full"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(large, max_shard_size="50MB")
    AutoTokenizer.from_pretrained(tiny_llama_dir).save_pretrained(large)
    shutil.copytree(large, full)
    (full / "weitiao_base.json").write_text(json.dumps({"base": str(large), "fingerprint": "", "method": "full"}))
    lora = make_adapter(base=large, size=0.02).rename(tmp_path / "lora")
    dora = make_adapter(base=large, size=0.02, dora=True).rename(tmp_path / "dora")
    places = [tiny_llama_dir, large, make_adapter().rename(tmp_path / "first"), lora, dora, full]
    # What malloc keeps for later is another matter: tensors are given back at once.
    given_back = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_ARENA_MAX": "1",
    }
    words = [sys.executable, "-c", _PEAKS, *places]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=given_back)
    assert done.returncode == 0, done.stderr
    for adapter, peak in zip((lora, dora, None), done.stdout.split(), strict=True):
        expected = AutoModelForCausalLM.from_pretrained(large, dtype=torch.float32)
        size = sum(one.nbytes for one in expected.parameters())
        assert size > 160e6
        assert int(peak) < 0.2 * size
        if adapter is not None:
            expected = PeftModel.from_pretrained(expected, adapter).merge_and_unload()
        found = AutoModelForCausalLM.from_pretrained(f"{adapter or full}-whole").state_dict()
        for name, weight in expected.state_dict().items():
            assert torch.equal(found[name], weight), name


def test_a_target_without_adapter_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing to merge"):
        merge(tiny_llama_dir, tmp_path / "merged")


def test_command_prints_figures_and_nothing_from_the_libraries(
    make_adapter: MakeAdapter, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    adapter = make_adapter()
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        warnings.simplefilter("always", UserWarning)
        merge_command(adapter, tmp_path / "merged", json=True)
    assert not [str(one.message) for one in caught]
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert set(result) == {"path", "dtype", "num_parameters", "size_bytes", "agreement", "tolerance", "seconds"}
    assert result["agreement"]["relative_difference"] <= result["tolerance"]["difference"]
    assert "Merged" in err
    assert "it/s" not in err
