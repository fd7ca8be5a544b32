"""What every objective is: from the sequences of rows to items, and from items to losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weitiao.config import Config
from weitiao.forest.layout import Forest
from weitiao.models.kept_states import KeptStates
from weitiao.rendering.items import Item, TokenSequence, as_items
from weitiao.rendering.lengths import TextLength

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Losses:
    """What a forest contributes to an optimiser step, or to a validation.

    Attributes:
        total: Sum of weight times loss over all items, a scalar with gradient. The loop divides it by the weight of
            the whole step, so that how a step is cut into forests does not change it.
        per_item: The same sum for each item of the forest (float64), without gradient.
        metrics: Further sums over the items, by name; divided by the same weight they are logged beside the loss.
        tables: Counts, by name, which add up over forests.
    """

    total: Tensor
    per_item: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    tables: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module, ABC):
    """A model and what it learns; a module, so that both are wrapped, trained and saved together.

    A new objective is one file with a subclass of this, and one line in the union of `objectives/config.py`. Heads that
    learn are its children. Training and validation both call it; neither knows which one it is.

    Args:
        model: A causal language model with forest attention, possibly inside PEFT's.
        config: Its settings; those of the nested class `Config` where it has one.
    """

    def __init__(self, model: nn.Module, config: Config | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.kept: KeptStates | None = None
        """For `token_losses`: what the frozen layers below all that learns gave before. A training sets it."""

    @classmethod
    def items(cls, sequences: Sequence[TokenSequence]) -> tuple[Item, ...]:
        """What a step counts: every sequence by itself, unless the objective holds several against each other.

        Args:
            sequences: Of the rows, in their order; a row may have several.
        """
        return as_items(sequences)

    told: tuple[str, ...] = ()
    """Which of its metrics a person is told at a validation; `metrics.jsonl` has all of them."""

    needs: tuple[str, ...] = ()
    """Columns of the items that `reference` gives, before the first step of a run."""

    def reference(self, forest: Forest) -> Mapping[str, Tensor]:
        """What the model as a run begins it says of each of the N targets, by the names that `needs` has.

        It is computed once for each item, in evaluation mode and without gradient, and kept in the run directory.
        """
        return {}

    @abstractmethod
    def forward(self, forest: Forest) -> Losses:
        """The losses of a forest, in training and in validation alike."""

    def readings(self, loss: float, text: TextLength) -> dict[str, float]:
        """What else a mean loss per unit of weight is called; validations show it beside the loss.

        Args:
            loss: In nats.
            text: The mean length of the text per unit of weight.
        """
        return {}

    def save(self, directory: Path, tokenizer: PreTrainedTokenizerFast) -> None:
        """Add what learned beside the model to the weights that the method has written; nothing for most.

        Args:
            directory: `final/`.
            tokenizer: Of the training.
        """
        return

    def weights(self, forest: Forest) -> NDArray[np.float64]:
        """The weight [I] of each item, by which its loss is divided to be shown; by their sum, that of a step."""
        sums_I = np.bincount(forest.target_items, forest.targets.weights, minlength=len(forest.items))
        rows_I = np.array([item.rows * item.weight for item in forest.items])
        return np.where([item.rows > 0 for item in forest.items], rows_I, sums_I)


def sum_per_item(values_N: Tensor, forest: Forest) -> Tensor:
    """The sum [I] of numbers of targets over each item (float64), without gradient."""
    items_N = torch.from_numpy(forest.target_items).to(values_N.device)
    sums_I = values_N.new_zeros(len(forest.items), dtype=torch.float64)
    return sums_I.index_add_(0, items_N, values_N.detach().double())
