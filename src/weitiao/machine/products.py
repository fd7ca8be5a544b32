"""How fast matrices are multiplied here in each number format: measured once, and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from weitiao.machine.measured import keep_measured, measured_on, read_measured

FORMATS = ("float32", "bfloat16", "float16")
_SIZE = {"cpu": 512, "cuda": 4096}
_TIMES = 3


def product_speeds(device: str = "cpu", *, cache_dir: Path | None = None) -> dict[str, float]:
    """Billions of operations per second in products of square matrices, by number format.

    Args:
        device: `cpu` or `cuda`.
        cache_dir: Where the figures are kept, for each processor, version of PyTorch and number of threads; this
            program's cache directory by default (`XDG_CACHE_HOME` on Linux).

    Returns:
        The figure of every one of `FORMATS`. Where the directory cannot be written they are measured anew every time.
    """
    path = (cache_dir or user_cache_path("weitiao")) / "products.json"
    key, known = measured_on(device), read_measured(path)
    if set(known.get(key, {})) != set(FORMATS):
        known[key] = {name: _speed(name, device) for name in FORMATS}
        keep_measured(path, known)
    speeds: dict[str, float] = known[key]
    return speeds


def _speed(name: str, device: str) -> float:
    import torch

    size = _SIZE[device]
    wait: Callable[[], Any] = torch.cuda.synchronize if device == "cuda" else lambda: None
    matrix = torch.ones(size, size, dtype=getattr(torch, name), device=device)
    seconds = []
    for _ in range(_TIMES):
        wait()
        begun = time.perf_counter()
        matrix @ matrix
        wait()
        seconds.append(time.perf_counter() - begun)
    return round(2 * size**3 / min(seconds) / 1e9, 1)
