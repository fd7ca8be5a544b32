"""Weights that stay in their files: the same model, in next to no memory, also from another number format."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from weitiao.errors import ModelError
from weitiao.forest.layout import build_forest
from weitiao.methods.lora import LoraConfig
from weitiao.models.attention import FOREST
from weitiao.models.config import ModelConfig
from weitiao.models.load import load_model
from weitiao.models.losses import token_losses
from weitiao.rendering.items import TokenSequence, as_items


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 MiB of weights in float32, written in bfloat16."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=10,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        dtype="bfloat16",
    )
    path = tmp_path_factory.mktemp("large")
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path, max_shard_size="30MB")
    return path


class _Allocated(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


def own_memory() -> int:
    """Bytes of this process that are in use and no pages of files, by its allocator: what tests before this one left
    free in pieces is taken again without the process growing."""
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _Allocated
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def learned(config: ModelConfig, cache: Path) -> tuple[int, torch.nn.Module]:
    """Memory that the model takes with an adapter that has learned from a row, and the model."""
    before = own_memory()
    model = LoraConfig().build().apply(load_model(config, attention=FOREST, cache_dir=cache), seed=0)
    row = TokenSequence.of("a:1", range(20), [0.0] + [1.0] * 19)
    token_losses(model, build_forest(as_items([row])))[0].sum().backward()
    return own_memory() - before, model


def test_weights_stay_in_files_and_are_those_of_a_plain_start(directory: Path, tmp_path: Path) -> None:
    plain, mapped = (ModelConfig(name=str(directory), dtype="float32", map_weights=one) for one in (False, True))
    learned(mapped, tmp_path)  # what is imported and converted once
    little, model = learned(mapped, tmp_path)
    much, expected = learned(plain, tmp_path)
    size = sum(p.nbytes for p in expected.parameters() if not p.requires_grad)
    assert much > 0.9 * size
    assert little < 0.25 * size
    pairs = zip(model.named_parameters(), expected.named_parameters(), strict=True)
    for (name, found), (other, wanted) in pairs:
        assert name == other
        assert torch.equal(found, wanted)
        assert found.grad is None or torch.equal(found.grad, wanted.grad)
    (converted,) = (one for one in tmp_path.iterdir() if one.is_dir())
    assert converted.name.startswith(directory.name)
    kept = {file: file.stat().st_mtime_ns for file in converted.iterdir()}
    again = load_model(mapped.model_copy(update={"name": str(converted)}), cache_dir=tmp_path)  # as it is already
    assert again.dtype == torch.float32
    assert {file: file.stat().st_mtime_ns for file in converted.iterdir()} == kept
    assert len([one for one in tmp_path.iterdir() if one.is_dir()]) == 1


def test_what_cannot_be_mapped_is_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot stay in their files"):
        ModelConfig(name=str(directory), map_weights=True, quantization="nf4")
    with pytest.raises(ModelError, match="device's own memory"):
        load_model(ModelConfig(name=str(directory), map_weights=True), device="meta", cache_dir=tmp_path)
