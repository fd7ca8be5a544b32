"""A reward model: one number for a conversation, read from the final state of its last token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from weitiao.forest.layout import Forest
from weitiao.methods.classifier import classifier_of, save_as_classifier
from weitiao.models.losses import target_states
from weitiao.models.parts import causal_model
from weitiao.objectives.objective import Losses
from weitiao.objectives.preference import Comparing, weighed
from weitiao.rendering.items import Item, TokenSequence
from weitiao.rendering.steps import NO_STEP, STEP

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class RewardSettings(Protocol):
    """What the loss depends on; the settings of `RewardConfig`."""

    loss: str
    center: float


class Reward(Comparing):
    """The objective `reward`: an item is a pair, the better answer first, or one conversation with its score.

    A head without bias learns beside the model. It begins with N(0, 1 / (D + 1)), D being the width (Stiennon et al.,
    2020, https://arxiv.org/abs/2009.01325), always the same numbers.
    """

    def __init__(self, model: nn.Module, settings: RewardSettings) -> None:
        super().__init__(model)
        self.settings = settings
        classifier_of(model)  # what cannot be saved so is not learned either
        causal = causal_model(model)
        head, embedding = causal.get_output_embeddings(), causal.get_input_embeddings()
        if head is not None and head.weight is not embedding.weight:
            head.requires_grad_(False)  # nothing is read from it
        self.score = nn.Linear(embedding.weight.shape[1], 1, bias=False, device=causal.device, dtype=torch.float32)
        if causal.device.type != "meta":
            drawn = torch.randn(self.score.weight.shape, generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                self.score.weight.copy_(drawn / (drawn.shape[1] + 1) ** 0.5)
        self.told = {"pair": ("accuracy", "margin"), "step": ("accuracy", "first_wrong")}.get(settings.loss, ())

    def forward(self, forest: Forest) -> Losses:
        scores_IA = self.rewards(forest)
        losses_I = self._pairs(scores_IA, forest) if self.settings.loss == "pair" else self._alone(scores_IA, forest)
        found = scores_IA.detach()
        figures = {"reward": found[:, 0]}
        if self.settings.loss == "pair":
            better, worse = found.unbind(1)
            figures = {"accuracy": (better > worse).double(), "margin": better - worse}
            figures |= {"reward_chosen": better, "reward_rejected": worse}
        return weighed(losses_I, figures, forest)

    def save(self, directory: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        save_as_classifier(directory, self.model, self.score.weight, tokenizer)

    def rewards(self, forest: Forest) -> Tensor:
        """The rewards of the conversations of a forest [I, A], those of an item beside each other (float64)."""
        scores_N = read_scores(self.score, target_states(self.model, forest, self.kept))
        size = len(forest.items[0].sequences)
        order = np.argsort(forest.sequence_items * size + forest.sequence_places)
        return scores_N[torch.from_numpy(order).to(scores_N.device)].view(len(forest.items), size)

    def _pairs(self, scores_I2: Tensor, forest: Forest) -> Tensor:
        """Bradley-Terry, -log sigmoid(r_w - r_l - m) (Touvron et al., 2023, https://arxiv.org/abs/2307.09288, eq. 2).

        `center` adds the square of the sum of both rewards (https://arxiv.org/abs/2312.09244, eq. 2): pairs leave open
        where zero is.
        """
        better, worse = scores_I2.unbind(1)
        losses_I = softplus(worse - better + self._number("margin", forest, better))
        return losses_I + self.settings.center * (better + worse).square() if self.settings.center else losses_I

    def _alone(self, scores_I1: Tensor, forest: Forest) -> Tensor:
        return (scores_I1[:, 0] - self._number("score", forest, scores_I1)).square()

    def _number(self, name: str, forest: Forest, like: Tensor) -> Tensor:
        """A number [I] of the rows; 0 where rows have none."""
        columns = (item.sequences[0].columns for item in forest.items)
        return like.new_tensor([float(one[name][-1]) if name in one else 0.0 for one in columns])


def reward_items(sequences: Sequence[TokenSequence], size: int) -> tuple[Item, ...]:
    """Items of so many conversations each, of which the last token is read, or that of every step."""
    ended = [scored(one) for one in sequences]
    groups = [tuple(ended[start : start + size]) for start in range(0, len(ended), size)]
    return tuple(Item(group[0].row_id, group, rows=1) for group in groups)


def scored(sequence: TokenSequence) -> TokenSequence:
    """A conversation with a target behind its last token, or behind that of every step: their states are read."""
    ids = np.append(sequence.token_ids, sequence.token_ids[-1])
    weights = np.zeros(len(ids), np.float32)
    weights[-1] = 1.0
    columns = {name: np.append(values, values[-1]) for name, values in sequence.columns.items()}
    if STEP in columns:
        columns[STEP] = np.insert(sequence.columns[STEP], 0, NO_STEP)
        weights[:] = columns[STEP] != NO_STEP
    return replace(sequence, token_ids=ids, weights=weights, columns=columns)


def read_scores(head: nn.Module, states_ND: Tensor) -> Tensor:
    """What a head reads from final states: [N], in float64 from products in the head's own number format."""
    weight = next(head.parameters())
    with torch.autocast(states_ND.device.type, enabled=False):
        return cast(Tensor, head(states_ND.to(weight.dtype))).squeeze(1).double()
