"""What counts more is rounded less: llama.cpp's importance matrix, against plain transformers and gguf's own reader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from export.conftest import make_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.export.converter import Converter
from weitiao.export.importance import importance, weigh
from weitiao.export.llama_engine import quantize
from weitiao.rendering.items import TokenSequence

pytestmark = pytest.mark.usefixtures("at_once")
SYSTEM = tuple(range(40, 70))  # counts once
ROWS = tuple((*SYSTEM, *rest) for rest in (range(70, 90), range(200, 320, 3)))


@pytest.fixture(scope="module")
def small_dir(sentencepiece_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary that is read at once: nothing here asks for its words."""
    return make_model(tmp_path_factory.mktemp("small"), AutoTokenizer.from_pretrained(sentencepiece_dir))


@pytest.fixture(scope="module")
def found(small_dir: Path) -> dict[str, Any]:
    rows = [TokenSequence.of(str(ids[-1]), ids, [0.0] + [1.0] * (len(ids) - 1)) for ids in ROWS]
    return importance(small_dir, rows, torch.get_num_threads())


@pytest.fixture(scope="module")
def whole(small_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("whole") / "whole.gguf"
    Converter().model(small_dir, target, "f32")
    return target


def test_it_is_the_mean_square_of_what_plain_transformers_gives_each_layer(
    small_dir: Path, found: dict[str, Any]
) -> None:
    model = AutoModelForCausalLM.from_pretrained(small_dir)
    layer = model.model.layers[1]
    with torch.no_grad():
        read = [model(torch.tensor([ids[:-1]]), output_hidden_states=True).hidden_states[1][0] for ids in ROWS]
        hidden = [read[0], read[1][len(SYSTEM) :]]
        expected = torch.cat([layer.input_layernorm(one) for one in hidden]).square().mean(0)
    for name in ("q_proj", "k_proj", "v_proj"):
        np.testing.assert_allclose(found[f"model.layers.1.self_attn.{name}.weight"], expected, rtol=1e-4, atol=1e-6)
    assert len(found) == 2 * 7
    assert found["model.layers.0.mlp.down_proj.weight"].shape == (256,)


def test_what_counts_more_is_nearer_to_what_it_was(found: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("plain.gguf", "weighed.gguf", "wrong.gguf")]
    quantize(whole, files[0], gguf.LlamaFileType.MOSTLY_Q2_K.value, 1)
    for file in files[1:]:
        shutil.copyfile(files[0], file)
    assert weigh(whole, files[1], found) == len(found)
    weigh(whole, files[2], {name: one[::-1].copy() for name, one in found.items()})
    values = {one.name: one.data for one in gguf.GGUFReader(whole).tensors}
    plain, weighed, wrong = ({one.name: one for one in gguf.GGUFReader(file).tensors} for file in files)
    assert [(one.name, one.tensor_type) for one in plain.values()] == [
        (one.name, one.tensor_type) for one in weighed.values()
    ]

    def lost(tensors: dict[str, Any], tensor: str, weight: str) -> float:
        one = tensors[tensor]
        off = gguf.quants.dequantize(one.data, one.tensor_type) - values[tensor]
        return float((off**2 * found[weight]).sum())

    for tensor, weight in (
        ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"),
        ("blk.1.ffn_up.weight", "model.layers.1.mlp.up_proj.weight"),
        ("blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"),
    ):
        least, *others = (lost(one, tensor, weight) for one in (weighed, plain, wrong))
        assert least < 0.99 * min(others)
    assert (plain["token_embd.weight"].data == weighed["token_embd.weight"].data).all()
