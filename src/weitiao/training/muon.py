"""Muon for the matrices between embeddings and head, AdamW for all else, as one optimiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from weitiao.models.parts import causal_model


class MuonAndAdamW(torch.optim.Optimizer):
    """Both of PyTorch's own; Muon's step has the size of AdamW's (https://arxiv.org/abs/2502.16982, equation 4).

    Args:
        groups: Parameter groups.
        model: What they are of: its embeddings and its head are learned by AdamW.
        learning_rate: Of both.
        momentum: Of Muon.
        weight_decay: Of both.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        model: nn.Module,
        *,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
        lookup = {p for module in (*tables, causal_model(model).get_output_embeddings()) for p in module.parameters()}
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for group in groups:
            for kept, is_matrix in ((matrices, True), (others, False)):
                if own := [p for p in group["params"] if (p.ndim == 2 and p not in lookup) == is_matrix]:
                    kept.append({**group, "params": own})
        shared: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay}
        self._parts: list[tuple[int, torch.optim.Optimizer]] = []
        if matrices:
            muon = torch.optim.Muon(matrices, momentum=momentum, adjust_lr_fn="match_rms_adamw", **shared)
            self._parts.append((len(matrices), muon))
        if others:
            self._parts.append((len(others), torch.optim.AdamW(others, fused=True, **shared)))
        super().__init__([group for _, part in self._parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """A step of each; what they keep is kept here, under one roof for checkpoints."""
        begin = 0
        for number, part in self._parts:
            part.param_groups, part.state = self.param_groups[begin : begin + number], self.state
            part.step()
            begin += number
