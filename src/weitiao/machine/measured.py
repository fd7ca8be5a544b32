"""Figures that are measured once on a machine, and kept in this program's cache directory."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from weitiao.files import write_json


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
