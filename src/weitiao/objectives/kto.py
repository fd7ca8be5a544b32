"""Learning from answers that were found good or bad, each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from weitiao.forest.layout import Forest
from weitiao.models.losses import token_losses
from weitiao.objectives.objective import Losses, Objective
from weitiao.objectives.preference import REFERENCE, weighed
from weitiao.rendering.items import Item, TokenSequence


def kto(ratios_R: Tensor, marks_R: Tensor, mismatched_R: Tensor, beta: float, weights: tuple[float, float]) -> Tensor:
    """The loss of each of R rows (KTO, https://arxiv.org/abs/2402.01306, eq. 7 and 8).

    Without the constant lambda_y, as 1 - sigma: the paper's lambda_y - v. No gradient goes through the reference point.

    Args:
        ratios_R: Log-ratios of the answers to the reference, summed.
        marks_R: 1 for a good answer, -1 for a bad one.
        mismatched_R: Log-ratios of answers to other prompts, whose mean estimates the KL divergence.
        beta: How strongly the model is held to the reference.
        weights: Of good and of bad answers.
    """
    point = mismatched_R.detach().mean().clamp(min=0)
    good, bad = (torch.full_like(ratios_R, one) for one in weights)
    of_mark = torch.where(marks_R > 0, good, bad)
    return of_mark * torch.sigmoid(-beta * marks_R * (ratios_R - point))


class KtoSettings(Protocol):
    """What the loss depends on; the settings of `KtoConfig`."""

    beta: float
    desirable_weight: float
    undesirable_weight: float


class Kto(Objective):
    """The objective `kto`: one item is a group of rows, with the answer of each behind the prompt of the one before.

    The paper estimates the KL divergence over a batch. A group is the batch here, so that the loss of a row depends
    neither on how rows are packed nor on the number of ranks.
    """

    told = ("accuracy", "kl")
    needs = (REFERENCE,)

    def __init__(self, model: nn.Module, settings: KtoSettings) -> None:
        super().__init__(model)
        self.settings = settings

    def reference(self, forest: Forest) -> Mapping[str, Tensor]:
        return {REFERENCE: -token_losses(self.model, forest, self.kept)[0]}

    def forward(self, forest: Forest) -> Losses:
        settings, targets = self.settings, forest.targets
        values_N = -token_losses(self.model, forest, self.kept)[0].double()
        ratios_N = values_N - torch.from_numpy(targets.columns[REFERENCE]).to(values_N.device).double()
        zeros_S = ratios_N.new_zeros(len(forest.sequence_items))
        ratios_S = zeros_S.index_add(0, torch.from_numpy(targets.sequences).to(ratios_N.device), ratios_N)
        order = torch.from_numpy(np.lexsort((forest.sequence_places, forest.sequence_items))).to(ratios_N.device)
        of_items = ratios_S[order].split([len(item.sequences) for item in forest.items])
        losses, figures = [], []
        for item, ratios in zip(forest.items, of_items, strict=True):
            own, mismatched = ratios.chunk(2)
            marks = own.new_tensor([float(one.columns["mark"][-1]) for one in item.sequences[: item.rows]])
            weights = settings.desirable_weight, settings.undesirable_weight
            losses.append(kto(own, marks, mismatched, settings.beta, weights).sum())
            found, point = own.detach(), mismatched.detach().mean().clamp(min=0)
            right = (marks * (found - point) > 0).double().sum()
            figures.append(torch.stack([right, point * item.rows, (settings.beta * marks * found).sum()]))
        told = dict(zip(("accuracy", "kl", "marked_reward"), torch.stack(figures).unbind(1), strict=True))
        return weighed(torch.stack(losses), told, forest)


def kto_items(sequences: Sequence[TokenSequence], size: int) -> tuple[Item, ...]:
    """Groups of rows in their order; the last has what is left, one row more at most where that would be a single one.

    Args:
        sequences: Of the rows, at least two.
        size: Rows of a group.
    """
    starts = list(range(0, len(sequences), size))
    if len(starts) > 1 and len(sequences) - starts[-1] == 1:
        starts.pop()
    groups = [sequences[start:end] for start, end in zip(starts, [*starts[1:], len(sequences)], strict=True)]
    return tuple(Item(group[0].row_id, (*group, *_mismatched(group)), rows=len(group)) for group in groups)


def _mismatched(group: Sequence[TokenSequence]) -> list[TokenSequence]:
    """Each prompt with the answer of the next row, cut off where it would be longer than the longest row."""
    longest = max(map(len, group))
    made = []
    for one, other in zip(group, [*group[1:], group[0]], strict=True):
        first, begin = (int(np.flatnonzero(row.weights)[0]) for row in (one, other))
        ids = np.concatenate([one.token_ids[:first], other.token_ids[begin:]])[:longest]
        weights = np.concatenate([np.zeros(first, np.float32), other.weights[begin:]])[:longest]
        made.append(replace(one, token_ids=ids, weights=weights, columns={}))
    return made
