"""What a model is given as `forest=` while answers are written: for prompts, whole or in pieces, and once per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weitiao.generation.cache import Cache, LayerCache
from weitiao.generation.groups import Groups
from weitiao.generation.partial import as_mask, merged, partial_attention
from weitiao.generation.parts import Part, Prefix, Shared, require_first
from weitiao.models.attention import Attends, ForestAttention
from weitiao.models.scoring import Scoring


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

    The queries of all sequences that share a part meet it in one product; each meets its own part in a batched one, and
    so does each group of sequences with the same prompt; the results are merged by their log-sum-exp (Hydragen,
    https://arxiv.org/abs/2402.05099, section 3.1).

    Args:
        cache: With an open column. A step has an object of its own: masks are the same in all layers and are kept.
    """

    cache: Cache
    _masks: dict[tuple[Part | Groups | None, int | None], Tensor | None] = field(default_factory=dict)

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See `weitiao.models.attention.Attends`; the T tokens of the row are the newest of B sequences."""
        layer = self.cache.write(module, key, value)
        heads = (key.shape[0], query.shape[0] // key.shape[0])
        out, lse = self._own(layer, query.transpose(0, 1).unflatten(1, heads), scoring)
        if (groups := self.cache.groups) is not None:
            mask = self._mask(groups, scoring.window, query.dtype)
            out, lse = merged(out, lse, *groups.attend(module, query.unflatten(0, heads), mask, scoring))
        for shared in self.cache.shared:
            if self._first_seen(shared, scoring.window) < shared.part.length:
                part, part_lse = self._shared(module, shared, query.unflatten(0, heads), scoring)
                if shared.rows is None:
                    out, lse = merged(out, lse, part, part_lse)
                else:
                    before = out[shared.rows], lse[shared.rows]
                    out[shared.rows], lse[shared.rows] = merged(*before, part, part_lse)
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

    def _mask(self, shared: Shared | Groups | None, window: int | None, dtype: torch.dtype) -> Tensor | None:
        part = shared.part if isinstance(shared, Shared) else shared
        if (part, window) not in self._masks:
            if isinstance(shared, Groups):
                hidden = shared.hidden(window, self.cache.positions)
            else:
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
