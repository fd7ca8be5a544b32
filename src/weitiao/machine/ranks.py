"""The processes of a launch (`torchrun`, `accelerate launch`): how many there are, and how fast they sum numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_BLOCK_BYTES = 25 * 2**20
"""What DistributedDataParallel sums at once."""

_TIMES = 4
"""So often; the first time connections are made."""


def num_ranks() -> int:
    """Processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def num_local_ranks() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def from_main(find: Callable[[], T]) -> T:
    """What the first process of a launch finds, on every rank; the others wait."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [find() if PartialState().is_main_process else None]
    broadcast_object_list(found)
    return cast(T, found[0])


def least(value: float) -> float:
    """The smallest of what the ranks have, on every rank."""
    from accelerate.utils import gather_object

    return float(min(gather_object([value])))


def exchange_bytes_per_second(device: torch.device) -> float:
    """How fast the ranks sum what each of them has, measured. To be called on all of them at once.

    Args:
        device: Of this rank.
    """
    import torch
    import torch.distributed as dist

    block = torch.zeros(_BLOCK_BYTES // 4, device=device)
    seconds = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        dist.all_reduce(block)
        block[0].item()  # it is there: a GPU's sum goes on when the call is back
        seconds.append(time.perf_counter() - begun)
    return block.nbytes / sorted(seconds[1:])[len(seconds) // 2 - 1]
