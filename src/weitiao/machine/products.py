"""How fast matrices are multiplied here in each number format: measured once, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from weitiao.files import write_json

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


def read_measured(path: Path) -> dict[str, Any]:
    """What was kept in a file; nothing where it is not there yet, or damaged: it is measured anew."""
    with suppress(OSError, ValueError):
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values
    return {}


def keep_measured(path: Path, values: dict[str, Any]) -> None:
    """Keep figures; where the directory cannot be written, they are measured anew every time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, values)


def measured_on(device: str = "cpu") -> str:
    """What figures hold for: the processor with as many threads, or the GPU, and the version of PyTorch."""
    import torch

    from weitiao.machine.hardware import detect_hardware

    hardware = detect_hardware()
    where = f"{hardware.cpu_name}, {torch.get_num_threads()} threads" if device == "cpu" else hardware.gpus[0].name
    return f"{where}; torch {torch.__version__}"
