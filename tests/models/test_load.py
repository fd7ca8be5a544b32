"""A model and its tokenizer as a recipe asks for them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from weitiao.errors import ModelError
from weitiao.machine.hardware import choose_dtype, detect_hardware
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model, load_tokenizer


def copy_of(directory: Path, target: Path) -> Path:
    shutil.copytree(directory, target)
    return target


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def test_a_directory_loads_as_plain_transformers_loads_it(tiny_llama_dir: Path) -> None:
    ours = load_model(ModelConfig(name=str(tiny_llama_dir), dtype="float32"))
    plain = AutoModelForCausalLM.from_pretrained(str(tiny_llama_dir), dtype=torch.float32)
    ids = torch.arange(5, 60).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, plain(ids).logits)
    assert not ours.training
    assert ours.device == torch.device("cpu")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_attention_asked_for_is_the_one_that_runs(attention: str, tiny_llama_dir: Path) -> None:
    model = load_model(ModelConfig(name=str(tiny_llama_dir)), attention=attention)
    assert model.config._attn_implementation == attention


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_all_weights_have_the_type_of_the_recipe(dtype: str, tiny_llama_dir: Path) -> None:
    model = load_model(ModelConfig(name=str(tiny_llama_dir), dtype=dtype))
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}


def test_auto_is_the_type_that_suits_the_cpu(tiny_llama_dir: Path) -> None:
    expected = choose_dtype(detect_hardware(), device="cpu")
    assert load_model(ModelConfig(name=str(tiny_llama_dir))).dtype == getattr(torch, expected)


def test_end_of_sequence_pads_where_no_padding_token_is_named_and_the_vocabulary_stays(tiny_llama_dir: Path) -> None:
    plain = AutoTokenizer.from_pretrained(str(tiny_llama_dir))
    tokenizer = load_tokenizer(ModelConfig(name=str(tiny_llama_dir)))
    assert plain.pad_token_id is None
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == plain.eos_token_id
    assert len(tokenizer) == len(plain)


def test_a_padding_token_of_the_model_stays(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "tokenizer_config.json", pad_token="<|endoftext|>")
    assert load_tokenizer(ModelConfig(name=str(directory))).pad_token == "<|endoftext|>"


def test_a_tokenizer_without_an_end_of_sequence_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="names no end-of-sequence token"):
        load_tokenizer(ModelConfig(name=str(directory)))


def test_a_cut_off_weights_file_is_an_error(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(ModelConfig(name=str(directory)))


def test_weights_that_the_model_lacks_are_an_error_not_random_numbers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "config.json", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"model\.layers\.2\."):
        load_model(ModelConfig(name=str(directory)))


def test_weights_of_another_shape_are_an_error_that_names_both_shapes(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "config.json", intermediate_size=96)
    with pytest.raises(ModelError, match=r"down_proj.weight has the shape \[64, 128\], the model needs \[64, 96\]"):
        load_model(ModelConfig(name=str(directory)))


def test_an_unknown_architecture_is_an_error(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "config.json", model_type="an-invention")
    with pytest.raises(ModelError, match="an-invention"):
        load_model(ModelConfig(name=str(directory)))


def test_weights_that_find_no_place_are_told(
    tiny_llama_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    edit_json(directory / "config.json", num_hidden_layers=1)
    load_model(ModelConfig(name=str(directory)))
    assert "9 weights that a LlamaForCausalLM has no place for, model.layers.1." in caplog.text


def test_code_that_comes_with_a_model_does_not_run_unless_allowed(tiny_llama_dir: Path, tmp_path: Path) -> None:
    directory = copy_of(tiny_llama_dir, tmp_path / "model")
    (directory / "modeling_own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n",
        encoding="utf-8",
    )
    auto_map = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}
    edit_json(directory / "config.json", model_type="own", auto_map=auto_map)
    with pytest.raises(ModelError, match=r"set model\.trust_remote_code: true"):
        load_model(ModelConfig(name=str(directory)))
    assert type(load_model(ModelConfig(name=str(directory), trust_remote_code=True))).__name__ == "OwnModel"


def test_loading_is_silent_and_leaves_the_librarys_switches_alone(
    tiny_llama_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_model(ModelConfig(name=str(tiny_llama_dir)))
    load_tokenizer(ModelConfig(name=str(tiny_llama_dir)))
    sys.stderr.flush()
    assert capfd.readouterr().err == ""
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
