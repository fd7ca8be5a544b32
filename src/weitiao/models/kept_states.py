"""What frozen layers at the bottom of a model make of a layout never changes: it is computed once and kept.

Rows of a matrix product need not have the same bits in another product, so what is kept belongs to a whole layout, and
comes back for that layout alone. A state is then the very bytes that would have been computed again.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from weitiao.errors import ModelError
from weitiao.forest.layout import Forest, Layout
from weitiao.models.attention import runs_alone
from weitiao.models.boundary import loading
from weitiao.models.losses import final_states
from weitiao.models.parts import decoder, layer_list
from weitiao.models.state_store import StateStore


class KeptStates:
    """Decoders that begin above the frozen layers, for layouts that were seen before.

    Args:
        model: A causal language model with forest attention, the same weights in its lowest layers as long as this is.
        num_layers: How many layers are frozen, and all before them; at least one.
        store: Where states are kept.
    """

    def __init__(self, model: nn.Module, num_layers: int, store: StateStore) -> None:
        self._model, self._num_layers, self._store = model, num_layers, store

    def decoder(self, layout: Layout) -> nn.Module:
        """A decoder that gives for this layout, and for no other, what that of the model gives, bit for bit."""
        key = self._key(layout)
        states = self._store.get(key, decoder(self._model).device)
        if states is None:
            return _noting(self._model, [self._num_layers - 1], lambda states: self._store.add(key, states))
        return _begun(self._model, self._num_layers, states)

    def _key(self, layout: Layout) -> bytes:
        """All that decides the bits of the states: what reaches the decoder, and how it is computed."""
        short = torch.is_autocast_enabled(decoder(self._model).device.type)
        how = f"{torch.get_num_threads()} {self._model.training} {short}"
        digest = hashlib.blake2b(how.encode(), digest_size=16)
        for numbers in (layout.token_ids, layout.position_ids, layout.subtree_end):
            digest.update(numbers.tobytes())
        return digest.digest()


def num_frozen_layers(model: nn.Module, forest: Forest) -> int:
    """How many of the lowest decoder layers give states that nothing that learns has touched, measured on a forest.

    Args:
        model: A causal language model with forest attention.
        forest: Any.

    Raises:
        ModelError: The layers do not hand on one tensor of states each, or cannot be run one by one.
    """
    if runs_alone(model):
        raise ModelError("Its rows are run one after another.", "Set method.keep_states to 0.")
    layers = layer_list(model)
    found: list[Any] = []
    with loading("Its layers cannot be run one by one"), saved_tensors_hooks(lambda _: None, lambda none: none):
        final_states(_noting(model, range(len(layers)), found.append), forest.layout)
    if len(found) != len(layers) or not all(isinstance(states, Tensor) for states in found):
        raise ModelError("Its layers hand on more than one tensor of states each.", "Set method.keep_states to 0.")
    learn = [any(parameter.requires_grad for parameter in layer.parameters()) for layer in layers]
    touched = [learns or states.requires_grad for learns, states in zip(learn, found, strict=True)]
    return touched.index(True) if any(touched) else len(layers)


def require_exact(model: nn.Module, num_layers: int, forest: Forest) -> None:
    """Compare, on a forest, a decoder that begins with kept states with the plain one: every bit, gradients aside.

    Args:
        model: As it is trained. States are kept under one seed and used under another: what is drawn shows.
        num_layers: How many layers are left out.
        forest: Any.

    Raises:
        ModelError: The results differ.
    """
    kept: list[Tensor] = []
    training = model.training
    model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(), loading("A decoder cannot begin above its frozen layers"):
            torch.manual_seed(0)
            final_states(_noting(model, [num_layers - 1], kept.append), forest.layout)
            torch.manual_seed(1)
            plain = final_states(decoder(model), forest.layout)
            torch.manual_seed(1)
            found = final_states(_begun(model, num_layers, kept[0]), forest.layout)
            torch.manual_seed(1)
            other = final_states(_begun(model, num_layers, torch.zeros_like(kept[0])), forest.layout)
    finally:
        model.train(training)
    if not torch.equal(plain, found) or torch.equal(plain, other):  # equal to what zeros give: nothing was left out
        raise ModelError(
            "From kept states its decoder gives other bits than from the beginning.", "Set method.keep_states to 0."
        )


def _begun(model: nn.Module, num_layers: int, states: Tensor) -> nn.Module:
    """The decoder without its lowest layers: the states that the last of them gave stand in their place."""
    layers = layer_list(model)
    through = {i: _Instead(layers[i], lambda hidden, *_, **__: hidden) for i in range(num_layers - 1)}
    return _standin(model, {**through, num_layers - 1: _Instead(layers[num_layers - 1], lambda *_, **__: states)})


def _standin(model: nn.Module, others: Mapping[int, nn.Module]) -> nn.Module:
    """A copy of the decoder that shares all parts but those of its layers that others stand for."""
    network, layers = decoder(model), layer_list(model)
    path = next(name for name, module in network.named_modules() if module is layers).split(".")
    made = inner = _shallow(network)
    for name in path[:-1]:
        inner._modules[name] = inner = _shallow(inner._modules[name])
    inner._modules[path[-1]] = nn.ModuleList(others.get(i, layer) for i, layer in enumerate(layers))
    return made


def _shallow(module: Any) -> nn.Module:
    made: nn.Module = copy.copy(module)
    made._modules = dict(module._modules)
    return made


def _noting(model: nn.Module, numbers: Iterable[int], note: Callable[[Any], None]) -> nn.Module:
    """The decoder, some layers of which also tell what they give."""

    def noted(layer: nn.Module) -> _Instead:
        def run(*args: Any, **kwargs: Any) -> Any:
            out = layer(*args, **kwargs)
            note(out)
            return out

        return _Instead(layer, run)

    layers = layer_list(model)
    return _standin(model, {i: noted(layers[i]) for i in numbers})


class _Instead(nn.Module):
    """What is called in the place of a layer, and has all attributes of it: some decoders ask for `attention_type`."""

    def __init__(self, layer: nn.Module, run: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.run = layer, run

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)
