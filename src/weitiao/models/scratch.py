"""Weights in a file without a name: as long as nobody reads them, they take no memory but the disk's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor, nn

from weitiao.errors import ModelError

_ZEROS = memoryview(bytes(2**20))


class Scratch:
    """A file that is gone when the last tensor in it is; the operating system reads it as it is needed.

    Args:
        directory: On whose disk it lies.

    Raises:
        OSError: It cannot be written there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = TemporaryFile(dir=directory)  # noqa: SIM115 (it lives as long as its tensors)

    def move(self, parameters: Iterable[nn.Parameter], dtype: torch.dtype) -> None:
        """Put the values of parameters, in a number format, into the file. What is done to them there stays there.

        Raises:
            ModelError: The disk is full.
        """
        for parameter in parameters:
            try:
                place = self._room(parameter.shape, dtype)
            except OSError as error:
                raise ModelError(
                    f"The weights cannot be written to {self._directory}: {error}.", "Make room, or name another disk."
                ) from error
            parameter.data = place.copy_(parameter.data)  # rounded on the way, without a copy in memory

    def _room(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """A tensor at the end of the file, which is as long as it is said to be: a mapping of a hole in it would end
        the process when the disk is full."""
        start, size = self._file.seek(0, 2), shape.numel() * dtype.itemsize
        for written in range(0, size, len(_ZEROS)):
            self._file.write(_ZEROS[: size - written])
        self._file.flush()
        if not size:
            return torch.empty(shape, dtype=dtype)
        return torch.from_numpy(np.memmap(self._file, np.uint8, "r+", start, (size,))).view(dtype).reshape(shape)
