"""What DistributedDataParallel takes in every process beside the training that it spreads over several."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor

_SENT_BYTES = 250 * 2**20
"""Of weights that go to the other ranks in one piece, when a training begins (`broadcast_bucket_size`)."""


def sent_bytes(tensors: Iterable[Tensor], piece_bytes: int = _SENT_BYTES) -> int:
    """The most bytes of copies that exist while the first rank sends all its weights to the others.

    Weights of a number format are copied behind each other until a piece is full; two pieces are on their way at once
    (`broadcast_coalesced` in PyTorch's `c10d/comm.cpp`). One that fills a piece by itself is sent as it is.

    Args:
        tensors: Parameters, then buffers, in the order of the model.
        piece_bytes: Of a full piece.
    """
    pieces: list[list[int]] = []  # in the order of the first weight of each
    filling: dict[torch.dtype, list[int]] = {}
    for tensor in tensors:
        piece = filling.setdefault(tensor.dtype, [])
        if not piece:
            pieces.append(piece)
        piece.append(tensor.nbytes)
        if sum(piece) >= piece_bytes:
            del filling[tensor.dtype]
    copied = [sum(piece) if len(piece) > 1 else 0 for piece in pieces]
    return max(map(sum, pairwise(copied)), default=sum(copied))
