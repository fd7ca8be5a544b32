"""Pretraining: every token of raw text; long texts come as windows, cut where rows are rendered."""

from __future__ import annotations

import torch

from weitiao.objectives.sft import Sft


class Pretrain(Sft):
    """The objective `pretrain`: the loss is that of `sft`, on sequences of which all is learned."""

    @staticmethod
    def readings(loss: float) -> dict[str, float]:
        """The perplexity, where `train.weigh` counts tokens; else the exponential of a mean over rows."""
        return {"perplexity": float(torch.tensor(loss, dtype=torch.float64).exp())}
