"""The loss of every target of a forest: what training, validation and evaluation all compute."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.attention import ForestAttention, choose_backend
from weitiao.models.head import cross_entropy
from weitiao.models.parts import Readout, decoder


def token_losses(model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every target of a forest.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
        forest: At least one target.

    Returns:
        Losses [N] with gradient, and their weights [N]; float32 on the model's device.
    """
    network = decoder(model)
    device = network.device
    layout, targets = forest.layout, forest.targets
    hidden_TD = network(
        input_ids=torch.from_numpy(layout.token_ids).unsqueeze(0).to(device),
        position_ids=torch.from_numpy(layout.position_ids).unsqueeze(0).to(device),
        use_cache=False,
        forest=ForestAttention(layout, device, choose_backend(device)),
    ).last_hidden_state[0]
    positions_N = torch.from_numpy(targets.positions).to(device)
    labels_N = torch.from_numpy(targets.labels).to(device)
    hidden_ND = hidden_TD.index_select(0, positions_N)
    losses_N = cross_entropy(hidden_ND, Readout(model).shortest(hidden_ND[:1]), labels_N)
    return losses_N, torch.from_numpy(targets.weights).to(device)
