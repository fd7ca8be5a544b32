"""What a model is given as `forest=` while answers are written: once for the prompts, then once per step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weitiao.generation.cache import Cache, LayerCache, Prefix
from weitiao.models.attention import ForestAttention
from weitiao.models.scoring import Scoring

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True)
class PromptAttention:
    """Attention among the prompts of a batch, or within their prefix, whose keys and values (after RoPE) are kept.

    Args:
        forest: Attention within the row of prompts.
        cache: Where keys and values go.
        prefix: The first tokens of the row when they were computed before; the model is then given the others only.
    """

    forest: ForestAttention
    cache: Cache | Prefix
    prefix: Prefix | None = None

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`."""
        if self.prefix is None:
            self.cache.fill(module, key, value)
            return self.forest.attend(module, query, key, value, scoring)
        before_key, before_value = self.prefix.layers[module]
        key, value = torch.cat([before_key, key], dim=1), torch.cat([before_value, value], dim=1)
        self.cache.fill(module, key, value)
        # What the prefix itself attends to is known: its queries only fill their places in the row.
        row = torch.cat([query.new_zeros(query.shape[0], self.prefix.length, query.shape[2]), query], dim=1)
        out = self.forest.attend(module, row, key, value, scoring)
        return out[:, self.prefix.length :]


@dataclass(frozen=True)
class StepAttention:
    """Attention of the newest token of every sequence.

    All queries meet the shared prefix in one product; each meets its own part in a batched one; the two results are
    merged by their log-sum-exp (Hydragen, https://arxiv.org/abs/2402.05099, section 3.1).

    Args:
        cache: With an open column. A step has an object of its own: masks are the same in all layers and are kept.
    """

    cache: Cache
    _masks: dict[tuple[str, int | None], Tensor | None] = field(default_factory=dict)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`; the T tokens of the row are the newest of B sequences."""
        layer = self.cache.write(module, key, value)
        heads = (key.shape[0], query.shape[0] // key.shape[0])
        out, lse = self._own(layer, query.transpose(0, 1).unflatten(1, heads), scoring)
        if self._prefix_start(scoring.window) < self.cache.prefix_length:
            part, part_lse = self._shared(layer, query.unflatten(0, heads), scoring)
            out = torch.lerp(out, part, torch.sigmoid(part_lse - lse).unsqueeze(-1).to(out.dtype))
            lse = torch.logaddexp(lse, part_lse)
        if scoring.sinks is not None:
            out = scoring.beside_sinks(out.unsqueeze(-2), lse.unsqueeze(-1)).squeeze(-2)
        return out.flatten(1, 2).transpose(0, 1)

    def _own(self, layer: LayerCache, query: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Query [B, K, H / K, D] against the private part of its sequence."""
        rows, columns = slice(0, self.cache.num_rows), slice(self._own_start(scoring.window), self.cache.num_columns)
        mask = self._mask("own", scoring.window, query.dtype)
        return partial_attention(query, layer.key[rows, :, columns], layer.value[rows, :, columns], mask, scoring)

    def _shared(self, layer: LayerCache, query: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Query [K, H / K, B, D] of all sequences against the prefix; results with B first."""
        groups, num_rows = query.shape[1:3]
        seen = slice(self._prefix_start(scoring.window), self.cache.prefix_length)
        mask = self._mask("shared", scoring.window, query.dtype)
        if mask is not None:
            mask = mask.repeat(1, 1, groups, 1)
        key, value = (t[:, seen].unsqueeze(0) for t in (layer.prefix_key, layer.prefix_value))
        out, lse = partial_attention(query.flatten(1, 2).unsqueeze(0), key, value, mask, scoring)
        out, lse = (t[0].unflatten(1, (groups, num_rows)) for t in (out, lse))
        return out.permute(2, 0, 1, 3), lse.permute(2, 0, 1)

    def _own_start(self, window: int | None) -> int:
        """First column that a query sees."""
        start = self.cache.start
        return start if window is None else max(start, self.cache.num_columns - window)

    def _prefix_start(self, window: int | None) -> int:
        """First token of the prefix that any query sees; a query's position is one less than its length."""
        return 0 if window is None else max(0, min(self.cache.positions) - window)

    def _mask(self, part: str, window: int | None, dtype: torch.dtype) -> Tensor | None:
        if (part, window) not in self._masks:
            hidden = self._hidden_own(window) if part == "own" else self._hidden_prefix(window)
            # finite, so that a query which sees nothing gets a log-sum-exp that weighs 0 in the merge, and no NaN
            lowest = torch.finfo(dtype).min / 2
            shape = None if hidden is None else torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, lowest)
            self._masks[part, window] = shape
        return self._masks[part, window]

    def _hidden_own(self, window: int | None) -> Tensor | None:
        """[B, 1, 1, S]: the columns before the first of a sequence; None when there are none."""
        start, first_B = self._own_start(window), self.cache.first_B
        columns_S = torch.arange(start, self.cache.num_columns, device=first_B.device)
        hidden_BS = columns_S < first_B[:, None]
        return hidden_BS[:, None, None] if hidden_BS.any() else None

    def _hidden_prefix(self, window: int | None) -> Tensor | None:
        """[1, 1, B, P]: what the window of a query has left behind; None without a window."""
        if window is None:
            return None
        positions_B = torch.tensor(self.cache.positions, device=self.cache.first_B.device)
        places_P = torch.arange(self._prefix_start(window), self.cache.prefix_length, device=positions_B.device)
        return (places_P < positions_B[:, None] - window)[None, None]


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
