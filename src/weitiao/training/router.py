"""What the routers of a mixture of experts learn beside the objective: to keep all experts in use.

A step's loss is the mean over its items, weighted as the objective weighs them, of what each has when its sequences
are computed alone: their balancing losses, the mean over layers. So neither packing, nor sharing, nor the number of
ranks changes it. A token that sequences share is routed once and counts in each of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weitiao.errors import ModelError, RecipeError
from weitiao.forest.layout import Forest
from weitiao.models.parts import causal_model
from weitiao.models.routing import (
    Routed,
    Routing,
    balance_losses,
    chosen_counts,
    find_routers,
    members,
    z_losses,
)
from weitiao.objectives.objective import Losses, Objective
from weitiao.training.config import RouterConfig


def settle_routers(model: nn.Module, config: RouterConfig, *, whole: bool) -> None:
    """Let the routers of a model learn, or not, as the recipe says.

    Args:
        model: With what the method puts into it.
        config: Of its routers.
        whole: Whether the method saves a whole model, and so a router that learned.

    Raises:
        RecipeError: The model has none, or the method would not save them.
    """
    routers = find_routers(model)
    if not routers and config != RouterConfig():
        raise RecipeError(
            f"train.router: {type(causal_model(model)).__name__} has no routers that transformers can record.",
            "Leave train.router out, or choose a mixture of experts.",
        )
    if config.learn is None or not routers:
        return
    if whole or not config.learn:
        for _, router, _ in routers:
            router.requires_grad_(config.learn)
    elif not any(parameter.requires_grad for _, router, _ in routers for parameter in router.parameters()):
        name = routers[0][0].rsplit(".", 1)[-1]
        raise RecipeError(
            "train.router.learn: this method saves adapters alone, and a router that learned would be lost.",
            f"With lora, set method.modules_to_save: [{name}]; or choose method.type: full.",
        )


def add_router_losses(objective: Objective, config: RouterConfig) -> str | None:
    """Add to an objective what the routers of its model learn; what is done in one line, None for a dense model."""
    routing = Routing.of(objective.model)
    if not routing.routers:
        return None
    try:
        num_experts = routing.tried_on(objective.model)
    except ModelError:
        if config != RouterConfig():
            raise
        return None
    num_layers = len(routing.routers)
    learn = any(p.requires_grad for same in routing.routers.values() for one in same for p in one.parameters())
    own: float = getattr(causal_model(objective.model).config.get_text_config(), "router_aux_loss_coef", None) or 0.0
    balance = (own if learn else 0.0) if config.balance is None else config.balance
    RouterLosses(objective, routing, balance=balance, z_loss=config.z_loss)
    added = [f"{c:g} times their {name}" for c, name in ((balance, "balancing loss"), (config.z_loss, "z-loss")) if c]
    return (
        f"mixture of {num_experts} experts: the routers of {num_layers} layer{'s' * (num_layers > 1)} "
        f"{'learn' if learn else 'are frozen'}; "
        f"{' and '.join(added) or 'nothing'} is added to the loss"
    )


class RouterLosses:
    """Adds to the losses of an objective, while it learns, those of the routers, and notes what was routed where.

    What is added is in the gradient alone: the loss that is shown stays that of the objective, and the routers' stand
    beside it. Layers whose routers nothing that learns can change are left out.

    Args:
        objective: Around a mixture of experts.
        routing: Its routers.
        balance, z_loss: The coefficients.
    """

    def __init__(self, objective: Objective, routing: Routing, *, balance: float, z_loss: float) -> None:
        self._objective, self._routing = objective, routing
        self._coefficients = {"router_balance": balance, "router_z": z_loss}
        objective.register_forward_pre_hook(self._begin)
        objective.register_forward_hook(self._end)

    def _begin(self, objective: nn.Module, args: Any) -> None:
        if objective.training:
            self._routing.begin()

    def _end(self, objective: nn.Module, args: tuple[Forest], losses: Losses) -> Losses:
        if not objective.training:
            return losses
        (forest,) = args
        routed = self._routing.end(forest.layout)
        members_ST = members(forest, losses.total.device)
        weights_S = torch.from_numpy(self._weights(forest)).to(members_ST)
        total, metrics = losses.total, dict(losses.metrics)
        for name, of in (("router_balance", balance_losses), ("router_z", z_losses)):
            layers = [one for one in routed.values() if one.logits.requires_grad]
            if layers and (self._coefficients[name] or name == "router_balance"):
                with torch.set_grad_enabled(self._coefficients[name] > 0):
                    parts = [of(one, members_ST) @ weights_S for one in layers]
                    value = torch.stack(parts).mean()
                added = self._coefficients[name] * value
                total, metrics[name] = total + (added - added.detach()), value.detach()
        tables = {"routed": self._counts(routed, members_ST)} if routed else {}
        return replace(losses, total=total, metrics=metrics, tables=tables)

    def _weights(self, forest: Forest) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The weight [S] of each sequence: that of its item, divided among the item's."""
        sizes_I = np.bincount(forest.sequence_items, minlength=len(forest.items))
        shares_I: np.ndarray[Any, np.dtype[np.float64]] = self._objective.weights(forest) / sizes_I
        return shares_I[forest.sequence_items]

    def _counts(self, routed: dict[str, Routed], members_ST: Tensor) -> Tensor:
        """How many tokens went to each of E experts in each of L layers: [L, E]; 0 in layers that were not computed."""
        sequences_T = members_ST.sum(0)
        counts = {name: sequences_T @ chosen_counts(one) for name, one in routed.items()}
        width = max(len(one) for one in counts.values())
        empty = sequences_T.new_zeros(width)
        return torch.stack([counts.get(name, empty) for name in self._routing.routers]).double()
