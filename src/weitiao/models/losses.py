"""The loss of every target of a forest: what training, validation and evaluation all compute."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weitiao.forest.layout import Forest, Layout
from weitiao.models.alone import states_alone
from weitiao.models.attention import ForestAttention, backend_of
from weitiao.models.head import cross_entropy
from weitiao.models.parts import Readout, decoder


class Begins(Protocol):
    """Knows what the frozen layers of a model gave for a layout before (`models/kept_states.py`)."""

    def decoder(self, layout: Layout) -> nn.Module:
        """The decoder, begun above them."""
        ...


def token_losses(model: nn.Module, forest: Forest, kept: Begins | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every target of a forest.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
        forest: At least one target.
        kept: What the frozen layers of this model gave before; the losses are the same, bit for bit.

    Returns:
        Losses [N] with gradient, and their weights [N]; float32 on the model's device.
    """
    targets = forest.targets
    hidden_TD = final_states(decoder(model) if kept is None else kept.decoder(forest.layout), forest.layout)
    device = hidden_TD.device
    positions_N = torch.from_numpy(targets.positions).to(device)
    labels_N = torch.from_numpy(targets.labels).to(device)
    hidden_ND = hidden_TD.index_select(0, positions_N)
    losses_N = cross_entropy(hidden_ND, Readout(model).shortest(hidden_ND[:1]), labels_N)
    return losses_N, torch.from_numpy(targets.weights).to(device)


def final_states(network: nn.Module, layout: Layout) -> Tensor:
    """The final hidden states [T, D] of a layout, with gradient.

    Args:
        network: The decoder of a model with forest attention, or of one whose rows are run alone.
        layout: T tokens.
    """
    if (backend := backend_of(network)) == "alone":
        return states_alone(network, layout)
    device = cast(PreTrainedModel, network).device
    output = network(
        input_ids=torch.from_numpy(layout.token_ids).unsqueeze(0).to(device),
        position_ids=torch.from_numpy(layout.position_ids).unsqueeze(0).to(device),
        use_cache=False,
        forest=ForestAttention(layout, device, backend),
    )
    return cast(Tensor, output.last_hidden_state[0])
