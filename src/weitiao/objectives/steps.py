"""A reward model of single steps: whether each step of an answer is right, read at the token that ends it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from weitiao.forest.layout import Forest
from weitiao.models.losses import target_states
from weitiao.objectives.objective import Losses
from weitiao.objectives.preference import weighed
from weitiao.objectives.reward import Reward, read_scores
from weitiao.rendering.steps import STEP


class StepReward(Reward):
    """The objective `reward` with `loss: step`: an item is an answer, whose steps all have a label.

    The loss of an answer is the mean over its steps of the cross-entropy of sigmoid(score) with the label (Lightman et
    al., 2023, https://arxiv.org/abs/2305.20050; Uesato et al., 2022, https://arxiv.org/abs/2211.14275): an answer
    counts as one row, however many steps it has.
    """

    def forward(self, forest: Forest) -> Losses:
        scores_N = read_scores(self.score, target_states(self.model, forest, self.kept))
        labels_N = scores_N.new_tensor(forest.targets.columns.get(STEP, np.zeros(len(scores_N))))
        items_N = torch.from_numpy(forest.target_items).to(scores_N.device)
        shares_N = scores_N.new_tensor(1 / np.bincount(forest.target_items)[forest.target_items])

        def added(values_N: Tensor) -> Tensor:
            return scores_N.new_zeros(len(forest.items)).index_add(0, items_N, values_N)

        losses_I = added(binary_cross_entropy_with_logits(scores_N, labels_N, reduction="none") * shares_N)
        right_N, missed_N = judged(scores_N.detach(), labels_N, forest.target_items)
        figures = {"accuracy": added(right_N * shares_N), "first_wrong": 1 - added(missed_N.double())}
        return weighed(losses_I, figures, forest)


def judged(scores_N: Tensor, labels_N: Tensor, rows_N: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Which steps are judged rightly, by scores of which those below 0 say that a step is wrong.

    Args:
        scores_N: Of the steps of rows, those of a row beside each other and in order.
        labels_N: Theirs; below 0.5 is wrong.
        rows_N: Which row they are of.

    Returns:
        Of each step whether score and label agree; and whether it is where a row's first wrong step is missed: the
        first that either of the two says is wrong, and not both.
    """
    held_N, said_N = scores_N < 0, labels_N < 0.5
    wrong_N = (held_N | said_N).long()
    begins = np.flatnonzero(np.diff(rows_N, prepend=-1))
    begin_N = torch.from_numpy(np.repeat(begins, np.diff(begins, append=len(rows_N)))).to(scores_N.device)
    before_N = wrong_N.cumsum(0) - wrong_N
    return held_N == said_N, (held_N != said_N) & (before_N == before_N[begin_N])
