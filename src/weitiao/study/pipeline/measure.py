"""Time and memory of a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_INTERVAL_SECONDS = 0.1


@dataclass(slots=True)
class Usage:
    """What a step used.

    Attributes:
        seconds: Wall time.
        peak_memory_bytes: Most resident memory of the process, seen ten times a second; on a GPU, most that PyTorch
            held there.
    """

    seconds: float = 0.0
    peak_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure what happens inside; the figures are there at the end, however it ends."""
    import torch

    usage, done = Usage(), threading.Event()
    process = psutil.Process()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    def watch() -> None:
        while not done.wait(_INTERVAL_SECONDS):
            usage.peak_memory_bytes = max(usage.peak_memory_bytes, process.memory_info().rss)

    usage.peak_memory_bytes = process.memory_info().rss
    watcher = threading.Thread(target=watch, daemon=True)
    begun = time.monotonic()
    watcher.start()
    try:
        yield usage
    finally:
        done.set()
        watcher.join()
        usage.seconds = time.monotonic() - begun
        if on_gpu:
            usage.peak_memory_bytes = torch.cuda.max_memory_allocated()
