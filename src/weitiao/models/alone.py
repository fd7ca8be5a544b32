"""Rows one after another, for models that cannot be run in a forest: recurrent layers, masks of their own.

Each row is then a call of the model's own forward, with attention of `transformers`. What is computed is exact for
every model; what rows have in common is computed for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weitiao.forest.layout import Ints, Layout


def states_alone(network: nn.Module, layout: Layout) -> Tensor:
    """The final hidden states [T, D] of a layout, with gradient, each of its rows run alone.

    Args:
        network: A decoder with attention of `transformers`.
        layout: T tokens. A token that rows share gets its state from the first of them: those of the others are equal.
    """
    device, known, parts = cast(PreTrainedModel, network).device, 0, []
    for places in rows_of(layout):
        # positions are handed on where they say more than the tokens themselves: some decoders take none
        positions = layout.position_ids[places]
        given = {} if positions[0] == 0 else {"position_ids": torch.from_numpy(positions)[None].to(device)}
        ids = torch.from_numpy(layout.token_ids[places])[None].to(device)
        states_LD = network(input_ids=ids, use_cache=False, **given).last_hidden_state[0]
        fresh = int(places[-1]) + 1 - known
        parts.append(states_LD[len(places) - fresh :])
        known += fresh
    return torch.cat(parts)


def rows_of(layout: Layout) -> Iterator[Ints]:
    """The places of each row's tokens, in the order of the rows; a row that another one begins with is not told."""
    index_T = np.arange(len(layout))
    for segment in layout.segments:
        if segment.subtree_end == segment.end:
            last = segment.end - 1
            yield np.flatnonzero((index_T <= last) & (layout.subtree_end > last))
