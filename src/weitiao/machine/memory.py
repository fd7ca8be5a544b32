"""What this process holds of the machine's memory."""

from __future__ import annotations

import ctypes
import resource
import sys


def peak_bytes(device: str = "cpu") -> int:
    """The most memory that this process has had; on `cuda`, the most that its tensors had there."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def give_back_memory() -> None:
    """Give the operating system what was freed and is still held, where the C library is glibc: it holds a lot of what
    was loaded in one number format and kept in another."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
