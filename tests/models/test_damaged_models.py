"""Whatever is wrong with the files of a model, a user reads one clear error: what, where, and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from weitiao.errors import ModelError
from weitiao.methods.lora import Lora, LoraConfig
from weitiao.models.cache import converted_gguf
from weitiao.models.config import ModelConfig
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import load_config, load_model, load_tokenizer
from weitiao.models.names import resolve_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 17209920\n"
Damage = Callable[[Path], object]


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def newer_tokenizer(directory: Path) -> None:
    content = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["type"] = "BPE2"
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def replaced(name: str, content: str | bytes) -> Damage:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda directory: (directory / name).write_bytes(raw)


def cut(name: str, num_bytes: int) -> Damage:
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:num_bytes])


def sharded(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    names = {"model.embed_tokens.weight": "model-00001-of-00002.safetensors", "a": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 1}, "weight_map": names}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "what", "remedy"),
    [
        (
            newer_tokenizer,
            r"Exception: data did not match any variant .* \(transformers .*, tokenizers ",
            "pip install",
        ),
        (cut("tokenizer.json", 300), r"tokenizer.json is not JSON: ", "Download or copy that file"),
        (replaced("tokenizer.json", ""), r"tokenizer.json is empty", "Download or copy that file"),
        (replaced("tokenizer.json", POINTER), r"tokenizer.json is a pointer of Git LFS", "git lfs pull"),
        (replaced("tokenizer_config.json", "[1]"), r"tokenizer_config.json holds a JSON list", "Download or copy"),
        (lambda d: edit(d / "tokenizer_config.json", added_tokens_decoder=["x"]), r"AttributeError: ", "complete"),
        (lambda d: edit(d / "tokenizer_config.json", tokenizer_class=7), r"cannot be loaded: ", "complete"),
        (lambda d: (d / "tokenizer.json").unlink(), r"The tokenizer in .* cannot be loaded: ", "complete"),
    ],
)
def test_a_damaged_tokenizer(damage: Damage, what: str, remedy: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    damage(directory)
    with pytest.raises(ModelError, match=what) as caught:
        load_tokenizer(ModelConfig(name=str(directory)))
    assert remedy in caught.value.remedy
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (replaced("config.json", ""), r"config.json is empty"),
        (replaced("config.json", "{"), r"config.json is not JSON"),
        (replaced("config.json", "[]"), r"config.json holds a JSON list"),
        (replaced("config.json", b"\xff\xfe\x00"), r"config.json is not JSON"),
        (replaced("config.json", "[" * 100_000), r"config.json is not JSON"),
        (
            replaced("config.json", '{"num_experts_per_tok": 5, "num_experts": 4}'),
            r"sends each token to 5 of 4 experts",
        ),
        (replaced("model.safetensors", POINTER), r"model.safetensors is a pointer of Git LFS"),
        (sharded, r"lacks 1 of the weights files that its index names, model-00002-of-00002.safetensors"),
    ],
)
def test_damage_that_shows_before_anything_is_loaded(
    damage: Damage, what: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    damage(directory)
    with pytest.raises(ModelError, match=what):
        resolve_model(ModelConfig(name=str(directory)))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda d: edit(d / "config.json", hidden_size="many"), r"cannot be loaded: "),
        (lambda d: edit(d / "config.json", hidden_act="an-invention"), r"cannot be loaded: .*an-invention"),
        (lambda d: edit(d / "config.json", num_attention_heads=0), r"cannot be loaded: "),
        (lambda d: edit(d / "config.json", rope_parameters=7), r"cannot be loaded: "),
        (cut("model.safetensors", 4), r"model.safetensors is not a whole safetensors file"),
        (cut("model.safetensors", 900), r"model.safetensors is not a whole safetensors file"),
        (replaced("model.safetensors", ""), r"model.safetensors is not a whole safetensors file"),
        (replaced("generation_config.json", "[1]"), r"generation_config.json holds a JSON list"),
    ],
)
def test_a_damaged_model(damage: Damage, what: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    damage(directory)
    with pytest.raises(ModelError, match=what):
        load_model(ModelConfig(name=str(directory)))


@pytest.mark.parametrize("changes", [{"model_type": "an-invention"}, {"rope_parameters": 7}, {"layer_types": 3}])
def test_a_configuration_that_cannot_be_read(changes: dict[str, object], tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    edit(directory / "config.json", **changes)
    with pytest.raises(ModelError, match=r"configuration of the model in .* cannot be read: "):
        load_config(ModelConfig(name=str(directory)))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "pip install "),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}, "pip install "),
        ({"bits": 4}, "quant_method"),
        ([1], "AttributeError"),
    ],
)
def test_quantised_weights_without_what_reads_them(
    settings: object, what: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    edit(directory / "config.json", quantization_config=settings)
    with pytest.raises(ModelError, match=what) as caught:
        load_model(ModelConfig(name=str(directory)))
    assert "quantised" in caught.value.remedy
    assert "not quantised" in caught.value.remedy


def test_weights_that_are_not_quantised_as_their_configuration_says(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    edit(directory / "config.json", quantization_config=settings)
    model = load_model(ModelConfig(name=str(directory)))
    with pytest.raises(ModelError, match="PEFT cannot put lora into LlamaForCausalLM: AttributeError") as caught:
        Lora(LoraConfig()).apply(model, seed=0)
    assert "not quantised" in caught.value.remedy


@pytest.mark.parametrize("header", [b"[1]", b'{"a": 1}', b'{"a": {"dtype": "F32"}}', b"{"])
def test_the_fingerprint_of_damaged_weights(header: bytes, tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(tiny_llama_dir, tmp_path / "model")
    (directory / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        model_fingerprint(directory)


def test_names_that_no_file_can_have_are_not_found() -> None:
    for name in ("./" + "a" * 5000, "~no-such-user/model", "with\0zero/x"):
        with pytest.raises(ModelError, match="no file or directory"):
            resolve_model(ModelConfig(name=name))


@pytest.mark.parametrize("num_bytes", [0, 3, 11, 40, 1000, 200_000])
def test_a_gguf_file_that_ends_early(num_bytes: int, tmp_path: Path) -> None:
    from weitiao.machine.catalogue import catalogue_file

    path = tmp_path / "cut.gguf"
    with catalogue_file("smollm2-135m").open("rb") as whole:
        path.write_bytes(whole.read(num_bytes))
    with pytest.raises(ModelError, match="not a whole GGUF file") as caught:
        converted_gguf(path, cache_dir=tmp_path / "cache")
    assert "\n" not in caught.value.what


@pytest.mark.parametrize("seed", range(8))
def test_a_gguf_file_with_flipped_bytes_in_its_header(seed: int, tmp_path: Path) -> None:
    """Only the first kilobytes of the file are kept, so that what comes out is an error, and never a traceback."""
    import random

    from weitiao.machine.catalogue import catalogue_file

    rng = random.Random(seed)
    with catalogue_file("smollm2-135m").open("rb") as whole:
        content = bytearray(whole.read(60_000))
    for _ in range(1 + seed):
        content[rng.randrange(2000)] = rng.randrange(256)
    path = tmp_path / "flipped.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        converted_gguf(path, cache_dir=tmp_path / "cache")
