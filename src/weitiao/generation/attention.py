"""What a model is given as `forest=` while answers are written: for prompts, whole or in pieces, and once per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weitiao.generation.cache import Cache, LayerCache, Shared
from weitiao.generation.parts import Part, Prefix, require_first
from weitiao.models.attention import Attends, ForestAttention
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
class PieceAttention:
    """Attention of the next tokens of one sequence, whose keys and values are kept.

    Args:
        parts: What the sequence begins with.
        into: The keys and values of the tokens behind them.
        done: How many of these are known already; those that are run come next.
    """

    parts: Sequence[Part]
    into: Prefix
    done: int
    _masks: dict[int | None, Tensor] = field(default_factory=dict)
    _seen: set[nn.Module] = field(default_factory=set)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`."""
        require_first(module, self._seen)
        self._seen.add(module)
        self.into.write(module, self.done, key, value)
        num_tokens, heads = query.shape[1], (key.shape[0], query.shape[0] // key.shape[0])
        known = [*self.parts, Part(self.into, self.done + num_tokens)]
        keys, values = zip(*(part.states(module) for part in known), strict=True)
        every_key, every_value = (t[0] if len(t) == 1 else torch.cat(t, dim=1) for t in (keys, values))
        shape = (*heads, -1, -1)
        out, lse = partial_attention(
            query.unflatten(0, heads),
            every_key.unsqueeze(1).expand(shape),
            every_value.unsqueeze(1).expand(shape),
            self._mask(scoring.window, num_tokens, every_key),
            scoring,
        )
        return scoring.beside_sinks(out, lse).flatten(0, 1)

    def _mask(self, window: int | None, num_tokens: int, keys: Tensor) -> Tensor:
        """[1, 1, T, S]: what is not before a query, or left behind by its window."""
        if window not in self._masks:
            num_keys = keys.shape[1]
            queries_T1 = torch.arange(num_keys - num_tokens, num_keys, device=keys.device)[:, None]
            keys_S = torch.arange(num_keys, device=keys.device)
            hidden = keys_S > queries_T1
            if window is not None:
                hidden |= keys_S <= queries_T1 - window
            self._masks[window] = as_mask(hidden, keys.dtype)[None, None]
        return self._masks[window]


@dataclass(frozen=True)
class StepAttention:
    """Attention of the newest token of every sequence.

    The queries of all sequences that share a part meet it in one product; each meets its own part in a batched one; the
    results are merged by their log-sum-exp (Hydragen, https://arxiv.org/abs/2402.05099, section 3.1).

    Args:
        cache: With an open column. A step has an object of its own: masks are the same in all layers and are kept.
    """

    cache: Cache
    _masks: dict[tuple[Part | None, int | None], Tensor | None] = field(default_factory=dict)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`; the T tokens of the row are the newest of B sequences."""
        layer = self.cache.write(module, key, value)
        heads = (key.shape[0], query.shape[0] // key.shape[0])
        out, lse = self._own(layer, query.transpose(0, 1).unflatten(1, heads), scoring)
        for shared in self.cache.shared:
            if self._first_seen(shared, scoring.window) < shared.part.length:
                part, part_lse = self._shared(module, shared, query.unflatten(0, heads), scoring)
                if shared.rows is None:
                    out, lse = _merged(out, lse, part, part_lse)
                else:
                    before = out[shared.rows], lse[shared.rows]
                    out[shared.rows], lse[shared.rows] = _merged(*before, part, part_lse)
        if scoring.sinks is not None:
            out = scoring.beside_sinks(out.unsqueeze(-2), lse.unsqueeze(-1)).squeeze(-2)
        return out.flatten(1, 2).transpose(0, 1)

    def _own(self, layer: LayerCache, query: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Query [B, K, H / K, D] against the private part of its sequence."""
        rows, columns = slice(0, self.cache.num_rows), slice(self._own_start(scoring.window), self.cache.num_columns)
        mask = self._mask(None, scoring.window, query.dtype)
        return partial_attention(query, layer.key[rows, :, columns], layer.value[rows, :, columns], mask, scoring)

    def _shared(self, module: nn.Module, shared: Shared, query: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Query [K, H / K, B, D] of the sequences that share a part against it; results with B first."""
        if shared.rows is not None:
            query = query[:, :, shared.rows]
        groups, num_rows = query.shape[1:3]
        seen = slice(self._first_seen(shared, scoring.window), shared.part.length)
        mask = self._mask(shared, scoring.window, query.dtype)
        if mask is not None:
            mask = mask.repeat(1, 1, groups, 1)
        key, value = (t[:, seen].unsqueeze(0) for t in shared.part.states(module))
        out, lse = partial_attention(query.flatten(1, 2).unsqueeze(0), key, value, mask, scoring)
        out, lse = (t[0].unflatten(1, (groups, num_rows)) for t in (out, lse))
        return out.permute(2, 0, 1, 3), lse.permute(2, 0, 1)

    def _own_start(self, window: int | None) -> int:
        """First column that a query sees."""
        start = self.cache.start
        return start if window is None else max(start, self.cache.num_columns - window)

    def _positions(self, shared: Shared) -> list[int]:
        """How many tokens the sequences of a part have; a query's position is one less."""
        positions = self.cache.positions
        return positions if shared.rows is None else [positions[row] for row in shared.rows.tolist()]

    def _first_seen(self, shared: Shared, window: int | None) -> int:
        """First token of a part that any query sees."""
        return 0 if window is None else max(0, min(self._positions(shared)) - window - shared.start)

    def _mask(self, shared: Shared | None, window: int | None, dtype: torch.dtype) -> Tensor | None:
        part = None if shared is None else shared.part
        if (part, window) not in self._masks:
            hidden = self._hidden_own(window) if shared is None else self._hidden_shared(shared, window)
            self._masks[part, window] = None if hidden is None else as_mask(hidden, dtype)
        return self._masks[part, window]

    def _hidden_own(self, window: int | None) -> Tensor | None:
        """[B, 1, 1, S]: the columns before the first of a sequence; None when there are none."""
        start, first_B = self._own_start(window), self.cache.first_B
        columns_S = torch.arange(start, self.cache.num_columns, device=first_B.device)
        hidden_BS = columns_S < first_B[:, None]
        return hidden_BS[:, None, None] if hidden_BS.any() else None

    def _hidden_shared(self, shared: Shared, window: int | None) -> Tensor | None:
        """[1, 1, B, P]: what the window of a query has left behind; None without a window."""
        if window is None:
            return None
        positions_B = torch.tensor(self._positions(shared), device=self.cache.first_B.device)
        places_P = torch.arange(self._first_seen(shared, window), shared.part.length, device=positions_B.device)
        return (places_P + shared.start < positions_B[:, None] - window)[None, None]


@dataclass(frozen=True)
class Beside:
    """Attention of tokens that are run in one row and see nothing of each other.

    Args:
        runs: How many tokens each is for, in the order of the row, and how these attend.
    """

    runs: Sequence[tuple[int, Attends]]

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`."""
        sizes = [size for size, _ in self.runs]
        queries, keys, values = (states.split(sizes, dim=1) for states in (query, key, value))
        split = zip(self.runs, queries, keys, values, strict=True)
        return torch.cat([attends.attend(module, q, k, v, scoring) for (_, attends), q, k, v in split], dim=1)


def _merged(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> tuple[Tensor, Tensor]:
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
