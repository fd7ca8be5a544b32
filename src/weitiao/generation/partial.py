"""Attention over a part of the keys, and two parts as one."""

from __future__ import annotations

import torch
from torch import Tensor

from weitiao.models.scoring import Scoring

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def merged(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Two partial results for the same queries as one."""
    weight = torch.sigmoid(part_lse - lse).unsqueeze(-1).to(out.dtype)
    return torch.lerp(out, part, weight), torch.logaddexp(lse, part_lse)


def as_mask(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores to hide some of them.

    It is finite, so that a query which sees nothing gets a log-sum-exp that weighs 0 in a merge, and no NaN.
    """
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min / 2)


def partial_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
) -> tuple[Tensor, Tensor]:
    """Attention over a part of the keys, sinks not among them.

    Args:
        query: [N, K, Q, D].
        key, value: [N, K, S, D].
        mask: Is added to the scores: [N, 1, 1 or Q, S], finite.
        scoring: How scores are made.

    Returns:
        Output [N, K, Q, D]; log-sum-exp of the scores [N, K, Q] in float32, by which parts are merged.
    """
    if query.device.type == "cpu" and query.shape[-1] == value.shape[-1] and scoring.softcap is None:
        out, lse = _flash(query, key, value, 0.0, False, attn_mask=mask, scale=scoring.scale)
        return out, lse
    scores = scoring.scores(query, key)
    if mask is not None:
        scores = scores + mask
    lse = scores.logsumexp(-1)
    return (scores - lse.unsqueeze(-1)).exp().to(value.dtype) @ value, lse
