"""What a person may be told while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import psutil
import torch

from weitiao.text.wording import Wording


class Watcher(Protocol):
    """Is told what happens in the loop."""

    def start(self, step: int, num_steps: int) -> None: ...

    def step(self, step: int, loss: float, tokens_per_second: float, by_source: Mapping[str, float]) -> None: ...

    def message(self, text: str) -> None: ...

    def stop(self) -> None: ...


def memory_gib() -> float:
    """Memory of the device in use: resident on a CPU, allocated by PyTorch on a GPU."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 2**30
    return float(psutil.Process().memory_info().rss) / 2**30


def describe_losses(loss: float, by_source: Mapping[str, float], words: Wording) -> str:
    """A loss, and in brackets what it is made of: that of each source, where there are several."""
    parts = words("list.comma").join(f"{name} {value:.4f}" for name, value in by_source.items())
    return words("progress.losses" if parts else "progress.loss", loss=loss, parts=parts)
