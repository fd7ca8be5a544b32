"""A run while it goes on: its metrics as they are written, thinned out for a drawing, and a stream of what is new."""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from pydantic_core import from_json

POLL_SECONDS = 0.5
ALIVE_SECONDS = 15.0
_AT_ONCE = 2**16
_NUMBERS = ("loss", "learning_rate", "grad_norm", "memory_gib", "tokens_per_second", "seconds", "reward", "kl")

Columns: TypeAlias = "tuple[array[float], array[float]]"
"""Steps and values: two numbers of 8 bytes for each step."""


@dataclass(slots=True)
class Metrics:
    """The lines of a `metrics.jsonl`, read on from where the last look ended.

    Attributes:
        path: The file.
        offset: Bytes that were read.
        train: Name of a number to its columns of steps and of values; `loss:SOURCE` for the loss of a source of rows.
        validation: The same of validations.
        last: The last line about a step.
    """

    path: Path
    offset: int = 0
    train: dict[str, Columns] = field(default_factory=dict)
    validation: dict[str, Columns] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    identity: tuple[int, int] = (0, 0)

    def refresh(self) -> None:
        """Read what was appended; begin anew where the file is another one (a resumed run shortens it)."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._forget()
            return
        identity = (stat.st_dev, stat.st_ino)
        if identity != self.identity or stat.st_size < self.offset:
            self._forget()
            self.identity = identity
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while lines := file.readlines(_AT_ONCE):
                whole = lines if lines[-1].endswith(b"\n") else lines[:-1]
                for _, alike in groupby(map(from_json, whole), key=dict.keys):
                    self._take(list(alike))
                self.offset += sum(map(len, whole))
                if whole is not lines:
                    break

    def _forget(self) -> None:
        self.offset, self.train, self.validation, self.last = 0, {}, {}, {}

    def _take(self, lines: list[dict[str, Any]]) -> None:
        """Lines that have the same names."""
        first = lines[0]
        if "loss" in first:
            self.last = lines[-1]
            _add(self.train, {name: name for name in _NUMBERS if name in first}, lines)
            for line in lines if "sources" in first else ():
                losses = {f"loss:{name}": one.get("loss") for name, one in line["sources"].items()}
                _add(self.train, {name: name for name in losses}, [{"step": line["step"], **losses}])
        elif "validation_loss" in first:
            names = {name: name.removeprefix("validation_") for name in first if name.startswith("validation_")}
            _add(self.validation, names, lines)

    def drawn(self, names: Sequence[str], points: int) -> dict[str, Any]:
        """Series with at most so many points each: `x`, `low`, `middle`, `high`; no extreme is lost.

        Args:
            names: Of the series, `loss:` for the losses of all sources; all of them where none is named.
            points: Of each, at most.
        """
        return {
            "offset": self.offset,
            "train": {
                name: _series(columns, points)
                for name, columns in self.train.items()
                if not names or name in names or f"{name.partition(':')[0]}:" in names
            },
            "validation": {name: _series(values, points) for name, values in self.validation.items()},
            "last": self.last,
        }


def _add(table: dict[str, Columns], names: dict[str, str], lines: list[dict[str, Any]]) -> None:
    """Put the numbers of lines below those that a table has; `names` says what they are called there."""
    if not names:
        return
    steps, *columns = zip(*map(itemgetter("step", *names), lines), strict=True)
    for name, column in zip(names.values(), columns, strict=True):
        x, y = table.setdefault(name, (array("d"), array("d")))
        known = [at for at, value in enumerate(column) if value is not None] if None in column else None
        x.extend(array("d", steps if known is None else [steps[at] for at in known]))
        y.extend(array("d", column if known is None else [column[at] for at in known]))


def _series(columns: Columns, points: int) -> dict[str, list[float]]:
    from weitiao.report.charts.drawings import thinned

    joined = thinned(*columns, points)
    return {key: [_short(getattr(one, key)) for one in joined] for key in ("x", "low", "middle", "high")}


def _short(value: float) -> float:
    """Six digits are more than a drawing shows."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


async def events(path: Path, offset: int, log: Path | None, log_offset: int) -> AsyncIterator[str]:
    """Server-sent events of a run: `step` and `validation` lines as they stand in the file, and `log` texts.

    The id of each event is the byte that the next one begins at, so a browser that lost the line goes on where it was
    and misses nothing. `restart` is sent where the file was shortened: what was drawn is to be asked for again.

    Args:
        path: The `metrics.jsonl`.
        offset: The byte to begin at.
        log: What the job of the run prints, if it has one.
        log_offset: The byte of it to begin at.
    """
    quiet = 0.0
    yield f"retry: 1000\nid: {offset}.{log_offset}\n\n"
    while True:
        sent = False
        size = path.stat().st_size if path.is_file() else 0
        if size < offset:
            offset = 0
            yield f"id: 0.{log_offset}\nevent: restart\ndata: {{}}\n\n"
        if size > offset:
            data = _read(path, offset)
            lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
            for line in lines:
                offset += len(line)
                kind = "validation" if b'"validation_loss"' in line else "step"
                yield f"id: {offset}.{log_offset}\nevent: {kind}\ndata: {line.decode('utf-8', 'replace').rstrip()}\n\n"
            sent = bool(lines)
        if log is not None and log.is_file() and log.stat().st_size > log_offset:
            data = _read(log, log_offset)
            log_offset += len(data)
            text = json.dumps({"text": data.decode("utf-8", "replace")})
            yield f"id: {offset}.{log_offset}\nevent: log\ndata: {text}\n\n"
            sent = True
        quiet = 0.0 if sent else quiet + POLL_SECONDS
        if quiet >= ALIVE_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(2**20)
