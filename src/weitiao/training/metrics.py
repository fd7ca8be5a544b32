"""`metrics.jsonl`: one JSON object per line, for a step or for a validation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from weitiao.files import in_one_step
from weitiao.json_text import json_text, lines_of


class MetricsLog:
    """Appends to `metrics.jsonl`.

    Args:
        path: The file.
        start: Steps that are done; lines about later ones, and a line that was cut off, are removed.
    """

    def __init__(self, path: Path, *, start: int) -> None:
        self.path = path
        if path.exists():
            kept = [line for line in lines_of(path) if _step(line) <= start]
            with in_one_step(path) as beside:
                beside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def add(self, values: dict[str, Any]) -> None:
        """Append one object and hand it to the operating system at once."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json_text(values, ascii=True) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All objects of a `metrics.jsonl`, without a last line that is still being written.

    A loss that was not finite is null in the file, and NaN here.
    """
    return [_with_nan(json.loads(line)) for line in lines_of(path) if line.endswith("}")]


def _with_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None and "loss" in key else value for key, value in values.items()}


def _step(line: str) -> float:
    return float(json.loads(line)["step"]) if line.endswith("}") else float("inf")
