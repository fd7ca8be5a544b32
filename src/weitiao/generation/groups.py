"""Prompts that several sequences of a batch have: keys and values of each are kept once, and read once in a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weitiao.forest.layout import Ints
from weitiao.generation.partial import partial_attention
from weitiao.generation.parts import States
from weitiao.models.scoring import Scoring


class Groups:
    """The prompts of a batch, without what is read for all of them: G different ones, P tokens in the longest.

    Args:
        places: For each of B sequences, where the tokens of its prompt are in the row of prompts.
        start: The position of the first of them.
        device: Where the model is.
    """

    def __init__(self, places: Sequence[Ints], start: int, device: torch.device) -> None:
        prompts = {one.tobytes(): one for one in places}
        numbers = {prompt: number for number, prompt in enumerate(prompts)}
        self._start, self._of_row = start, [numbers[one.tobytes()] for one in places]
        self._lengths = list(map(len, prompts.values()))
        self._places_GP = torch.zeros(len(prompts), max(self._lengths), dtype=torch.int64)
        for row, one in zip(self._places_GP, prompts.values(), strict=True):
            row[: len(one)] = torch.from_numpy(one)
        self._layers: dict[nn.Module, States] = {}
        self._device = device
        self._index()

    @property
    def lengths(self) -> list[int]:
        """For each sequence, the tokens of its prompt."""
        return [self._lengths[group] for group in self._of_row]

    def fill(self, layer: nn.Module, key: Tensor, value: Tensor) -> None:
        """Take over the keys and values [K, T, D] that a layer computed for the row of prompts."""
        key, value = (states[:, self._places_GP].transpose(0, 1).contiguous() for states in (key, value))
        self._layers[layer] = (key, value)

    def drop(self, order: Sequence[int]) -> None:
        """Let sequences leave.

        Args:
            order: For each that is left, the place in which it was before; at least one.
        """
        self._of_row = [self._of_row[row] for row in order]
        left = sorted(set(self._of_row))
        if 2 * len(left) <= len(self._lengths):  # half of what would be read belongs to nobody
            self._lengths = [self._lengths[group] for group in left]
            self._layers = {layer: (key[left], value[left]) for layer, (key, value) in self._layers.items()}
            self._of_row = [left.index(group) for group in self._of_row]
        self._index()

    def attend(self, layer: nn.Module, query: Tensor, mask: Tensor | None, scoring: Scoring) -> tuple[Tensor, Tensor]:
        """Partial attention to the prompts.

        Args:
            layer: The attention module.
            query: [K, H / K, B, D], of the newest token of each sequence.
            mask: See `hidden`; is added to the scores.
            scoring: How scores are made.

        Returns:
            Output [B, K, H / K, D], and log-sum-exp [B, K, H / K].
        """
        heads, size = query.shape[1], self._rows_GR.shape[1]
        asked = query[:, :, self._rows_GR].permute(2, 0, 1, 3, 4).flatten(2, 3)
        if mask is not None and mask.shape[2] > 1:
            mask = mask.repeat(1, 1, heads, 1)
        out, lse = partial_attention(asked, *self._layers[layer], mask, scoring)
        out = out.unflatten(2, (heads, size)).permute(0, 3, 1, 2, 4).flatten(0, 1)
        lse = lse.unflatten(2, (heads, size)).permute(0, 3, 1, 2).flatten(0, 1)
        return out[self._slots_B], lse[self._slots_B]

    def hidden(self, window: int | None, positions: Sequence[int]) -> Tensor | None:
        """What a query does not see of its prompt: [G, 1, 1 or R, P]; None where that is nothing.

        Args:
            window: What is farther back is left behind.
            positions: How many tokens each sequence has.
        """
        device, lengths_G1 = self._rows_GR.device, torch.tensor(self._lengths)[:, None]
        places_P = torch.arange(self._places_GP.shape[1])
        hidden_GRP = (places_P >= lengths_G1)[:, None]
        if window is not None:
            left_GR = torch.tensor(positions)[self._rows_GR.cpu()] - window - self._start
            hidden_GRP = hidden_GRP | (places_P < left_GR[:, :, None])
        return hidden_GRP[:, None].to(device) if hidden_GRP.any() else None

    def _index(self) -> None:
        """Note which sequences each prompt has now, R at most, and in which of G R slots each sequence is."""
        members: list[list[int]] = [[] for _ in self._lengths]
        for row, group in enumerate(self._of_row):
            members[group].append(row)
        size = max(map(len, members))
        rows = [some + [0] * (size - len(some)) for some in members]  # a slot that is left over reads any query
        slots = [group * size + members[group].index(row) for row, group in enumerate(self._of_row)]
        self._rows_GR, self._slots_B = (torch.tensor(one, device=self._device) for one in (rows, slots))


def have_several(places: Sequence[Ints]) -> bool:
    """Whether a prompt is that of two sequences or more, on average, by the places of its tokens."""
    return 2 * len({one.tobytes() for one in places}) <= len(places)
