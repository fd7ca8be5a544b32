"""Weights that come to the device layer by layer: the same bits as a plain model, and never more than a layer of them.

The device is the CPU here: what stays on the host is copied all the same.
"""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from weitiao.errors import ModelError
from weitiao.forest.layout import Forest, build_forest
from weitiao.forest.plan import Step
from weitiao.methods.bitfit import BitFitConfig
from weitiao.methods.bottleneck import AdapterConfig
from weitiao.methods.freeze import FreezeConfig
from weitiao.methods.full import FullConfig
from weitiao.methods.lora import LoraConfig
from weitiao.methods.method import MethodSettings
from weitiao.methods.peft_tuner import PeftTunerConfig
from weitiao.models.attention import FOREST
from weitiao.models.host_weights import keep_on_host, settle, staying
from weitiao.models.losses import token_losses
from weitiao.models.parts import checkpoint_layers, layer_list
from weitiao.objectives.sft import Sft
from weitiao.rendering.items import TokenSequence, as_items
from weitiao.training.engine import Engine, learned_parameters

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 4,
    "max_position_embeddings": 64,
}  # fmt: skip
WIDE = {"intermediate_size": 48, "num_key_value_heads": 2}
METHODS: dict[str, MethodSettings] = {
    "lora": LoraConfig(r=4, dropout=0.1),
    "lora on queries": LoraConfig(
        r=4, fused=False, target_modules=["q_proj"]
    ),  # the last matrix of a layer stands alone
    "dora": LoraConfig(r=4, fused=False, dora=True),  # reads the weights it is beside
    "ia3": PeftTunerConfig(type="peft", tuner="ia3"),
    "adapter": AdapterConfig(type="adapter", size=4),
    "freeze": FreezeConfig(type="freeze", layers=-2, head=True),
    "bitfit": BitFitConfig(type="bitfit"),
}


def llama() -> PreTrainedModel:
    return LlamaForCausalLM._from_config(LlamaConfig(**SIZES, **WIDE), attn_implementation=FOREST)


def mixtral() -> PreTrainedModel:
    config = MixtralConfig(**SIZES, **WIDE, num_local_experts=4)
    return MixtralForCausalLM._from_config(config, attn_implementation=FOREST)


def opt() -> PreTrainedModel:
    """Its layers call linear layers themselves, which PEFT then replaces."""
    config = OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32, dropout=0.0)
    return OPTForCausalLM._from_config(config, attn_implementation=FOREST)


def forest() -> Forest:
    rows = [TokenSequence.of(f"a:{i}", [3, 4, 5, *range(6 + i, 20 + i)], [0.0] * 4 + [1.0] * 13) for i in range(3)]
    return build_forest(as_items(rows))


class Copies(TorchDispatchMode):
    """Counts the bytes of copies of given tensors that are alive, and the most that ever were."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.homes = {one.data_ptr() for layer in staying(model) for one in layer}
        self.alive = self.most = self.brought = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.copy_.default and args[1].data_ptr() in self.homes:
            size = args[0].nbytes
            self.alive, self.brought = self.alive + size, self.brought + size
            self.most = max(self.most, self.alive)
            weakref.finalize(args[0].untyped_storage(), self._gone, size)
        return out

    def _gone(self, size: int) -> None:
        self.alive -= size


def engine(model: nn.Module) -> Engine:
    objective = Sft(model)
    objective.train()
    learned = list(learned_parameters(objective).values())
    return Engine(Accelerator(cpu=True), objective, torch.optim.SGD(learned, lr=0.1))


def learn(model: nn.Module) -> float:
    """Two steps on a forest; the loss of the second."""
    running = engine(model)
    for _ in range(2):
        ((_, losses),) = running.accumulate(Step((forest(),)), 1.0, lambda index: 7)
        running.finish(1.0)
        running.update()
    return float(losses.total)


@pytest.mark.parametrize(
    ("build", "name"), [(llama, name) for name in METHODS] + [(one, "lora") for one in (mixtral, opt)]
)
def test_a_layer_at_a_time_gives_the_bits_of_a_plain_model(build: Any, name: str) -> None:
    torch.manual_seed(0)
    plain = build()
    kept = copy.deepcopy(plain)
    keep_on_host(kept, CPU)
    pair = []
    for model in (plain, kept):
        checkpoint_layers(model, 1)
        pair.append(METHODS[name].build().apply(model, seed=3))  # type: ignore[attr-defined]
    settle(pair[1])
    copies = Copies(kept)
    with copies:
        found = learn(pair[1])
    assert found == learn(pair[0])
    here, there = (dict(one.named_parameters()) for one in pair)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[key], there[key]) for key in here)
    layers = [sum(one.nbytes for one in layer) for layer in staying(kept)]
    assert 0 < copies.most <= max(layers)
    assert copies.alive == 0
    assert copies.brought > 2 * sum(layers)  # in both passes of both steps


def test_without_gradients_a_part_at_a_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = llama().eval()
    kept = copy.deepcopy(plain)
    keep_on_host(kept, CPU)
    copies = Copies(kept)
    with copies, torch.no_grad():
        found, _ = token_losses(kept, forest())
    assert torch.equal(found, token_losses(plain, forest())[0])
    layer = layer_list(kept)[0]
    assert copies.most == sum(one.nbytes for one in layer.mlp.parameters())
    kept.save_pretrained(tmp_path)
    again = LlamaForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), plain.parameters(), strict=True))


def test_what_cannot_stay_is_refused() -> None:
    model = llama()
    keep_on_host(model, CPU)
    learning = FullConfig(type="full").build().apply(model, seed=0)
    with pytest.raises(ModelError, match="every weight of the decoder layers learns"):
        settle(learning)
    huge = LlamaConfig(vocab_size=8, hidden_size=2**20, intermediate_size=2**20, num_hidden_layers=1, head_dim=2**15)
    with torch.device("meta"):
        model = LlamaForCausalLM(huge)
    with pytest.raises(ModelError, match=r"cpu has no room for \d+\.\d\d GiB of a layer beside \d+\.\d\d GiB"):
        keep_on_host(model, CPU)
