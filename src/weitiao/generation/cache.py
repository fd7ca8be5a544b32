"""Keys and values of a batch: beginnings, each once for all sequences that have it, and a private part for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weitiao.generation.batches import PromptRow
from weitiao.generation.groups import Groups, have_several
from weitiao.generation.parts import Part, Prefix, Shared, States, require_first

SHORT = 64
"""Tokens: a beginning of all prompts that is no longer is read with the prompt of each group. One product and one merge
less in every layer took less time than reading it once did."""

GROWTH = 64
"""Columns by which the private parts grow at least; beyond 128 columns they grow by half."""


@dataclass(slots=True)
class LayerCache:
    """The private parts of one layer.

    Attributes:
        key, value: [B, K, S, D] with room for more columns and rows, aligned at the last used column.
    """

    key: Tensor
    value: Tensor


class Cache:
    """The store of all layers, which are told apart by their attention modules.

    The private parts of shorter sequences begin at a later column, so that all of them end at the same one and a step
    writes one column. A window of W tokens is then the last W columns for every row.

    Args:
        device: Where the model is.

    Attributes:
        layers: The private parts.
        num_rows: B, sequences that are still written. Rows of the buffers beyond it are unused.
        num_columns: Columns in use.
        first_B: First column of each row, on the device.
        groups: The prompts, where several rows have each; private are the answers alone then.
    """

    def __init__(self, device: torch.device) -> None:
        self.layers: dict[nn.Module, LayerCache] = {}
        self.num_rows = self.num_columns = 0
        self.first_B = torch.zeros(0, dtype=torch.int64, device=device)
        self.groups: Groups | None = None
        self._first: list[int] = []
        self._parts: list[tuple[Part, ...]] = []
        self._shared: list[Shared] | None = None
        self._room = (0, 0)  # rows and columns of the buffers
        self._places_BS = self.first_B  # of prompts that are run together: where in their row each column comes from

    @classmethod
    def of(cls, row: PromptRow, device: torch.device) -> Cache:
        """The cache of a batch of prompts that are run together: `fill` then takes over what each layer computed."""
        cache = cls(device)
        beginning = row.shared_length
        if have_several(row.paths):
            beginning = beginning if beginning > SHORT else 0
            if any(len(path) > beginning for path in row.paths):
                cache.groups = Groups([path[beginning:] for path in row.paths], beginning, device)
        private = [torch.from_numpy(path[beginning:] if cache.groups is None else path[:0]) for path in row.paths]
        cache.num_rows, cache.num_columns = len(private), max(map(len, private))
        cache._room = (cache.num_rows, cache.num_columns + GROWTH)
        cache._first = [cache.num_columns - len(part) for part in private]
        cache._parts = [(Part(Prefix(beginning), beginning),) if beginning else ()] * cache.num_rows
        cache._changed()
        places_BS = torch.zeros(cache.num_rows, cache.num_columns, dtype=torch.int64)
        for b, part in enumerate(private):
            places_BS[b, cache._first[b] :] = part
        cache._places_BS = places_BS.to(device)
        return cache

    def fill(self, layer: nn.Module, key: Tensor, value: Tensor) -> None:
        """Take over the keys and values [K, T, D] that a layer computed for the row of prompts."""
        require_first(layer, self.layers)
        buffers = []
        for states in (key, value):
            buffers.append(self._buffer(states))
            buffers[-1][:, :, : self.num_columns] = states[:, self._places_BS].transpose(0, 1)
        self.layers[layer] = LayerCache(*buffers)
        if self.groups is not None:
            self.groups.fill(layer, key, value)
        for part in self._parts[0]:
            part.prefix.fill(layer, key[:, : part.length].contiguous(), value[:, : part.length].contiguous())

    @property
    def shared(self) -> list[Shared]:
        """The parts that stand before the private ones, each once."""
        if self._shared is None:
            rows: dict[tuple[Part, int], list[int]] = {}
            for row, parts in enumerate(self._parts):
                start = 0
                for part in parts:
                    rows.setdefault((part, start), []).append(row)
                    start += part.length
            device, everyone = self.first_B.device, self.num_rows
            self._shared = [
                Shared(part, start, None if len(some) == everyone else torch.tensor(some, device=device))
                for (part, start), some in rows.items()
            ]
        return self._shared

    @property
    def start(self) -> int:
        """First column that any sequence uses."""
        return min(self._first, default=self.num_columns)

    @property
    def positions(self) -> list[int]:
        """For each sequence, how many tokens it has: the position of its next token."""
        prompts = [0] * self.num_rows if self.groups is None else self.groups.lengths
        return [
            sum(part.length for part in parts) + prompt + self.num_columns - first
            for parts, prompt, first in zip(self._parts, prompts, self._first, strict=True)
        ]

    def join(self, parts: Sequence[Part], length: int, private: Mapping[nn.Module, States]) -> None:
        """Let a sequence come in, as the last row.

        Args:
            parts: What it begins with.
            length: Tokens behind them.
            private: Their keys and values [K, `length`, D]; every layer, also where there are none of them.
        """
        shift = max(length - self.num_columns, 0)  # all end where the longest does
        self._make_room(self.num_rows + 1, self.num_columns + shift, shift=shift)
        row, end = self.num_rows, self.num_columns
        for layer, (key, value) in private.items():
            if layer not in self.layers:
                self.layers[layer] = LayerCache(*(self._buffer(states) for states in (key, value)))
            for states, fresh in zip(self._states(layer), (key, value), strict=True):
                states[row, :, end - length : end] = fresh
        self._first.append(end - length)
        self._parts.append(tuple(parts))
        self.num_rows += 1
        self._changed()

    def open_column(self) -> None:
        """Begin the next column, which every layer is about to write."""
        if self.num_columns == self._room[1] and self.start > self._room[1] // 2:
            # those who used the first columns have left
            self._make_room(self.num_rows, self._room[1], shift=-self.start)
        self._make_room(self.num_rows, self.num_columns + 1)
        self.num_columns += 1

    def write(self, layer: nn.Module, key: Tensor, value: Tensor) -> LayerCache:
        """Put the keys and values [K, B, D] of the newest tokens into the open column of a layer."""
        for states, fresh in zip(self._states(layer), (key, value), strict=True):
            states[: self.num_rows, :, self.num_columns - 1] = fresh.transpose(0, 1)
        return self.layers[layer]

    def private_length(self, row: int) -> int:
        """Tokens in the private part of a row."""
        return self.num_columns - self._first[row]

    def put_aside(self, row: int) -> tuple[Part, ...]:
        """Make of the private part of a row a part that is read where it lies; all parts of the row then."""
        prefix = self.private(row, 0)
        self._parts[row] += (Part(prefix, prefix.length),)
        self._first[row] = self.num_columns
        self._changed()
        return self._parts[row]

    def private(self, row: int, skip: int) -> Prefix:
        """A copy of the private part of a row without its first tokens."""
        columns = slice(self._first[row] + skip, self.num_columns)
        layers = {
            layer: (cache.key[row, :, columns].clone(), cache.value[row, :, columns].clone())
            for layer, cache in self.layers.items()
        }
        return Prefix(columns.stop - columns.start, layers)

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
            for layer in self.layers:
                for states in self._states(layer):
                    states[gaps, :, used] = states[movers, :, used]
        order = list(range(left))
        for gap, mover in zip(gaps, movers, strict=True):
            order[gap] = mover
        self._first = [self._first[row] for row in order]
        self._parts = [self._parts[row] for row in order]
        self.num_rows = left
        if not left:
            self.num_columns = 0
        elif rows and self.groups is not None:
            self.groups.drop(order)
        self._changed()
        return order

    def _changed(self) -> None:
        self.first_B = torch.tensor(self._first, dtype=torch.int64, device=self.first_B.device)
        self._shared = None

    def _states(self, layer: nn.Module) -> States:
        return self.layers[layer].key, self.layers[layer].value

    def _make_room(self, rows: int, columns: int, *, shift: int = 0) -> None:
        """Have buffers for so many rows and columns; what is used moves to the right, or with less than 0 to the left.

        Buffers grow by more than is asked for, so that what is copied stays in proportion to what is written.
        """
        room_rows, room_columns = self._room
        if rows > room_rows:
            room_rows = max(rows, 2 * room_rows)
        if columns > room_columns:
            room_columns = max(columns + GROWTH, room_columns + room_columns // 2)
        if (room_rows, room_columns) == self._room and not shift:
            return
        self._room = (room_rows, room_columns)
        before = slice(self.start, self.num_columns)
        after = slice(before.start + shift, before.stop + shift)
        for layer in self.layers:
            used = [states[: self.num_rows, :, before] for states in self._states(layer)]
            key, value = (self._buffer(states.transpose(0, 1)) for states in used)
            for states, kept in zip((key, value), used, strict=True):
                states[: self.num_rows, :, after] = kept
            self.layers[layer] = LayerCache(key, value)
        self._first = [first + shift for first in self._first]
        self.first_B = self.first_B + shift
        self.num_columns += shift

    def _buffer(self, states: Tensor) -> Tensor:
        """Room for the states [K, ..., D] of all rows."""
        # zeros: what a mask hides is computed all the same, and one number that is none would spoil the row
        return states.new_zeros(self._room[0], states.shape[0], self._room[1], states.shape[-1])
