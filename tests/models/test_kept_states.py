"""A decoder that begins above its frozen layers gives the bits of the whole one, or is not used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from reference import FAMILIES, build, forest_rows, gradient
from torch import Tensor, nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel

from weitiao.errors import ModelError
from weitiao.forest.layout import Forest, build_forest
from weitiao.models.attention import FOREST
from weitiao.models.kept_states import KeptStates, num_frozen_layers, require_exact
from weitiao.models.losses import token_losses
from weitiao.models.parts import layer_list
from weitiao.models.state_store import StateStore
from weitiao.rendering.items import as_items

WITHOUT_DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0}


def forest(*, share: bool = True, seed: int = 0) -> Forest:
    return build_forest(as_items(forest_rows(seed)), share_prefixes=share)


def gpt2(**settings: float) -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=120, n_embd=32, n_layer=3, n_head=4, **WITHOUT_DROPOUT, **settings)
    return GPT2LMHeadModel._from_config(config, attn_implementation=FOREST)


def gemma() -> nn.Module:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, sliding_window=12,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )  # fmt: skip
    return Gemma3ForCausalLM._from_config(config, attn_implementation=FOREST)


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{family: lambda family=family: build(family, FOREST) for family in FAMILIES},
    "bfloat16": lambda: build("llama", FOREST).bfloat16(),
    "gemma3": gemma,
    "gpt2": lambda: gpt2(embd_pdrop=0.0),
}


def last_layer_learns(model: nn.Module) -> nn.Module:
    model.requires_grad_(False)
    layer_list(model)[-1].requires_grad_(True)
    return model.train()


def learned(model: nn.Module, one: Forest, kept: KeptStates | None) -> tuple[Tensor, Tensor]:
    model.zero_grad()
    losses_N, weights_N = token_losses(model, one, kept)
    (losses_N * weights_N).sum().backward()
    return losses_N.detach(), gradient(model)


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(tmp_path, 2**20, lambda: pytest.fail("there is room"))


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_the_same_bits_and_frozen_layers_run_once(name: str, store: StateStore) -> None:
    model = last_layer_learns(MODELS[name]())
    frozen = num_frozen_layers(model, forest())
    assert frozen == len(layer_list(model)) - 1
    require_exact(model, frozen, forest())
    kept = KeptStates(model, frozen, store)
    forests = [forest(), forest(share=False), forest(seed=3)]
    expected = [learned(model, one, None) for one in forests]
    calls: list[int] = []
    layer_list(model)[0].register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        for one, (losses, grads) in zip(forests, expected, strict=True):
            again = learned(model, one, kept)
            assert torch.equal(again[0], losses)
            assert torch.equal(again[1], grads)
    assert len(calls) == len(forests)


def test_threads_may_share_the_states(store: StateStore) -> None:
    model = last_layer_learns(build("llama", FOREST))
    kept = KeptStates(model, 1, store)
    forests = [forest(seed=seed) for seed in range(6)]
    with torch.no_grad(), ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        expected = list(pool.map(lambda one: token_losses(model, one)[0], forests))
        found = list(pool.map(lambda one: token_losses(model, one, kept)[0], forests * 5))
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 5, strict=True))


def test_what_draws_or_learns_below_is_found(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives other bits"):
        require_exact(last_layer_learns(gpt2(embd_pdrop=0.5)), 2, forest())
    model = last_layer_learns(build("llama", FOREST))
    model.get_input_embeddings().requires_grad_(True)
    assert num_frozen_layers(model, forest()) == 0
    model.requires_grad_(False)
    model.base_model.norm.requires_grad_(True)
    assert num_frozen_layers(model, forest()) == 2


class First(nn.Module):
    """A part that takes tuples, and gives one where it is a layer."""

    def __init__(self, part: nn.Module, *, is_layer: bool) -> None:
        super().__init__()
        self.part, self.is_layer = part, is_layer

    def forward(self, hidden: Tensor | tuple[Tensor], *args: object, **kwargs: object) -> Tensor | tuple[Tensor]:
        out = self.part(hidden[0] if isinstance(hidden, tuple) else hidden, *args, **kwargs)
        return (out,) if self.is_layer else out


def test_layers_that_hand_on_more_than_states_are_left_alone() -> None:
    model = last_layer_learns(build("llama", FOREST))
    layers, whole = layer_list(model), model.base_model
    for i, layer in enumerate(layers):
        layers[i] = First(layer, is_layer=True)
    whole.norm = First(whole.norm, is_layer=False)
    assert token_losses(model, forest())[0].isfinite().all()
    with pytest.raises(ModelError, match="more than one tensor"):
        num_frozen_layers(model, forest())


def test_a_full_store_says_so_once_and_what_it_has_stays(tmp_path: Path) -> None:
    said: list[str] = []
    store = StateStore(tmp_path, 5000, lambda: said.append("full"))
    kept = [torch.randn(4, 8, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    for number, tensor in enumerate([*kept, torch.zeros(2000), torch.zeros(1)]):
        store.add(bytes([number]), tensor)
    assert said == ["full"]
    cpu = torch.device("cpu")
    assert all(torch.equal(store.get(bytes([i]), cpu), tensor) for i, tensor in enumerate(kept))
    assert store.get(bytes([2]), cpu) is store.get(bytes([3]), cpu) is None
    store.close()
    assert not list(tmp_path.iterdir())
