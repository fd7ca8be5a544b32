"""Keys and values of a batch: one prefix for all sequences, computed once, and a private part for each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from weitiao.errors import ModelError
from weitiao.generation.batches import PromptRow

GROWTH = 64
"""Columns by which the private parts grow at least; beyond 128 columns they grow by half."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values [K, P, D] of the tokens with which the prompts of several batches begin, by attention module.

    Attributes:
        length: P.
        layers: Filled while the prefix is computed.
    """

    length: int
    layers: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def fill(self, layer: nn.Module, key: Tensor, value: Tensor) -> None:
        """Take over what a layer computed."""
        require_first(layer, self.layers)
        self.layers[layer] = (key, value)


@dataclass(slots=True)
class LayerCache:
    """Keys and values of one layer.

    Attributes:
        prefix_key, prefix_value: [K, P, D].
        key, value: Private parts [B, K, S, D] with room for more columns, aligned at the last used one.
    """

    prefix_key: Tensor
    prefix_value: Tensor
    key: Tensor
    value: Tensor


def require_first(layer: nn.Module, layers: Collection[nn.Module]) -> None:
    """Refuse a layer that attends a second time in one call: its keys and values would take the place of the first.

    Raises:
        ModelError: It is among `layers`.
    """
    if layer in layers:
        raise ModelError(
            f"A {type(layer).__name__} attends more than once for a token; weitiao can train this model, but not "
            "let it answer.",
            "Choose a model of another family.",
        )


class Cache:
    """The store of all layers, which are told apart by their attention modules.

    The private parts of shorter sequences begin at a later column, so that all of them end at the same one and a step
    writes one column. A window of W tokens is then the last W columns for every row.

    Args:
        row: The prompts of the batch.
        device: Where the model is.

    Attributes:
        layers: Filled by the prefill.
        prefix_length: P, tokens that all sequences share.
        num_rows: B, sequences that are still written. Rows of the buffers beyond it are unused.
        num_columns: Columns in use.
        first_B: First column of each row, on the device.
    """

    def __init__(self, row: PromptRow, device: torch.device) -> None:
        self.layers: dict[nn.Module, LayerCache] = {}
        self.prefix_length = row.shared_length
        self.num_rows = len(row.paths)
        private = [torch.from_numpy(path[self.prefix_length :]) for path in row.paths]
        self.num_columns = max(map(len, private))
        self._capacity = self.num_columns + GROWTH
        self._first = [self.num_columns - len(part) for part in private]
        self.first_B = torch.tensor(self._first, device=device)
        places_BS = torch.zeros(self.num_rows, self.num_columns, dtype=torch.int64)
        for b, part in enumerate(private):
            places_BS[b, self._first[b] :] = part
        self._places_BS = places_BS.to(device)

    def fill(self, layer: nn.Module, key: Tensor, value: Tensor) -> None:
        """Take over the keys and values [K, T, D] that a layer computed for the row of prompts."""
        require_first(layer, self.layers)
        prefix = slice(0, self.prefix_length)
        self.layers[layer] = LayerCache(
            key[:, prefix].contiguous(), value[:, prefix].contiguous(), self._private(key), self._private(value)
        )

    def _private(self, states: Tensor) -> Tensor:
        num_key_heads, _, head_dim = states.shape
        buffer = states.new_empty(self.num_rows, num_key_heads, self._capacity, head_dim)
        buffer[:, :, : self.num_columns] = states[:, self._places_BS].transpose(0, 1)
        return buffer

    @property
    def start(self) -> int:
        """First column that any sequence uses."""
        return min(self._first)

    @property
    def positions(self) -> list[int]:
        """For each sequence, how many tokens it has: the position of its next token."""
        return [self.prefix_length + self.num_columns - first for first in self._first]

    def open_column(self) -> None:
        """Begin the next column, which every layer is about to write."""
        if self.num_columns == self._capacity:
            self._capacity += max(GROWTH, self._capacity // 2)
            for layer in self.layers.values():
                layer.key, layer.value = self._grown(layer.key), self._grown(layer.value)
        self.num_columns += 1

    def _grown(self, states: Tensor) -> Tensor:
        used = states[: self.num_rows]
        buffer = states.new_empty(self.num_rows, used.shape[1], self._capacity, used.shape[3])
        buffer[:, :, : self.num_columns] = used[:, :, : self.num_columns]
        return buffer

    def write(self, layer: nn.Module, key: Tensor, value: Tensor) -> LayerCache:
        """Put the keys and values [K, B, D] of the newest tokens into the open column of a layer."""
        cache = self.layers[layer]
        cache.key[: self.num_rows, :, self.num_columns - 1] = key.transpose(0, 1)
        cache.value[: self.num_rows, :, self.num_columns - 1] = value.transpose(0, 1)
        return cache

    def drop(self, rows: Collection[int]) -> list[int]:
        """Let sequences leave: those at the end move into the gaps, and nothing else is copied.

        Returns:
            For each row that is left, the row in which its sequence was before.
        """
        left = self.num_rows - len(rows)
        gaps = [row for row in range(left) if row in rows]
        movers = [row for row in range(left, self.num_rows) if row not in rows]
        used = slice(self.start, self.num_columns)
        if gaps:
            for layer in self.layers.values():
                for states in (layer.key, layer.value):
                    states[gaps, :, used] = states[movers, :, used]
        order = list(range(left))
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        self._first = [self._first[row] for row in order]
        self.first_B = self.first_B[order]
        self.num_rows = left
        return order
