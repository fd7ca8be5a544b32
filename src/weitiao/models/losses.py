"""The loss of every target of a forest: what training, validation and evaluation all compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weitiao.forest.layout import Forest, Layout
from weitiao.models.alone import states_alone
from weitiao.models.attention import ForestAttention, backend_of
from weitiao.models.head import cross_entropy
from weitiao.models.parts import Readout, decoder
from weitiao.models.products import is_linear


class Begins(Protocol):
    """Knows what the frozen layers of a model gave for a layout before (`models/kept_states.py`)."""

    def decoder(self, layout: Layout) -> nn.Module:
        """The decoder, begun above them."""
        ...


def token_losses(
    model: nn.Module, forest: Forest, kept: Begins | None = None, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every target of a forest.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
        forest: At least one target.
        kept: What the frozen layers of this model gave before; the losses are the same, bit for bit.
        temperature: What the logits are divided by.

    Returns:
        Losses [N] with gradient, and their weights [N]; float32 on the model's device.
    """
    hidden_ND = target_states(model, forest, kept)
    losses_N = losses_at(model, hidden_ND, forest, temperature=temperature)
    return losses_N, torch.from_numpy(forest.targets.weights).to(hidden_ND.device)


def target_states(model: nn.Module, forest: Forest, kept: Begins | None = None) -> Tensor:
    """The final hidden states [N, D] that predict the targets of a forest, with gradient; see `token_losses`."""
    hidden_TD = final_states(decoder(model) if kept is None else kept.decoder(forest.layout), forest.layout)
    return hidden_TD.index_select(0, torch.from_numpy(forest.targets.positions).to(hidden_TD.device))


def losses_at(model: nn.Module, hidden_ND: Tensor, forest: Forest, *, temperature: float = 1.0) -> Tensor:
    """Cross-entropy [N] of the targets of a forest behind their states; see `token_losses`."""
    labels_N = torch.from_numpy(forest.targets.labels).to(hidden_ND.device)
    head = Readout(model).shortest(hidden_ND[:1])
    if temperature != 1 and is_linear(head) and head.bias is None:  # the head then stays one that runs in few passes
        return cross_entropy(hidden_ND / temperature, head, labels_N)
    return cross_entropy(hidden_ND, logits_of(model, hidden_ND, temperature=temperature), labels_N)


def logits_of(model: nn.Module, hidden_ND: Tensor, *, temperature: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What turns states such as these into logits, divided by a temperature."""
    head = Readout(model).shortest(hidden_ND[:1])
    return head if temperature == 1 else lambda states: head(states) / temperature


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
