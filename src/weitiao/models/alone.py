"""Rows one after another, for models that cannot be run in a forest: recurrent layers, masks of their own.

Each row is then a call of the model's own forward, with attention of `transformers`. What is computed is exact for
every model; what rows have in common is computed for each of them, unless the model hands on a state that can be
copied at a branch, gradient included: then a beginning is run once, and every row goes on from a copy.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import LinearAttentionCacheLayerMixin
from transformers.generation.utils import ALL_CACHE_NAMES

from weitiao.forest.layout import Ints, Layout, on_path

_COPIES_STATE = "copies_state"
"""The attribute of a decoder that says so."""


def states_alone(network: nn.Module, layout: Layout) -> Tensor:
    """The final hidden states [T, D] of a layout, with gradient, each of its rows run alone.

    Args:
        network: A decoder with attention of `transformers`.
        layout: T tokens. A token that rows share gets its state from the first of them: those of the others are equal.
    """
    if branches(network) and any(segment.subtree_end > segment.end for segment in layout.segments):
        return _states_by_branches(network, layout)
    device, known, parts = cast(PreTrainedModel, network).device, 0, []
    for places in rows_of(layout):
        # positions are handed on where they say more than the tokens themselves: some decoders take none
        positions = layout.position_ids[places]
        given = {} if positions[0] == 0 else {"position_ids": torch.from_numpy(positions)[None].to(device)}
        ids = torch.from_numpy(layout.token_ids[places])[None].to(device)
        with _saving(given):
            states_LD = network(input_ids=ids, use_cache=False, **given).last_hidden_state[0]
        fresh = int(places[-1]) + 1 - known
        parts.append(states_LD[len(places) - fresh :])
        known += fresh
    return torch.cat(parts)


def branches(network: nn.Module) -> bool:
    """Whether a decoder whose rows run alone goes on from copies of the state behind a shared beginning.

    Layers that are computed a second time for the backward pass hand on none.
    """
    return getattr(network, _COPIES_STATE, False) and not cast(PreTrainedModel, network).is_activation_checkpointing


def let_branch(network: nn.Module, *, copies_state: bool) -> None:
    """Say whether a decoder is to go on from copies; whoever says so has tried it (`models/probe.py`)."""
    setattr(network, _COPIES_STATE, copies_state)


def keeps_state(model: PreTrainedModel) -> bool:
    """Whether layers hand a state on from token to token, by the cache that `transformers` has for them: then rows run
    alone. Before a training that is tried (`models/probe.py`); a forecast has no weights to try."""
    cached = DynamicCache(config=model.config).layers
    return model._is_stateful or any(isinstance(one, LinearAttentionCacheLayerMixin) for one in cached)


def _states_by_branches(network: nn.Module, layout: Layout) -> Tensor:
    """The same, every segment of the layout run once, from a copy of the state behind the one before it."""
    above: list[tuple[int, HandedOn]] = []
    parts = []
    for segment in layout.segments:
        while above and above[-1][0] <= segment.start:
            above.pop()
        tokens = slice(segment.start, segment.end)
        before = above[-1][1].copied() if above else None
        states_LD, after = run_on(network, layout.token_ids[tokens], layout.position_ids[tokens], before)
        parts.append(states_LD)
        if segment.subtree_end > segment.end:
            assert after.state, "it was tried that there is one"
            above.append((segment.subtree_end, after))
    return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class HandedOn:
    """What a model hands on behind some tokens: by the name under which it is given back; nothing for some models."""

    state: dict[str, Any]

    def copied(self) -> HandedOn:
        """A copy that may be changed in place, with the gradient of the original."""
        return HandedOn(_copied(self.state, {}))


def run_on(network: nn.Module, token_ids: Ints, position_ids: Ints, before: HandedOn | None) -> tuple[Tensor, HandedOn]:
    """The states [L, D] of some tokens that follow on others, and what is handed on behind them.

    Args:
        network: A decoder with attention of `transformers`.
        token_ids, position_ids: Of the L tokens.
        before: Behind those before them; it is written over. None at the beginning.
    """
    device = cast(PreTrainedModel, network).device
    given = {} if before is None else before.state
    if "position_ids" in inspect.signature(network.forward).parameters:
        # said, because a hybrid model may count the tokens before by a layer that keeps none
        given = {**given, "position_ids": torch.from_numpy(position_ids)[None].to(device)}
    ids = torch.from_numpy(token_ids)[None].to(device)
    with _saving(given):
        output = network(input_ids=ids, use_cache=True, **given)
    found = {name: output[name] for name in ALL_CACHE_NAMES if output.get(name) is not None}
    return output.last_hidden_state[0], HandedOn(found)


def _saving(given: dict[str, Any]) -> saved_tensors_hooks:
    """Keeps for the backward pass of a call, of which there are several, what it needs as it is now.

    A state that is given is written over in place. Frozen weights are not, though PyTorch counts it as a change when
    PEFT takes adapters of stacks of matrices off and puts them on again with every call.
    """
    changed = {one.untyped_storage() for one in _tensors(given)}

    def kept(saved: Tensor) -> Tensor:
        return saved.clone() if saved.untyped_storage() in changed else saved.detach()

    return saved_tensors_hooks(kept, lambda saved: saved)


def _copied(value: Any, done: dict[int, Any]) -> Any:
    """A copy of a cache of `transformers`, whatever is in it; `copy.deepcopy` refuses tensors with a gradient."""
    if id(value) not in done:
        if isinstance(value, Tensor):
            made: Any = value.clone()
        elif isinstance(value, list | tuple):
            made = type(value)(_copied(one, done) for one in value)
        elif isinstance(value, dict):
            made = {key: _copied(one, done) for key, one in value.items()}
        elif _is_cache(value):
            made = copy.copy(value)
            made.__dict__ = {key: _copied(one, done) for key, one in vars(value).items()}
        else:
            made = value
        done[id(value)] = made
    return done[id(value)]


def _is_cache(value: Any) -> bool:
    """Whether it is a cache, or a layer of one: those two hold what changes."""
    return hasattr(value, "__dict__") and any("cache_utils" in kind.__module__ for kind in type(value).__mro__)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif _is_cache(value):
        yield from _tensors(vars(value))


def rows_of(layout: Layout) -> Iterator[Ints]:
    """The places of each row's tokens, in the order of the rows; a row that another one begins with is not told."""
    for segment in layout.segments:
        if segment.subtree_end == segment.end:
            yield np.flatnonzero(on_path(layout, segment.end - 1))
