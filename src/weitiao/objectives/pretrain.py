"""Pretraining: every token of raw text; long texts come as windows, cut where rows are rendered."""

from __future__ import annotations

import math

import torch

from weitiao.objectives.sft import Sft
from weitiao.rendering.lengths import TextLength


class Pretrain(Sft):
    """The objective `pretrain`: the loss is that of `sft`, on sequences of which all is learned."""

    def readings(self, loss: float, text: TextLength) -> dict[str, float]:
        """The perplexity, and the loss by the length of the text, which does not depend on the vocabulary.

        Where `train.weigh` counts tokens; else they are those of a mean over rows.
        """
        found = {"perplexity": float(torch.tensor(loss, dtype=torch.float64).exp())}
        if text.characters:
            found["nats_per_character"] = loss / text.characters
            found["bits_per_byte"] = loss / text.bytes / math.log(2)
        return found
