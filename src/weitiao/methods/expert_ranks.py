"""Ranks of single experts, in adapters of PEFT, which hold all matrices of a stack at one rank.

An expert of a lower rank has zeros in the last rows of its A and columns of its B. There a gradient of A is a product
with B, and one of B a product with A: both are exactly zero, and clipping and the other parameters see nothing of them.
Optimisers leave them alone then, but for those that round their moments: they are set to zero after every step.
Files and checkpoints hold an ordinary adapter, which plain PEFT loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weitiao.errors import ModelError
from weitiao.methods.named import find_named

_SETTING = "method.expert_ranks"


@dataclass(frozen=True, slots=True)
class Beyond:
    """What the adapters of a stack of E experts have beyond the ranks of these.

    Args:
        first, second: Views of all their matrices A [E, rank, inputs] and B [outputs, rank, E].
        idle: Whether a rank is beyond that of its expert, [E, rank].
    """

    first: Tensor
    second: Tensor
    idle: Tensor

    @torch.no_grad()
    def clear(self) -> None:
        """Set it to zero."""
        self.first.masked_fill_(self.idle[:, :, None], 0)
        self.second.masked_fill_(self.idle.T, 0)


def beyond_ranks(model: nn.Module, wanted: Mapping[str, int]) -> list[Beyond]:
    """What adapters on experts have beyond the ranks that are wanted of them.

    Args:
        model: With adapters of PEFT.
        wanted: Ranks by the name of an expert (`experts.3`), of its matrix (`experts.3.down_proj`), or of all experts
            (`experts`), or by more of the path before these. Of several that name an expert the last counts.

    Raises:
        ModelError: None of a name has an adapter, or its rank is above that of its stack.
    """
    stacks = list(_stacks(model))
    every = [name for path, layer in stacks for names in _names(path, layer) for name in names]
    of = f"{type(model).__name__} has no expert with an adapter"
    find_named(every, wanted, setting=_SETTING, of=of)
    found = []
    for path, layer in stacks:
        second, most = layer.lora_B["default"].weight.detach(), layer.r["default"]
        ranks_E1 = torch.tensor(_ranks(path, layer, wanted), device=second.device)[:, None]
        idle_ER = torch.arange(most, device=second.device) >= ranks_E1
        found.append(Beyond(_first(layer), second.view(len(second), most, layer.num_experts), idle_ER))
    return found


def require_ranks(model: nn.Module, wanted: Mapping[str, int], *, of: str) -> None:
    """Refuse the weights of an adapter in which experts have other ranks: what is zero there would never learn.

    Args:
        model: With these weights.
        wanted: As for `beyond_ranks`.
        of: Where the weights come from.

    Raises:
        ModelError: An expert has another rank.
    """
    for path, layer in _stacks(model):
        for number, (a_RI, rank) in enumerate(zip(_first(layer), _ranks(path, layer, wanted), strict=True)):
            if (found := int(a_RI.any(dim=1).sum())) != rank:
                raise ModelError(
                    f"{_SETTING}: in {of}, expert {number} of {path}.{layer.parameter_name} has rank {found}, not "
                    f"{rank}.",
                    f"Set the ranks that it was trained with, or merge it first with weitiao merge {of}.",
                )


def _stacks(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """PEFT's layers on stacks of matrices, with the path of what holds the stack."""
    from peft.tuners.lora.layer import ParamWrapper

    for name, layer in model.named_modules():
        if isinstance(layer, ParamWrapper):
            yield name.removeprefix("base_model.model.").replace(".base_layer", ""), layer


def _first(layer: Any) -> Tensor:
    """The matrices A of a stack, [experts, rank, inputs]."""
    matrices: Tensor = layer.lora_A["default"].weight.detach()
    return matrices.view(layer.num_experts, layer.r["default"], -1)


def _names(path: str, layer: Any) -> Iterator[tuple[str, ...]]:
    """By what each expert of a stack may be called."""
    every = path, f"{path}.{layer.parameter_name}"
    for number in range(layer.num_experts):
        yield *every, f"{path}.{number}", f"{path}.{number}.{layer.parameter_name}"


def _ranks(path: str, layer: Any, wanted: Mapping[str, int]) -> list[int]:
    """Of the experts of a stack."""
    most = layer.r["default"]
    found = []
    for names in _names(path, layer):
        given = [one for one in wanted if any(name == one or name.endswith(f".{one}") for name in names)]
        rank = wanted[given[-1]] if given else most
        if rank > most:
            raise ModelError(
                f"{_SETTING}: {given[-1]} is to have rank {rank}, above the rank {most} of all of its stack.",
                "Raise method.r, or the stack's own with method.rank_pattern.",
            )
        found.append(rank)
    return found
