"""Learning from pairs of a better and a worse answer, without a reward model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.losses import token_losses
from weitiao.objectives.objective import Losses, Objective
from weitiao.objectives.preference_losses import KINDS, Strength
from weitiao.rendering.items import Item, TokenSequence

REFERENCE = "reference"
"""The column with the log-probability of a token under the reference model: the model as the run begins it."""


class Answers(NamedTuple):
    """What a model, and the reference, give the answers of a forest: [I, A], items by answers (better, worse).

    Attributes:
        log_probabilities: Sums over the tokens of an answer, with gradient (float64).
        ratios: The same, minus those of the reference; 0 is the reference where there is none.
        lengths: How many tokens an answer has.
    """

    log_probabilities: Tensor
    ratios: Tensor
    lengths: Tensor


def answers_of(objective: Objective, forest: Forest, num_answers: int) -> Answers:
    """The log-probabilities of all answers of a forest.

    The reference is taken off token by token, and added up in float64: what is left is small beside the two.

    Args:
        objective: Around a causal language model; the items have the columns that it needs.
        forest: Of items with so many sequences each.
        num_answers: A.
    """
    targets = forest.targets
    values_N = -token_losses(objective.model, forest, objective.kept)[0].double()
    ratios_N = values_N
    if REFERENCE in objective.needs:
        ratios_N = values_N - torch.from_numpy(targets.columns[REFERENCE]).to(values_N.device).double()
    places = forest.target_items * num_answers + forest.sequence_places[targets.sequences]
    places_N = torch.from_numpy(places).to(values_N.device)
    zeros = values_N.new_zeros(len(forest.items) * num_answers)
    added = [zeros.index_add(0, places_N, one) for one in (values_N, ratios_N, torch.ones_like(values_N))]
    return Answers(*(one.view(len(forest.items), num_answers) for one in added))


def weighed(losses_I: Tensor, figures: Mapping[str, Tensor], forest: Forest) -> Losses:
    """What a forest contributes by the losses [I] of its items and other numbers [I], each times the item's weight."""
    weights_I = losses_I.new_tensor([item.weight for item in forest.items])
    weighted_I = losses_I * weights_I
    metrics = {name: (values_I * weights_I).sum() for name, values_I in figures.items()}
    return Losses(weighted_I.sum(), weighted_I.detach(), metrics)


class Comparing(Objective):
    """An objective whose items are pairs, the better answer first."""

    @abstractmethod
    def rewards(self, forest: Forest) -> Tensor:
        """The rewards of the answers of a forest [I, 2]."""


class DpoSettings(Protocol):
    """What the loss depends on; the settings of `DpoConfig`."""

    loss: str
    beta: float | None
    label_smoothing: float
    margin: float
    length_normalized: bool
    sft_weight: float | None


class Preference(Comparing):
    """The objective `dpo`: one item is a pair, the better answer first, and counts as one row."""

    told = ("accuracy", "margin")

    def __init__(self, model: nn.Module, settings: DpoSettings) -> None:
        super().__init__(model)
        self.settings = settings
        self.kind = KINDS[settings.loss]
        self.needs = (REFERENCE,) if self.kind.reference else ()
        beta = self.kind.beta if settings.beta is None else settings.beta
        self.by = Strength(beta, settings.label_smoothing, settings.margin)
        self.sft_weight = self.kind.sft if settings.sft_weight is None else settings.sft_weight

    @classmethod
    def items(cls, sequences: Sequence[TokenSequence]) -> tuple[Item, ...]:
        pairs = zip(sequences[::2], sequences[1::2], strict=True)
        return tuple(Item(better.row_id, (better, worse), rows=1) for better, worse in pairs)

    def reference(self, forest: Forest) -> Mapping[str, Tensor]:
        return {REFERENCE: -token_losses(self.model, forest, self.kept)[0]}

    def rewards(self, forest: Forest) -> Tensor:
        return self.by.beta * self._compared(answers_of(self, forest, 2))

    def _compared(self, answers: Answers) -> Tensor:
        """What the loss is of [I, 2]: sums or means."""
        return (
            answers.ratios / answers.lengths if self.kind.means or self.settings.length_normalized else answers.ratios
        )

    def forward(self, forest: Forest) -> Losses:
        answers = answers_of(self, forest, 2)
        ratios_I2 = self._compared(answers)
        better_I, worse_I = ratios_I2.unbind(1)
        losses_I = self.kind.loss(better_I, worse_I, self.by)
        if self.sft_weight:
            losses_I = losses_I - self.sft_weight * answers.log_probabilities[:, 0] / answers.lengths[:, 0]
        rewards_I2 = self.by.beta * ratios_I2.detach()
        figures = {
            "accuracy": (rewards_I2[:, 0] > rewards_I2[:, 1]).double(),
            "margin": rewards_I2[:, 0] - rewards_I2[:, 1],
            "reward_chosen": rewards_I2[:, 0],
            "reward_rejected": rewards_I2[:, 1],
            "logprob_chosen": answers.log_probabilities[:, 0].detach(),
            "logprob_rejected": answers.log_probabilities[:, 1].detach(),
        }
        return weighed(losses_I, figures, forest)
