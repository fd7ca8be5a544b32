"""Tensors by key in a file that has no name: it is gone with the process, whatever ends it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class StateStore:
    """Keeps tensors until it is full; safe to be used by several threads.

    Args:
        directory: On whose disk.
        limit_bytes: What it may take there.
        when_full: Is called once, when there is no room for a tensor; from then on none is added.
    """

    def __init__(self, directory: Path, limit_bytes: int, when_full: Callable[[], None]) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - lives as long as the store
        self._limit, self._end = limit_bytes, 0
        self._places: dict[bytes, tuple[int, torch.Size, torch.dtype]] = {}
        self._lock = threading.Lock()
        self._when_full, self._is_full = when_full, False

    def add(self, key: bytes, states: Tensor) -> None:
        """Keep a tensor, if there is room."""
        if self._is_full:
            return
        values = states.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        with self._lock:
            if key in self._places or self._is_full:  # two threads were at it at once
                return
            if self._end + len(values) <= self._limit and self._written(values.data):
                self._places[key] = (self._end, states.shape, states.dtype)
                self._end += len(values)
                return
            self._is_full = True
        self._when_full()

    def get(self, key: bytes, device: torch.device) -> Tensor | None:
        """A copy of a tensor that was kept, on a device; None of one that was not."""
        if key not in self._places:
            return None
        start, shape, dtype = self._places[key]
        with self._lock:  # mapping asks the file for its length, which moves its position
            mapped = np.memmap(self._file, np.uint8, "c", start, shape.numel() * dtype.itemsize)
        values = torch.from_numpy(mapped).view(dtype).reshape(shape)
        return values.clone() if device.type == "cpu" else values.to(device)

    def close(self) -> None:
        """Give the room on the disk back."""
        self._file.close()
        self._places.clear()

    def _written(self, values: memoryview) -> bool:
        """Whether the disk had room for the values, behind all others."""
        self._file.seek(self._end)
        try:
            while values:
                values = values[self._file.write(values) :]
        except OSError:  # the disk has no more, though the limit is not reached
            return False
        return True
